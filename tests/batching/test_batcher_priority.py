"""Priorities, from the batcher's door to its calls, on a fake clock."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from bench import Bench, Doubling, OnTime, turns, values

from batching import Answer, Batcher, DeadlineExceeded, Policy, Priority, QueueFull

pytestmark = pytest.mark.looptime(start=100)

HIGH, NORMAL, LOW = Priority


async def busy(bench: Bench) -> asyncio.Future[Answer]:
    """An entry whose call holds the slot."""
    entry = bench.submit(1000)
    await turns()
    return entry


async def rest(bench: Bench) -> list[list[float]]:
    """The calls that are still to come."""
    before = len(bench.calls)
    while bench.pool.waiting:
        await bench.run()
    return bench.calls[before + 1 :]


async def test_a_slot_takes_high_before_normal_before_low() -> None:
    bench = Bench(Policy(max_rows=2, window_ms=0))
    await busy(bench)
    for row, priority in enumerate((LOW, NORMAL, HIGH, LOW, NORMAL, HIGH)):
        bench.submit(row, priority=priority)
        await asyncio.sleep(0.01)
    assert await rest(bench) == [[2, 5], [1, 4], [0, 3]]


async def test_entries_of_all_priorities_share_a_call_that_has_room() -> None:
    bench = Bench(Policy(max_rows=8, window_ms=0))
    await busy(bench)
    entries = [bench.submit(row, priority=priority) for row, priority in enumerate((LOW, NORMAL, HIGH))]
    assert await rest(bench) == [[2, 1, 0]]
    assert [values(await entry) for entry in entries] == [[0], [2], [4]]


async def test_an_entry_that_has_waited_long_goes_before_a_higher_one_that_just_came() -> None:
    bench = Bench(Policy(max_rows=1, window_ms=0, timeout_ms=4000))  # a lane a second
    await busy(bench)
    bench.submit(1, priority=LOW)
    await asyncio.sleep(1.1)
    bench.submit(2)
    await asyncio.sleep(0.8)
    bench.submit(3, priority=HIGH)
    await asyncio.sleep(0.15)
    bench.submit(4, priority=HIGH)
    assert await rest(bench) == [[3], [1], [4], [2]]


async def test_a_cut_entry_keeps_its_priority_in_all_parts() -> None:
    bench = Bench(Policy(max_rows=2, window_ms=0))
    await busy(bench)
    bench.submit(1, 2, 3, priority=LOW)
    bench.submit(4)
    cut = bench.submit(5, 6, 7, 8, 9, priority=HIGH)
    assert await rest(bench) == [[5, 6], [7, 8], [9, 4], [1, 2], [3]]
    assert values(await cut) == [10, 12, 14, 16, 18]


async def test_calls_that_take_no_rows_are_made_in_the_order_of_priorities_too() -> None:
    bench = Bench(Policy(window_ms=0), stacked=False)
    await busy(bench)
    for row, priority in enumerate((LOW, NORMAL, HIGH, NORMAL)):
        bench.submit(row, priority=priority)
    assert await rest(bench) == [[2], [1], [3], [0]]


async def test_a_high_entry_of_another_bucket_goes_first_too() -> None:
    bench = Bench(Policy(max_rows=1, window_ms=0))
    await busy(bench)
    bench.submit(1, group="a")
    bench.submit(2, group="a")
    bench.submit(3, group="b", priority=HIGH)
    assert await rest(bench) == [[3], [1], [2]]


async def test_a_window_is_measured_from_its_oldest_entry_though_another_goes_first() -> None:
    bench = Bench(Policy(window_ms=10, close="full"))
    bench.submit(1, priority=LOW)
    await asyncio.sleep(0.006)
    bench.submit(2, priority=HIGH)
    await asyncio.sleep(0.0041)
    assert bench.pool.started == [pytest.approx(100.010)]
    await bench.run()
    assert bench.calls == [[2, 1]]


async def test_a_window_ends_in_time_for_a_hasty_entry_whatever_its_priority() -> None:
    bench = Bench(Policy(window_ms=1000, close="full", timeout_ms=1e6))
    bench.submit(0)
    await asyncio.sleep(1.2)
    await bench.run()  # a call takes 0.2 s
    hasty, patient = bench.submit(1, priority=LOW, timeout_s=0.5), bench.submit(2, priority=HIGH)
    await asyncio.sleep(0.31)
    assert bench.pool.started[1] == pytest.approx(101.2 + 0.3)
    await bench.run()
    assert ((await hasty).reason, (await patient).reason) == ("deadline", "deadline")


async def measured(policy: Policy) -> Bench:
    """A bench whose slot is taken, and whose calls are known to take 2 s."""
    bench = Bench(policy)
    await busy(bench)
    await asyncio.sleep(2)
    await bench.run()
    await busy(bench)
    return bench


async def test_what_goes_behind_an_entry_does_not_count_against_its_deadline() -> None:
    bench = await measured(Policy(max_rows=1, window_ms=0, timeout_ms=1e5))
    for _ in range(4):
        bench.submit(1, priority=LOW)
    bench.submit(2)
    bench.submit(3, priority=HIGH, timeout_s=1)
    bench.submit(4, timeout_s=10.1)
    with pytest.raises(
        DeadlineExceeded, match="3 of 7 rows that wait go before the request, so that its answer takes about 10000 ms"
    ):
        bench.submit(5, timeout_s=9)
    with pytest.raises(DeadlineExceeded, match="7 rows wait already, so that its answer takes about 18000 ms"):
        bench.submit(6, timeout_s=19, priority=LOW)
    assert bench.batcher.statistics.refused == 2


async def test_what_has_aged_counts_against_the_deadline_of_a_higher_newcomer() -> None:
    bench = await measured(Policy(max_rows=1, window_ms=0, timeout_ms=40_000))  # a lane in 10 s
    bench.submit(1)
    await asyncio.sleep(9)
    bench.submit(2, priority=HIGH, timeout_s=1).cancel()
    await asyncio.sleep(2)
    with pytest.raises(DeadlineExceeded, match="1 rows wait already"):
        bench.submit(3, priority=HIGH, timeout_s=1)


@pytest.mark.parametrize("priority", Priority)
async def test_a_full_queue_refuses_whoever_comes_and_gives_nobody_up(priority: Priority) -> None:
    bench = Bench(Policy(window_ms=0, queue_rows=2))
    await busy(bench)
    waiting = [bench.submit(row, priority=LOW) for row in (1, 2)]
    with pytest.raises(QueueFull, match="2 of at most 2 rows"):
        bench.submit(3, priority=priority)
    assert await rest(bench) == [[1, 2]]
    assert [values(await entry) for entry in waiting] == [[2], [4]]


async def test_a_saturated_batcher_still_answers_low_ones_in_time() -> None:
    """Twice the high entries that it could answer, for longer than anybody may wait."""
    pool = OnTime(lambda: 0.01)
    batcher = Batcher(Doubling(), Policy(max_rows=4, window_ms=0, queue_rows=100), pool)
    low: list[asyncio.Future[Answer]] = []
    refused = 0
    for step in range(1500):
        for _ in range(4):
            try:
                batcher.submit({"x": np.ones(1)}, 1, priority=HIGH).add_done_callback(lambda entry: entry.exception())
            except (QueueFull, DeadlineExceeded):
                refused += 1
        await asyncio.sleep(0.005)
        if step % 100 == 0:
            low.append(batcher.submit({"x": np.ones(1)}, 1, priority=LOW))
    await batcher.close()
    assert refused > 2000
    assert max([(await entry).queue_s for entry in low]) < 2 * 0.25 + 100 / 4 * 0.01 + 0.02
