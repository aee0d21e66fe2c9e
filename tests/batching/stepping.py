"""A load in steps on virtual time, against a model whose calls take longer the more rows they have."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bench import Doubling, OnTime

from batching import Answer, Batcher, Policy, QueueFull

#: How long a call of so many rows takes, by the time since the load began (seconds).
CallTime = Callable[[int, float], float]


def affine(fixed_s: float, row_s: float) -> CallTime:
    """So long, and so long a row."""
    return lambda rows, _: fixed_s + rows * row_s


class ByRows(OnTime):
    """Calls end on time, by their rows."""

    def __init__(self, call_s: CallTime) -> None:
        super().__init__(lambda: self.call_s(self._rows, self.loop.time() - self.begun))
        self.call_s, self.begun, self._rows = call_s, self.loop.time(), 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Begins the call at once."""
        self._rows = args[0].rows
        return super().submit(fn, *args, **kwargs)


@dataclass
class Seen:
    """What became of a load: the latencies (seconds) of accepted entries and the refusals, by the second in which they came."""

    latencies: dict[int, list[float]] = field(default_factory=dict)
    refused: Counter[int] = field(default_factory=Counter)

    def p99(self, second: int) -> float:
        """That of one second (seconds)."""
        return float(np.quantile(self.latencies[second], 0.99, method="higher"))


class Load:
    """One batcher and those who ask it: Poisson arrivals of one row each, at the rates of the steps."""

    def __init__(self, policy: Policy, call_s: CallTime, seed: int = 1) -> None:
        self.model = Doubling()
        self.pool = ByRows(call_s)
        self.batcher = Batcher(self.model, policy, self.pool)
        self.seen = Seen()
        self._random = random.Random(seed)
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()

    async def run(self, rates: Sequence[float], seconds: float) -> None:
        """Each rate (requests a second) for so long."""
        due = self._loop.time()
        for rate in rates:
            end = self._loop.time() + seconds
            while (due := due + self._random.expovariate(rate)) < end:
                await asyncio.sleep(due - self._loop.time())
                self._ask()
            await asyncio.sleep(end - self._loop.time())
            due = end

    def _ask(self) -> None:
        now = self._loop.time()
        second = int(now - self._begun)
        try:
            asked = self.batcher.submit({"x": np.ones(1)}, 1)
        except QueueFull:
            self.seen.refused[second] += 1
            return

        def ended(answered: asyncio.Future[Answer]) -> None:
            answered.result()
            self.seen.latencies.setdefault(second, []).append(self._loop.time() - now)

        asked.add_done_callback(ended)
