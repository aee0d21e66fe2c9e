"""Submit, cancel, fail, slow and close, in any order, on virtual time: what must hold whatever happens."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import looptime
import numpy as np
from bench import OnTime
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from batching import (
    Answer,
    Arrays,
    Batcher,
    BatchingError,
    Closed,
    DeadlineExceeded,
    PastTarget,
    Policy,
    Priority,
    QueueFull,
    TooManyRows,
)

#: Rows are numbered through all entries, so that an answer tells whose it is.
EPSILON = 1e-5


class Poisoned(Exception):
    """What the call raises for an entry that was meant to fail."""


class Watched(OnTime):
    """Sees the rows of every batch at the moment it is formed; refuses to take any while ``broken``."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        super().__init__(seconds)
        self.formed: list[tuple[object, list[int]]] = []
        self.places: list[list[float]] = []
        self.broken = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Notes the batch, and begins it."""
        if self.broken:
            raise RuntimeError("broken")
        (batch,) = args
        self.formed.append((batch.entries[0].group, [int(row) for entry in batch.entries for row in entry.inputs["x"]]))
        self.places.append([entry.place for entry in batch.entries])
        return super().submit(fn, *args, **kwargs)


class Batching(RuleBasedStateMachine):
    """A batcher, its clients, and a model that is as slow and as bad as the steps say."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = looptime.new_event_loop(start=0, noop_cycles=0)
        self.entries: list[tuple[range, asyncio.Future[Answer], float, bool]] = []
        self.poison: set[int] = set()
        self.lanes: dict[int, Priority] = {}
        self.rows = self.parts = self.refused = 0
        self.call_s = 0.01
        self.closing: asyncio.Task[None] | None = None
        self.defects = 0

    @initialize(
        max_rows=st.integers(1, 6),
        window_ms=st.sampled_from([0, 1, 20, 500]),
        close=st.sampled_from(["early", "full"]),
        instances=st.integers(1, 3),
        queue_rows=st.integers(1, 25),
        pure=st.booleans(),
    )
    def begin(self, max_rows: int, window_ms: float, close: Any, instances: int, queue_rows: int, pure: bool) -> None:
        self.policy = Policy(max_rows, window_ms, close, instances, queue_rows, 2000)
        self.most_rows, self.most_queued, self.most_called = max_rows, queue_rows, instances
        self.pure = pure
        self.loop.run_until_complete(self.make())

    async def make(self) -> None:
        self.pool = Watched(lambda: self.call_s)
        self.batcher = Batcher(self.call, self.policy, self.pool, pure=self.pure)

    def call(self, inputs: Arrays, outputs: tuple[str, ...]) -> Arrays:
        if bad := self.poison.intersection(inputs["x"].tolist()):
            raise Poisoned(min(bad))
        return {"y": -inputs["x"]}

    def later(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @rule(
        rows=st.one_of(st.integers(1, 4), st.integers(1, 20)),
        group=st.sampled_from(["a", "a", "b"]),
        timeout_s=st.sampled_from([None, None, 0.005, 0.1, 1.0]),
        bad=st.sampled_from([False, False, False, True]),
        priority=st.sampled_from([Priority.NORMAL, *Priority]),
    )
    def submit(self, rows: int, group: str, timeout_s: float | None, bad: bool, priority: Priority) -> None:
        numbers = range(self.rows, self.rows + rows)
        tuned = self.batcher.tuned
        most = self.policy.max_rows if tuned is None else tuned.max_rows
        healthy, closing, queued = self.batcher.healthy, self.closing is not None, self.batcher.queued_rows
        try:
            future = self.batcher.submit({"x": np.array(numbers)}, rows, group=group, timeout_s=timeout_s, priority=priority)
        except TooManyRows:
            assert rows > self.policy.queue_rows
        except PastTarget:
            assert self.policy.target_s is not None
        except QueueFull:
            assert queued + rows > self.policy.queue_rows
        except Closed:
            assert closing or not healthy
        except DeadlineExceeded:
            assert queued
        else:
            assert healthy
            assert not closing
            self.rows += rows
            self.parts += -(-rows // most)
            self.lanes.update(dict.fromkeys(numbers, priority))
            if bad:
                self.poison.add(numbers[-1])
            due = self.loop.time() + (2.0 if timeout_s is None else timeout_s)
            self.entries.append((numbers, future, due, bad))
            return
        self.refused += 1

    @rule(at=st.integers(0, 1000))
    @precondition(lambda self: self.entries)
    def cancel(self, at: int) -> None:
        self.entries[at % len(self.entries)][1].cancel()

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.7]))
    def slow(self, seconds: float) -> None:
        self.call_s = seconds

    @rule(seconds=st.sampled_from([0.0, 0.0, 0.001, 0.02, 0.3, 3.0]))
    def wait(self, seconds: float) -> None:
        self.later(seconds)

    @rule(
        max_rows=st.integers(1, 6),
        window_ms=st.sampled_from([0, 1, 500]),
        instances=st.integers(1, 3),
        queue_rows=st.integers(1, 25),
        target_ms=st.sampled_from([None, None, 5, 30, 500]),
    )
    def reconfigure(self, max_rows: int, window_ms: float, instances: int, queue_rows: int, target_ms: float | None) -> None:
        """Another policy, live; what was taken by the one before may still wait, or be called, and no more than that."""
        self.policy = Policy(max_rows, window_ms, "early", instances, queue_rows, 2000, target_ms)
        self.most_rows = max(self.most_rows, max_rows)
        self.most_queued = max(queue_rows, self.batcher.queued_rows)
        self.most_called = max(instances, self.batcher.calls_in_flight)
        self.batcher.reconfigure(self.policy)

    @rule()
    @precondition(lambda self: self.defects < 2)
    def break_down(self) -> None:
        """The next call cannot be started."""
        self.pool.broken = True
        self.later(0.03)
        self.pool.broken = False
        self.defects += 1

    @rule()
    @precondition(lambda self: len(self.entries) > 8)
    def close(self) -> None:
        if self.closing is None:
            self.closing = self.loop.create_task(self.batcher.close())
            self.later(0)

    @invariant()
    def bounds_hold(self) -> None:
        if not hasattr(self, "batcher"):
            return
        assert 0 <= self.batcher.queued_rows <= self.most_queued
        assert self.batcher.calls_in_flight <= self.most_called
        for _, rows in self.pool.formed:
            assert len(rows) <= self.most_rows

    @invariant()
    def nobody_is_kept_past_the_deadline(self) -> None:
        for _, future, due, _ in self.entries:
            assert future.done() or self.loop.time() < due + EPSILON

    def teardown(self) -> None:
        try:
            if hasattr(self, "batcher"):
                self.call_s = 0.01
                self.loop.run_until_complete(asyncio.wait_for(self.batcher.close(), 100))
                if self.closing is not None:
                    self.loop.run_until_complete(self.closing)
                self.later(0)
                self.every_entry_has_ended_with_what_is_its_own()
                self.entries_left_the_queue_in_order()
                self.statistics_add_up()
        finally:
            self.loop.close()

    def every_entry_has_ended_with_what_is_its_own(self) -> None:
        for numbers, future, _, bad in self.entries:
            assert future.done()
            if future.cancelled():
                continue
            error = future.exception()
            if error is None:
                assert not bad
                assert future.result().outputs["y"].tolist() == [-number for number in numbers]
            elif isinstance(error, Poisoned):
                assert bad or not self.pure
                assert not self.pure or error.args == (numbers[-1],)
            else:
                assert isinstance(error, BatchingError)

    def entries_left_the_queue_in_order(self) -> None:
        left: dict[object, list[int]] = defaultdict(list)
        for group, rows in self.pool.formed:
            for row in rows:
                left[group, self.lanes[row]].append(row)
        for rows in left.values():
            assert rows == sorted(set(rows))
        for places in self.pool.places:
            assert places == sorted(places)

    def statistics_add_up(self) -> None:
        statistics = self.batcher.statistics
        ended = statistics.success.count + statistics.fail.count + statistics.expired + statistics.cancelled
        assert (ended, statistics.refused) == (self.parts, self.refused)
        assert statistics.queue.count == statistics.success.count
        assert statistics.total.call.count == len(self.pool.formed) == sum(statistics.closes.values())
        assert sum(calls.call.count for calls in statistics.by_rows.values()) == statistics.total.call.count
        assert (self.batcher.queued_rows, self.batcher.calls_in_flight, self.pool.running) == (0, 0, 0)


Batching.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBatching = Batching.TestCase
