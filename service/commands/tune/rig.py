"""Taking a turn: the model is loaded with other settings, asked for a while, and what came of it is a point."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote

from service.commands.bench.arrivals import Closed, Open, Pace, schedule
from service.commands.bench.drive import Address, Drive, Prepared
from service.commands.bench.record import Record
from service.commands.bench.run import fast_loop
from service.commands.client import Client, Unreachable
from service.commands.tune.measured import Point, of_all
from service.commands.tune.settings import Settings

#: Connections of an open loop at most: as many callers wait at once.
CONNECTIONS = 256
#: Before each turn so much of its length is asked and not counted, at most (seconds): calls are timed anew after a load.
_WARM, _LONGEST_WARM_S = 0.3, 0.5
#: Fewer requests say little of a 99th percentile: a turn is up to so many times as long, to have them.
ENOUGH, _LONGER = 200, 3.0
#: Beside the settings: one version, each request computed, none refused for whose it is.
_ALONE: dict[str, Any] = {
    "versions": {"policy": "latest", "latest": 1, "labels": {}},
    "cache": {"ttl_s": 0.0},
    "limits": {"requests_per_s": None, "requests_burst": None, "rows_per_s": None, "rows_burst": None},
}


class NotTaken(Exception):
    """The model does not load with the settings: a sentence."""


class Rig:
    """Measures ``model`` of a server. ``callers``: how many ask again as soon as they are answered, where no rate is given."""

    def __init__(
        self, client: Client, model: str, address: Address, requests: Sequence[Prepared], callers: int, timeout_s: float
    ) -> None:
        self._client, self._model, self._callers = client, model, callers
        self._loaded: Settings | None = None
        self._runner = asyncio.Runner(loop_factory=fast_loop)
        self._drive = self._runner.run(_drive(address, requests, max(CONNECTIONS, callers), timeout_s))
        gc.collect()
        gc.freeze()  # what is there to stay need not be looked through while latencies are measured

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        gc.unfreeze()
        self._runner.run(self._drive.close())
        self._runner.close()

    @property
    def overhead_s(self) -> float:
        """What a turn takes beside what it measures and a load, about (seconds)."""
        return _LONGEST_WARM_S / 2

    def load(self, settings: Settings) -> None:
        """Has the model loaded so, unless it is. Raises NotTaken, Unreachable."""
        if settings == self._loaded:
            return
        self._loaded = None
        config = json.dumps({**settings.sections(), **_ALONE})
        reply = self._client.post(f"/v2/repository/models/{quote(self._model, safe='')}/load", {"parameters": {"config": config}})
        if reply.status >= 500:
            raise Unreachable(f"the server could not load the model with {settings}: {reply.error}")
        if reply.status != 200:
            raise NotTaken(reply.error)
        self._loaded = settings

    def measure(self, settings: Settings, rate: float | None, seconds: float, seed: int) -> Point:
        """A turn; one of a low rate is longer. Raises KeyboardInterrupt, and what ``load`` does."""
        self.load(settings)
        if rate is not None:
            seconds = min(max(seconds, ENOUGH / rate), _LONGER * seconds)
        warm_s = min(_WARM * seconds, _LONGEST_WARM_S)
        self._run(None if rate is None else rate / 2, warm_s, seed + 1_000_000)  # slower: nothing is to be left waiting
        record, unsent, busy, took = self._run(rate, seconds, seed)
        lost = record.failed + unsent
        return Point(
            rate,
            record.ok_in_time / took,
            of_all(record.latency, lost, 50),
            of_all(record.latency, lost, 99),
            record.ok + lost,
            lost,
            busy,
        )

    def _run(self, rate: float | None, seconds: float, seed: int) -> tuple[Record, int, float, float]:
        record = Record(seconds)
        pace: Pace = Closed(self._callers) if rate is None else Open(schedule("poisson", rate, seconds, seed))
        ran = self._runner.run(self._drive.run(pace, record, seconds))
        if ran.interrupted:
            raise KeyboardInterrupt
        return record, 0 if rate is None else ran.unsent, ran.busy, ran.seconds


async def _drive(address: Address, requests: Sequence[Prepared], connections: int, timeout_s: float) -> Drive:
    return Drive(address, requests, connections, timeout_s)
