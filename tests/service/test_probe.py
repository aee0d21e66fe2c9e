"""What a worker publishes beside its requests."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching import Answer, Policy, QueueFull
from service import statistics
from service.engine import Engine
from service.metrics import families
from service.metrics.cells import Cells
from service.metrics.families import Family
from service.metrics.probe import REMEMBERED_S, Lag, Probe
from service.protocol.infer import Infer
from tests.e2e.patience import until
from tests.service.measured import repository, started

DOUBLE = ("double", "1")


@dataclass(frozen=True, slots=True)
class Probed:
    """An engine, its probe, and where that publishes."""

    engine: Engine
    cells: Cells
    probe: Probe
    directory: Path

    def shown(self, family: Family) -> dict[tuple[str, ...], float]:
        """A family's series that say something, after one more look."""
        self.probe.publish()
        found = {key[1:]: values[0] for key, values in self.cells.read(0) if key[0] == family.name}
        return {labels: value for labels, value in found.items() if not math.isnan(value)}

    def ask(self, *x: float) -> asyncio.Future[Answer]:
        """A request to `double`."""
        return self.engine.submit(self.engine.served("double"), Infer({"x": np.array(x)}, len(x), ("y",)))


@pytest.fixture
async def probed(tmp_path: Path) -> AsyncIterator[Probed]:
    directory = repository(tmp_path / "repository")
    async with started(directory) as engine:
        cells = Cells.create(1)
        yield Probed(engine, cells, Probe(engine, cells.region(0), 0), directory)


async def test_a_batchers_counters_are_added_once_however_often_it_is_looked_at(probed: Probed) -> None:
    await probed.ask(1)
    for _ in range(3):
        assert sum(probed.shown(families.BATCHES).values()) == 1


async def test_batches_are_counted_by_why_they_closed(probed: Probed) -> None:
    await probed.ask(1)
    closed = probed.engine.served("double").batcher.statistics.closes
    assert probed.shown(families.BATCHES) == {(*DOUBLE, reason): count for reason, count in closed.items()}


async def test_a_full_queue_and_a_busy_slot_are_seen_and_what_is_refused_is_counted(probed: Probed) -> None:
    stuck = probed.ask(99)
    batcher = probed.engine.served("double").batcher
    await asyncio.to_thread(until, lambda: batcher.calls_in_flight == 1, "the call has begun")
    waiting = [probed.ask(*range(4)) for _ in range(2)]
    with pytest.raises(QueueFull):
        probed.ask(1)
    assert probed.shown(families.QUEUED) == {DOUBLE: 8} == probed.shown(families.QUEUE_LIMIT)
    assert probed.shown(families.SLOTS_USED) == {DOUBLE: 1} == probed.shown(families.SLOTS)
    assert probed.shown(families.REFUSED) == {DOUBLE: 1}
    (probed.directory / "double" / "1" / "go").touch()
    await asyncio.gather(stuck, *waiting)
    assert probed.shown(families.QUEUED) == {DOUBLE: 0} == probed.shown(families.SLOTS_USED)


async def test_a_reload_begins_no_counter_anew(probed: Probed) -> None:
    await probed.ask(1)
    probed.probe.publish()
    (probed.directory / "double" / "1" / "model.py").touch()
    await probed.engine.load("double", '{"batching": {"queue_rows": 16}}')
    await probed.ask(1)
    assert sum(probed.shown(families.BATCHES).values()) == 2


async def test_what_a_batcher_did_before_it_was_retired_is_counted(probed: Probed) -> None:
    probed.probe.publish()
    await probed.ask(1)
    await probed.engine.unload("double")
    assert sum(probed.shown(families.BATCHES).values()) == 1


async def test_a_model_that_was_unloaded_is_not_missed(probed: Probed) -> None:
    assert probed.shown(families.READY) == {DOUBLE: 1}
    await probed.engine.unload("double")
    for family in (families.READY, families.QUEUED, families.MEMORY):
        assert probed.shown(family) == {}
    await probed.engine.load("double")
    assert probed.shown(families.READY) == {DOUBLE: 1}


