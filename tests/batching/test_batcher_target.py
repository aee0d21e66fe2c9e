"""A batcher that keeps to its target under a load in steps, and one whose policy is changed while it works; on a fake clock."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from bench import Bench, Doubling, run, turns, values
from stepping import ByRows, CallTime, Load, affine

from batching import Batcher, PastTarget, Policy, Priority, QueueFull

pytestmark = pytest.mark.looptime(start=100, noop_cycles=0)

TARGET_S = 0.02
RATES, SECONDS = (200, 4000, 200), 2
#: A model of 1 ms and 0.05 ms a row: with 64 rows a call it makes 15,000 rows a second, with 4 it makes 3,333.
MODEL = affine(0.001, 0.00005)
AT_ONCE = Policy(window_ms=0)


def late(load: Load, rates: tuple[float, ...] = RATES) -> list[int]:
    """The seconds whose p99 is over the target, but for the first one after each step."""
    return [
        second
        for second in sorted(load.seen.latencies)
        if second % SECONDS and second < SECONDS * len(rates) and load.seen.p99(second) > TARGET_S
    ]


@pytest.mark.parametrize(
    ("policy", "call_s", "refuses"),
    [
        (Policy(target_p99_ms=20), MODEL, False),
        (Policy(max_rows=4, target_p99_ms=20), MODEL, True),
        (Policy(window_ms=50, close="full", target_p99_ms=20), MODEL, False),
        (Policy(target_p99_ms=20), affine(0.010, 0.00005), True),
        (Policy(max_rows=4, instances=2, target_p99_ms=20), affine(0.002, 0.00005), True),
    ],
)
async def test_a_load_in_steps_is_answered_within_the_target_or_refused_but_for_a_second_after_a_step(
    policy: Policy, call_s: CallTime, refuses: bool
) -> None:
    load = Load(policy, call_s)
    await load.run(RATES, SECONDS)
    await load.batcher.close()
    assert late(load) == []
    statistics = load.batcher.statistics
    assert statistics.refused_for_target == statistics.refused == sum(load.seen.refused.values())
    assert (load.seen.refused[3] > 0) == refuses


async def test_what_is_refused_is_the_excess_and_no_more() -> None:
    load = Load(Policy(max_rows=4, target_p99_ms=20), MODEL)
    await load.run(RATES, SECONDS)
    await load.batcher.close()
    assert len(load.seen.latencies[3]) > 0.95 * 4 / 0.0012
    assert sum(load.seen.refused[second] for second in (0, 1, 5)) == 0


async def test_a_machine_that_becomes_slower_refuses_more_and_keeps_to_the_target() -> None:
    load = Load(Policy(max_rows=8, target_p99_ms=20), lambda rows, at: MODEL(rows, at) * (3 if at >= SECONDS else 1))
    await load.run((4000, 4000), SECONDS)
    await load.batcher.close()
    assert late(load, (4000, 4000)) == []
    assert load.seen.refused[1] == 0 < load.seen.refused[3]


async def test_calls_are_no_larger_than_where_it_pays() -> None:
    load = Load(Policy(max_rows=64, target_p99_ms=50), lambda rows, _: 0.0002 * max(rows, 8))  # past 8 rows, as long a row
    await load.run((3000, 6000), 1)
    tuned = load.batcher.tuned
    await load.batcher.close()
    assert tuned is not None
    assert tuned.max_rows in (8, 16)


async def test_without_a_target_nothing_is_measured_for_one() -> None:
    load = Load(Policy(max_rows=4, queue_rows=100), MODEL)
    await load.run((4000,), 1)
    assert load.batcher.tuned is None
    await load.batcher.close()
    assert load.seen.p99(0) > TARGET_S
    assert load.batcher.statistics.refused_for_target == 0


async def test_entries_of_low_priority_wait_rather_than_be_refused_for_the_target() -> None:
    bench = Bench(Policy(max_rows=1, window_ms=0, target_p99_ms=20))
    for row in range(10):
        bench.submit(row)
        await turns()
        await asyncio.sleep(0.010)
        await bench.run()
    bench.submit(0)
    await turns()
    bench.submit(1, priority=Priority.LOW)
    bench.submit(2, priority=Priority.LOW)
    with pytest.raises(PastTarget, match=r"0 rows wait before the request, .* about 20 ms; the model keeps to 20 ms"):
        bench.submit(3)
    assert bench.batcher.statistics.refused_for_target == 1
    for _ in range(3):
        await bench.run()


# -- another policy, live ------------------------------------------------------------------------------------------------


async def test_another_policy_holds_for_the_windows_that_wait() -> None:
    bench = Bench(Policy(window_ms=500, close="full"))
    entry = bench.submit(1)
    await turns()
    bench.batcher.reconfigure(Policy(window_ms=100, close="full"))
    await asyncio.sleep(0.0999)
    assert bench.pool.started == []
    await asyncio.sleep(0.0002)
    assert bench.pool.started == [pytest.approx(100.1)]
    await bench.run()
    assert values(await entry) == [2]


async def test_fewer_rows_a_call_hold_for_the_next_call() -> None:
    bench = Bench(AT_ONCE)
    bench.submit(0)
    await turns()
    for row in range(1, 7):
        bench.submit(row)
    bench.batcher.reconfigure(Policy(window_ms=0, max_rows=2))
    for _ in range(4):
        await bench.run()
    assert bench.calls == [[0], [1, 2], [3, 4], [5, 6]]


async def test_a_queue_that_is_made_shorter_gives_up_nobody_and_takes_nobody_until_there_is_room() -> None:
    bench = Bench(AT_ONCE)
    entries = [bench.submit(0)]
    await turns()
    entries += [bench.submit(row) for row in range(1, 5)]
    bench.batcher.reconfigure(Policy(window_ms=0, queue_rows=2))
    with pytest.raises(QueueFull, match="holds 4 of at most 2 rows"):
        bench.submit(9)
    await bench.run()
    await bench.run()
    assert [values(await entry) for entry in entries] == [[0], [2], [4], [6], [8]]
    last = bench.submit(9)
    await turns()
    await bench.run()
    assert values(await last) == [18]


async def test_more_instances_start_calls_at_once_and_fewer_wait_until_slots_are_free() -> None:
    bench = Bench(Policy(max_rows=1, window_ms=0))
    for row in range(8):
        bench.submit(row)
    await turns()
    assert bench.batcher.calls_in_flight == 1
    bench.batcher.reconfigure(Policy(max_rows=1, window_ms=0, instances=4))
    assert bench.batcher.calls_in_flight == 4
    bench.batcher.reconfigure(Policy(max_rows=1, window_ms=0, instances=2))
    for left in (3, 2, 2, 2, 2, 2, 1, 0):
        await bench.run()
        assert bench.batcher.calls_in_flight == left
    assert len(bench.calls) == 8


async def test_a_default_deadline_holds_for_those_who_come_after() -> None:
    bench = Bench(AT_ONCE)
    first = bench.submit(0)
    await turns()
    bench.batcher.reconfigure(Policy(window_ms=0, timeout_ms=100))
    second = bench.submit(1)
    await asyncio.sleep(0.2)
    assert (first.done(), second.done()) == (False, True)
    await bench.run()
    assert values(await first) == [0]


async def test_a_target_that_is_set_raised_and_taken_away_under_load_holds_each_time() -> None:
    load = Load(Policy(max_rows=4), MODEL)
    loading = asyncio.create_task(load.run((4000,), 4))
    await asyncio.sleep(1)
    assert load.seen.p99(0) > 0.04
    load.batcher.reconfigure(Policy(max_rows=4, target_p99_ms=20))
    await asyncio.sleep(2)
    assert load.seen.p99(2) < 0.02
    assert load.seen.refused[2] > 0
    load.batcher.reconfigure(Policy(max_rows=64))
    await loading
    await load.batcher.close()
    assert (load.batcher.tuned, load.seen.refused[3], load.seen.p99(3) < 0.02) == (None, 0, True)


def test_a_batcher_that_was_closed_takes_another_policy_and_stays_closed() -> None:
    async def main() -> None:
        batcher = Batcher(Doubling(), AT_ONCE, ByRows(MODEL))
        batcher.submit({"x": np.ones(1)}, 1)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        batcher.reconfigure(Policy(instances=2, target_p99_ms=5))
        await closing
        batcher.reconfigure(AT_ONCE)
        assert batcher.queued_rows == 0

    run(main())
