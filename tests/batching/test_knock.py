"""What is to be refused is refused before it is decoded, and in the same words while nothing changes."""

from __future__ import annotations

import asyncio

import pytest
from bench import Bench, turns

from batching import DeadlineExceeded, Policy, QueueFull

pytestmark = pytest.mark.looptime(start=100)


async def full(waiting: int = 2) -> Bench:
    """So many rows wait, of the two that may, for the one slot; calls take two seconds, as it has learnt."""
    bench = Bench(Policy(max_rows=1, queue_rows=2, window_ms=0, timeout_ms=1e6))
    for _ in range(2):
        bench.submit(1000)
        await asyncio.sleep(2)
        if bench.pool.waiting:
            await bench.run()
    bench.submit(1000)
    await turns()
    for row in range(waiting):
        bench.submit(row)
    return bench


async def test_who_knocks_at_an_idle_batcher_may_come_in() -> None:
    bench = Bench(Policy())
    assert bench.batcher.knock() is None
    assert not bench.batcher.crowded


async def test_who_knocks_is_told_what_a_row_would_be_and_nothing_is_kept_of_him() -> None:
    bench = await full()
    assert bench.batcher.crowded
    assert isinstance(bench.batcher.knock(), QueueFull)
    assert isinstance(bench.batcher.knock(timeout_s=0.0), DeadlineExceeded)
    assert bench.batcher.queued_rows == 2
    assert bench.batcher.statistics.refused == 2


async def test_while_nothing_changes_all_are_told_the_same() -> None:
    bench = await full()
    first = bench.batcher.knock()
    assert first is not None
    assert bench.batcher.knock() is first
    assert bench.batcher.knock(timeout_s=5.0) is first
    assert bench.batcher.statistics.refused == 3


async def test_after_a_few_milliseconds_it_is_said_anew() -> None:
    bench = await full()
    first = bench.batcher.knock()
    await asyncio.sleep(0.006)
    assert bench.batcher.knock() is not first


async def test_who_has_more_time_than_one_who_was_refused_is_looked_at_himself() -> None:
    bench = await full(1)
    assert isinstance(bench.batcher.knock(timeout_s=7.4), DeadlineExceeded)
    assert bench.batcher.knock(timeout_s=7.6) is None


async def test_once_a_call_has_begun_those_who_come_are_looked_at_again() -> None:
    bench = await full()
    assert bench.batcher.knock() is not None
    await bench.run()
    bench.submit(3).cancel()
    assert isinstance(bench.batcher.knock(), QueueFull)
    await asyncio.sleep(0.1)
    assert bench.batcher.knock() is None


async def test_who_brings_more_rows_than_one_who_was_refused_is_told_the_same() -> None:
    bench = Bench(Policy(max_rows=4, queue_rows=8, window_ms=0))
    bench.submit(1000)
    await turns()
    bench.submit(*range(4))
    bench.submit(0, 1)
    first = bench.batcher.knock(3)
    assert isinstance(first, QueueFull)
    assert bench.batcher.knock(3) is first
    assert bench.batcher.knock(4) is first


async def test_who_brings_fewer_rows_than_one_who_was_refused_is_looked_at_himself() -> None:
    bench = Bench(Policy(max_rows=4, queue_rows=8, window_ms=0))
    bench.submit(1000)
    await turns()
    bench.submit(*range(4))
    bench.submit(0, 1)
    assert isinstance(bench.batcher.knock(3), QueueFull)
    assert bench.batcher.knock(2) is None
