"""What is not counted request by request: looked at now and then, and put into this worker's own cells for whoever is asked.

The event loop's lag is looked at ten times a second; batchers, models and the process twice a second.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from batching import Batcher
from models.footprint import resident_bytes
from models.shelf import State
from service.engine import Engine, Served
from service.metrics import families
from service.metrics.cells import Region
from service.metrics.families import COUNTED, Family

log = logging.getLogger("tureen.metrics")

#: How often the loop is looked at, everything else is put down, and how long the worst lag is remembered (seconds).
LOOK_S: Final = 0.1
PUBLISH_S: Final = 0.5
REMEMBERED_S: Final = 10.0

#: What others keep: the labels' values of counters and gauges, and what they stand at, read twice a second.
Readings = Callable[[], Mapping[tuple[Family, tuple[str, ...]], float]]


class Lag:
    """How late a loop was: now, and at most in the last ``REMEMBERED_S``, in a window of whole seconds."""

    __slots__ = ("_worst", "last")

    def __init__(self) -> None:
        self.last = 0.0
        self._worst: deque[tuple[int, float]] = deque()

    def saw(self, late_s: float, now: float) -> None:
        """It was that late at ``now``."""
        self.last = max(0.0, late_s)
        second = math.floor(now)
        if self._worst and self._worst[-1][0] == second:
            self._worst[-1] = (second, max(self._worst[-1][1], self.last))
        else:
            self._worst.append((second, self.last))
        while self._worst[0][0] <= now - REMEMBERED_S - 1:
            self._worst.popleft()

    @property
    def worst(self) -> float:
        """The most that it was."""
        return max([late for _, late in self._worst], default=0.0)


class Probe:
    """Publishes one worker's gauges and the counters of its batchers, and of whatever else ``readings`` tells of."""

    def __init__(self, engine: Engine, region: Region, worker: int, readings: Readings = dict) -> None:
        self._engine, self._region, self._worker, self._readings = engine, region, str(worker), readings
        self._lag = Lag()
        self._totals: dict[tuple[Family, tuple[str, ...]], float] = {}
        self._followed: dict[Batcher, _Followed] = {}
        self._gauges: dict[int, float] = {}
        self._cpu_s = 0.0
        self._task: asyncio.Task[None] | None = None
        for series in region.series():  # those of a worker that is gone say nothing of this one
            family = COUNTED.get(series.key[0])
            if family is not None and family.kind == "gauge":
                region.cells[series.start] = math.nan

    def start(self) -> None:
        """Looks from now on."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look())

    async def stop(self) -> None:
        """Looks a last time; what is then in the cells is all that there was."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self.publish()

    def publish(self) -> None:
        """Puts down how everything stands. On the event loop."""
        before, self._gauges = self._gauges, {}
        served = self._engine.versions()
        for one in served:
            if one.batcher not in self._followed:
                self._followed[one.batcher] = _Followed(one)
            self._followed[one.batcher].answers = one.answers  # a cache may be turned on while the version serves
        current = {one.batcher for one in served}
        for batcher, followed in list(self._followed.items()):
            self._count_batches(followed)
            if batcher in current:
                self._show_batcher(followed)
                self._show_tuned(followed)
                followed.idle = 0
            elif batcher.calls_in_flight or batcher.queued_rows:
                self._show_batcher(followed)
            else:  # somebody may have found it just before it was retired: once more, then no more
                followed.idle += 1
                if followed.idle > 1:
                    del self._followed[batcher]
        self._show_ready(served)
        self._show_process()
        for (family, labels), value in self._readings().items():
            if family.kind == "gauge":
                self._show(family, labels, value)
            else:
                self._count(family, labels, value)
        cells = self._region.cells
        for cell in before.keys() - self._gauges.keys():
            cells[cell] = math.nan
        for cell, value in self._gauges.items():
            cells[cell] = value

    async def _look(self) -> None:
        published = -math.inf
        while True:
            begun = time.monotonic()
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            self._lag.saw(now - begun - LOOK_S, now)
            if now >= published + PUBLISH_S:
                published = now
                try:
                    self.publish()
                except Exception:  # the next look may fare better, and the requests need none of this
                    log.exception("the metrics of this worker could not be brought up to date")

    def _count_batches(self, followed: _Followed) -> None:
        statistics, before, labels = followed.batcher.statistics, followed.counted, followed.labels
        now: dict[tuple[Family, str], int] = {
            (families.REFUSED, ""): statistics.refused,
            (families.PAST_TARGET, ""): statistics.refused_for_target,
            (families.EXPIRED, ""): statistics.expired,
            (families.CANCELLED, ""): statistics.cancelled,
            (families.DEFECTS, ""): statistics.defects,
            **{(families.BATCHES, reason): closed for reason, closed in statistics.closes.items()},
        }
        answers = followed.answers
        if answers is not None:
            now |= {(families.CACHE, how): count for how, count in answers.counts().items()}
        for (family, reason), value in now.items():
            cell = self._cell(family, *labels, *([reason] if reason else []))
            self._region.cells[cell] += value - before.get((family, reason), 0)
        followed.counted = now

    def _show_batcher(self, followed: _Followed) -> None:
        batcher, labels = followed.batcher, followed.labels
        self._show(families.QUEUED, labels, batcher.queued_rows)
        self._show(families.QUEUE_LIMIT, labels, batcher.policy.queue_rows)
        self._show(families.SLOTS_USED, labels, batcher.calls_in_flight)
        self._show(families.SLOTS, labels, batcher.policy.instances)
        self._show(families.MEMORY, labels, followed.memory_bytes)
        if followed.answers is not None:
            self._show(families.CACHE_COSTLY, labels, float(followed.answers.costly))

    def _show_tuned(self, followed: _Followed) -> None:
        tuned, mine = followed.batcher.tuned, (*followed.labels, self._worker)
        if tuned is None:
            return
        self._show(families.TARGET, mine, tuned.target_s)
        self._show(families.MEASURED, mine, math.nan if tuned.p99_s is None else tuned.p99_s)
        self._show(families.CAP, mine, tuned.max_rows)
        self._show(families.WAIT, mine, tuned.window_s)

    def _show_ready(self, served: list[Served]) -> None:
        """1 for what answers, 0 for what should and does not. What was unloaded, or replaced, nobody misses."""
        registry = self._engine.registry
        standing = {(one.model, one.version): float(one.batcher.healthy) for one in served}
        for entry in registry.index():
            missed = entry.state is State.LOADING or (entry.state is State.UNAVAILABLE and not registry.unloaded(entry.name))
            if missed:
                standing.setdefault((entry.name, "" if entry.version is None else str(entry.version)), 0.0)
        for labels, ready in standing.items():
            self._show(families.READY, labels, ready)

    def _show_process(self) -> None:
        worker = (self._worker,)
        self._show(families.LAG, worker, self._lag.last)
        self._show(families.LAG_MAX, worker, self._lag.worst)
        self._show(families.RESIDENT, worker, resident_bytes())
        self._show(families.THREADS, worker, _threads())
        self._count(families.CPU, worker, time.process_time())
        self._show_cache(worker)

    def _show_cache(self, worker: tuple[str]) -> None:
        shelf = self._engine.shelf
        if shelf is None:
            return
        standing = shelf.standing
        self._show(families.CACHE_VALUES, worker, standing.values)
        self._show(families.CACHE_BYTES, worker, standing.nbytes)
        self._count(families.CACHE_EVICTED, (), standing.evicted)
        self._count(families.CACHE_UNANSWERED, (), standing.unanswered)

    def _count(self, family: Family, labels: tuple[str, ...], total: float) -> None:
        """Adds what a counter, which began with this process, has grown by."""
        cell = self._cell(family, *labels)
        before = self._totals.get((family, labels), 0.0)
        if total > before:
            self._totals[family, labels] = total
            self._region.cells[cell] += total - before

    def _show(self, family: Family, labels: tuple[str, ...], value: float) -> None:
        """Two versions of one label, of which the one retires while the other answers, are shown together."""
        cell = self._cell(family, *labels)
        self._gauges[cell] = value + (0.0 if family.least else self._gauges.get(cell, 0.0))

    def _cell(self, family: Family, *labels: str) -> int:
        return self._region.cell((family.name, *labels), family.width)


class _Followed:
    """A batcher whose counters go into the cells, until it has done its last."""

    __slots__ = ("answers", "batcher", "counted", "idle", "labels", "memory_bytes")

    def __init__(self, served: Served) -> None:
        self.batcher = served.batcher
        self.answers = served.answers
        self.labels = (served.model, served.version)
        self.memory_bytes = served.loaded.memory_bytes
        self.counted: dict[tuple[Family, str], int] = {}
        self.idle = 0


def _threads() -> int:
    """The process's threads, the runtimes' own among them; where there is no /proc, those of Python alone."""
    try:
        file = os.open("/proc/self/stat", os.O_RDONLY)
    except OSError:
        return threading.active_count()
    try:
        return int(os.read(file, 1024).rpartition(b")")[2].split()[17])
    finally:
        os.close(file)
