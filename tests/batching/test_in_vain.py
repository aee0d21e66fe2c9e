"""What is not computed because its answer would come too late, and what is computed all the same."""

from __future__ import annotations

import asyncio

import pytest
from bench import Bench, turns

from batching import Answer, DeadlineExceeded, Policy

pytestmark = pytest.mark.looptime(start=100)


async def of_two_seconds(policy: Policy, *, stacked: bool = True) -> Bench:
    """A batcher whose calls take two seconds, as it has learnt; each of its slots is in such a call."""
    bench = Bench(policy, stacked=stacked)
    await in_all_slots(bench)
    await asyncio.sleep(2)
    for _ in range(policy.instances):
        await bench.run()
    await in_all_slots(bench)
    return bench


async def in_all_slots(bench: Bench) -> None:
    for _ in range(bench.batcher.policy.instances):
        bench.submit(1000)
        await turns()


async def end(entry: asyncio.Future[Answer], bench: Bench) -> None:
    """Runs calls until the entry has its answer."""
    while not entry.done():
        await bench.run()
    await entry


async def test_where_more_wait_than_a_call_takes_none_is_computed_in_vain() -> None:
    bench = await of_two_seconds(Policy(max_rows=1, window_ms=0, timeout_ms=1e6))
    late = bench.submit(1, timeout_s=4)
    after = bench.submit(2)
    await asyncio.sleep(3)
    await bench.run()  # one second is left to the first
    with pytest.raises(DeadlineExceeded, match="after 3000 ms in the queue") as told:
        await late
    assert told.value.stage == "queue"
    await end(after, bench)
    assert [1.0] not in bench.calls


@pytest.mark.parametrize("stacked", [True, False])
async def test_who_is_alone_is_computed_however_little_time_is_left(*, stacked: bool) -> None:
    bench = await of_two_seconds(Policy(max_rows=1, window_ms=0, timeout_ms=1e6), stacked=stacked)
    alone = bench.submit(1, timeout_s=4) if stacked else bench.submit(1, 2, timeout_s=4)
    await asyncio.sleep(3)
    await end(alone, bench)


async def test_where_the_free_slots_take_all_that_wait_all_are_computed() -> None:
    bench = await of_two_seconds(Policy(max_rows=1, window_ms=0, timeout_ms=1e6, instances=2))
    entries = [bench.submit(row, timeout_s=5) for row in (1, 2)]
    await asyncio.sleep(4)
    bench.pool.run()
    bench.pool.run()  # both slots are free in one turn
    await turns()
    for entry in entries:
        await end(entry, bench)


async def test_where_none_would_be_in_time_the_measured_length_is_not_believed() -> None:
    bench = await of_two_seconds(Policy(max_rows=1, window_ms=0, timeout_ms=1e6))
    entries = [bench.submit(row, timeout_s=7.6) for row in (1, 2)]
    await asyncio.sleep(6)
    await end(entries[0], bench)
