"""A batcher on a bench: the test decides when a call runs, and sees what each call was given."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

import numpy as np

from batching import Answer, Arrays, Batcher, Policy

Result = TypeVar("Result")


class ByHand(Executor):
    """Takes calls and runs none until the test says so; ``started`` are the times at which they were handed over."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.waiting: deque[Callable[[], None]] = deque()
        self.started: list[float] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Keeps the call for later."""
        self.started.append(self.loop.time())
        self.waiting.append(lambda: fn(*args, **kwargs))
        return Future()

    def run(self) -> None:
        """The oldest call begins and ends."""
        self.waiting.popleft()()


class OnTime(Executor):
    """Each call ends ``seconds()`` after it began, on the loop's clock; ``most`` calls were ever in flight at once."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.loop, self.seconds = asyncio.get_running_loop(), seconds
        self.running = self.most = 0
        self.started: list[float] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Begins the call at once."""
        self.running += 1
        self.most = max(self.most, self.running)
        self.started.append(self.loop.time())
        self.loop.call_later(self.seconds(), self._end, lambda: fn(*args, **kwargs))
        return Future()

    def _end(self, call: Callable[[], None]) -> None:
        self.running -= 1
        call()


class Doubling:
    """y = 2 x, row by row; a negative row is a ValueError. ``calls`` are the rows that each call was given."""

    def __init__(self) -> None:
        self.calls: list[list[float]] = []

    def __call__(self, inputs: Arrays, outputs: tuple[str, ...]) -> Arrays:
        """[N] -> [N]."""
        rows = inputs["x"]
        self.calls.append(rows.tolist())
        if rows.min() < 0:
            raise ValueError(f"{rows.min():g} is negative")
        return {"y": 2 * rows}


class Bench:
    """A batcher of ``Doubling`` whose calls run by hand or, given their length, on time."""

    def __init__(self, policy: Policy, *, pure: bool = True, stacked: bool = True) -> None:
        self.pool = ByHand()
        self.model = Doubling()
        self.batcher = Batcher(self.model, policy, self.pool, name="doubling", pure=pure, stacked=stacked)

    @property
    def calls(self) -> list[list[float]]:
        """The rows of each call so far."""
        return self.model.calls

    def submit(self, *rows: float, **options: Any) -> asyncio.Future[Answer]:
        """An entry of these rows."""
        entry = self.batcher.submit({"x": np.array(rows)}, len(rows), **options)
        entry.add_done_callback(lambda entry: entry.cancelled() or entry.exception())  # not every test awaits all of its entries
        return entry

    async def run(self) -> None:
        """The oldest call runs, and its answers arrive."""
        self.pool.run()
        await turns()


async def turns() -> None:
    """Lets the loop take as many turns as a batcher needs to do whatever is due at this moment."""
    for _ in range(6):
        await asyncio.sleep(0)


def values(answer: Answer) -> list[float]:
    """The rows of an answer."""
    rows: list[float] = answer.outputs["y"].tolist()
    return rows


def run(work: Coroutine[Any, Any, Result], loop: asyncio.AbstractEventLoop | None = None) -> Result:
    """Runs work to its end on a loop of its own: ``asyncio.run`` would let go of the loop that pytest-asyncio keeps for itself."""
    loop = loop or asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()