async def test_what_a_target_makes_of_the_batches_is_shown_while_the_model_has_one(probed: Probed) -> None:
    mine = (*DOUBLE, "0")
    assert probed.shown(families.TARGET) == {}
    batcher = probed.engine.served("double").batcher
    batcher.reconfigure(Policy(window_ms=1, target_p99_ms=500))
    assert probed.shown(families.TARGET) == {mine: 0.5}
    assert probed.shown(families.MEASURED) == {}
    await probed.ask(1)
    assert 0 < probed.shown(families.MEASURED)[mine] < 500
    assert (probed.shown(families.CAP), probed.shown(families.WAIT)) == ({mine: 64}, {mine: 0.001})
    (stats,) = [statistics.of(served) for served in probed.engine.versions() if served.model == "double"]
    assert stats.tuning is not None
    assert (stats.tuning.target_p99_ms, stats.tuning.max_rows, stats.tuning.refused) == (500.0, 64, 0)
    batcher.statistics.refused_for_target += 3
    assert probed.shown(families.PAST_TARGET) == {DOUBLE: 3}
    batcher.reconfigure(Policy())
    assert probed.shown(families.TARGET) == probed.shown(families.CAP) == {}


async def test_a_model_that_does_not_load_is_missed(tmp_path: Path) -> None:
    directory = repository(tmp_path / "repository")
    (directory / "double" / "1" / "model.py").write_text("raise ValueError")
    async with started(directory) as engine:
        cells = Cells.create(1)
        assert Probed(engine, cells, Probe(engine, cells.region(0), 0), directory).shown(families.READY) == {DOUBLE: 0}


async def test_gauges_of_the_worker_before_are_gone_and_its_counters_stay(probed: Probed) -> None:
    await probed.ask(1)
    probed.probe.publish()
    after = Cells(probed.cells.memory, 1)
    Probe(probed.engine, after.region(0), 0)
    found = {key[0]: values[0] for key, values in after.read(0)}
    assert math.isnan(found["tureen_queued_rows"])
    assert found["tureen_batches"] == 1


async def test_the_process_is_measured(probed: Probed) -> None:
    worker = ("0",)
    assert probed.shown(families.RESIDENT)[worker] > 1e6
    assert probed.shown(families.THREADS)[worker] >= 1
    before = probed.shown(families.CPU)[worker]
    while probed.shown(families.CPU)[worker] == before:
        pass
    assert probed.shown(families.CPU)[worker] > before > 0


async def test_counters_that_others_keep_never_fall(tmp_path: Path) -> None:
    async with started(repository(tmp_path / "repository")) as engine:
        cells, lines = Cells.create(1), [3.0]
        probe = Probe(engine, cells.region(0), 0, lambda: {(families.LOG_LINES, ()): lines[0]})
        seen = []
        for lines[0] in (3, 5, 2, 5, 6):
            probe.publish()
            seen += [values[0] for key, values in cells.read(0) if key[0] == "tureen_log_lines"]
        assert seen == [3, 5, 5, 5, 6]


async def test_it_looks_by_itself_and_a_last_time_when_it_stops(probed: Probed) -> None:
    probed.probe.start()
    await asyncio.to_thread(until, lambda: any(True for _ in probed.cells.read(0)), "it has looked")
    await probed.ask(1)
    await probed.probe.stop()
    assert [values for key, values in probed.cells.read(0) if key[0] == "tureen_batches"] == [[1]]


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 3)), min_size=1, max_size=40))
def test_the_worst_lag_is_of_the_last_seconds(steps: list[tuple[float, float]]) -> None:
    lag, now, seen = Lag(), 1000.0, []
    for late, after in steps:
        now += after
        seen.append((now, late))
        lag.saw(late, now)
    assert lag.last == steps[-1][0]
    assert lag.worst >= max(late for at, late in seen if at > now - REMEMBERED_S)
    assert lag.worst <= max(late for at, late in seen if at > now - REMEMBERED_S - 2)
