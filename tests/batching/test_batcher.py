"""The rules of the batcher, one by one, on a fake clock: every call runs when the test says so."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
from bench import Bench, ByHand, Doubling, OnTime, run, turns, values

from batching import Answer, Batcher, Closed, DeadlineExceeded, Defect, Policy, QueueFull, RowsMismatch, TooManyRows

pytestmark = pytest.mark.looptime(start=100)

AT_ONCE = Policy(window_ms=0)


async def busy(bench: Bench) -> asyncio.Future[Answer]:
    """An entry whose call holds a slot."""
    entry = bench.submit(1000)
    await turns()
    return entry


# -- forming a batch -----------------------------------------------------------------------------------------------------


async def test_a_batch_is_formed_when_a_slot_frees_and_not_before() -> None:
    bench = Bench(AT_ONCE)
    entries = [await busy(bench)]
    for row in (1, 2, 3):
        entries.append(bench.submit(row))
        await asyncio.sleep(1e-3)
    assert len(bench.pool.started) == 1
    await bench.run()
    await bench.run()
    assert bench.calls == [[1000], [1, 2, 3]]
    assert [values(await entry) for entry in entries] == [[2000], [2], [4], [6]]


async def test_answers_of_one_call_name_the_same_batch_and_those_of_another_call_another() -> None:
    bench = Bench(AT_ONCE)
    entries = [await busy(bench), bench.submit(1), bench.submit(2)]
    await bench.run()
    await bench.run()
    first, second, third = [(await entry).batch for entry in entries]
    assert 0 < first < second == third


async def test_the_window_is_measured_from_its_oldest_entrys_arrival() -> None:
    bench = Bench(Policy(window_ms=10, close="full"))
    bench.submit(1)
    await asyncio.sleep(0.006)
    bench.submit(2)
    await asyncio.sleep(0.0039)
    assert bench.pool.started == []
    await asyncio.sleep(0.0002)
    assert bench.pool.started == [pytest.approx(100.010)]
    await bench.run()
    assert bench.calls == [[1, 2]]


async def test_the_window_of_an_entry_that_waited_for_a_slot_is_over_when_it_frees() -> None:
    bench = Bench(Policy(window_ms=10, close="full", timeout_ms=1e6))
    bench.submit(1)
    await asyncio.sleep(0.02)
    bench.submit(2)
    await asyncio.sleep(5)
    await bench.run()
    assert len(bench.pool.waiting) == 1


async def test_a_full_window_closes_at_once() -> None:
    bench = Bench(Policy(max_rows=3, window_ms=1e6, close="full", timeout_ms=1e9))
    for row in (1, 2, 3, 4):
        bench.submit(row)
    await turns()
    assert bench.pool.started == [100]
    await bench.run()
    assert bench.calls == [[1, 2, 3]]
    assert bench.batcher.queued_rows == 1


async def test_a_lone_client_is_never_made_to_wait_by_early() -> None:
    bench = Bench(Policy(window_ms=1000))
    for row in range(5):
        entry = bench.submit(row)
        await turns()
        await asyncio.sleep(0.25)
        await bench.run()
        assert (await entry).reason == "early"
        assert (await entry).queue_s == 0
    assert len(bench.calls) == 5


@pytest.mark.parametrize(("window_ms", "every"), [(1000, 0.2), (150, 0.15), (50, 0.1)])
async def test_under_load_early_lets_the_slots_rest_as_long_as_a_call_but_not_past_the_window(
    window_ms: float, every: float
) -> None:
    pool = OnTime(lambda: 0.1)
    batcher = Batcher(Doubling(), Policy(max_rows=1000, window_ms=window_ms), pool)
    for _ in range(600):
        batcher.submit({"x": np.zeros(1)}, 1)
        await asyncio.sleep(0.005)
    await batcher.close()
    gaps = np.diff(pool.started[8:-1])
    assert gaps == pytest.approx(every, abs=0.006)


async def test_all_entries_of_one_turn_join_the_same_window() -> None:
    bench = Bench(AT_ONCE)

    async def client(row: float) -> list[float]:
        return values(await bench.submit(row))

    clients = [asyncio.create_task(client(row)) for row in range(10)]
    await turns()
    await bench.run()
    assert bench.calls == [list(range(10))]
    assert [await task for task in clients] == [[2 * row] for row in range(10)]


async def test_entries_of_turns_that_follow_one_another_join_the_same_window() -> None:
    bench = Bench(Policy(window_ms=1))
    for row in range(0, 6, 2):
        bench.submit(row)
        bench.submit(row + 1)
        await asyncio.sleep(0)
    await turns()
    await bench.run()
    assert bench.calls == [[0, 1, 2, 3, 4, 5]]


async def test_a_lone_entry_is_not_held_for_what_the_next_turn_may_bring() -> None:
    bench = Bench(Policy(window_ms=1))
    bench.submit(0)
    await asyncio.sleep(0)
    bench.submit(1)
    await turns()
    await bench.run()
    await bench.run()
    assert bench.calls == [[0], [1]]


async def test_turns_that_always_bring_company_do_not_hold_a_batch_past_its_window() -> None:
    bench = Bench(Policy(window_ms=5, max_rows=1000))
    loop = asyncio.get_running_loop()
    while not bench.pool.started:
        bench.submit(1)
        bench.submit(1)
        # The loop's clock moves between turns here, though there is always something to do.
        await asyncio.sleep(0)
        loop.setup_looptime(start=loop.time() + 0.001)  # type: ignore[attr-defined]  # looptime's loop
        assert loop.time() < 100.02
    assert bench.pool.started[0] == pytest.approx(100.005, abs=0.0025)


async def test_the_backlog_is_split_among_idle_slots() -> None:
    bench = Bench(Policy(window_ms=0, instances=4))
    for row in range(10):
        bench.submit(row)
    await turns()
    assert bench.batcher.calls_in_flight == 4
    for _ in range(4):
        await bench.run()
    assert bench.calls == [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9]]


async def test_a_window_that_closes_early_is_split_whole_and_no_part_rests() -> None:
    bench = Bench(Policy(window_ms=1000, instances=2))
    for _ in range(3):
        bench.submit(0)
        await asyncio.sleep(0.1)
        await bench.run()
    for row in range(4):
        bench.submit(row)
    await turns()
    assert len(bench.pool.waiting) == 2


async def test_a_full_window_is_split_too() -> None:
    bench = Bench(Policy(max_rows=8, window_ms=1000, close="full", instances=4))
    for row in range(8):
        bench.submit(row)
    await turns()
    assert len(bench.pool.waiting) == 4


async def test_never_more_calls_in_flight_than_instances() -> None:
    bench = Bench(Policy(max_rows=1, window_ms=0, instances=2))
    for row in range(5):
        bench.submit(row)
    await turns()
    assert (len(bench.pool.waiting), bench.batcher.queued_rows) == (2, 3)


async def test_entries_share_a_call_only_in_one_group_and_with_the_same_outputs() -> None:
    bench = Bench(AT_ONCE)
    bench.submit(1, group="a")
    bench.submit(2, group="b")
    bench.submit(3, group="a")
    bench.submit(4, group="a", outputs=("y",))
    await turns()
    for _ in range(3):
        await bench.run()
    assert bench.calls == [[1, 3], [2], [4]]


async def test_calls_that_take_no_rows_are_made_for_each_entry_alone() -> None:
    bench = Bench(Policy(window_ms=1000, close="full"), stacked=False)
    entries = [bench.submit(row) for row in (1, 2)]
    await turns()
    await bench.run()
    await bench.run()
    assert bench.calls == [[1], [2]]
    assert [values(await entry) for entry in entries] == [[2], [4]]


async def test_an_idle_batcher_arms_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    bench = Bench(Policy(window_ms=5, timeout_ms=100))
    entry = bench.submit(1)
    await turns()
    await bench.run()
    await entry
    await asyncio.sleep(1)
    armed: list[str] = []
    for name in ("call_soon", "call_later", "call_at", "call_soon_threadsafe"):
        monkeypatch.setattr(loop, name, partial(_noted, armed, name, getattr(loop, name)))
    awake = loop.create_future()
    loop.call_at(loop.time() + 3600, awake.set_result, None)
    await awake
    assert armed[0] == "call_at"
    assert set(armed[1:]) <= {"call_soon"}  # the future's own wake-up
    assert len(armed) <= 2


def _noted(names: list[str], name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    names.append(name)
    return call(*args, **kwargs)


# -- rows ----------------------------------------------------------------------------------------------------------------


async def test_rows_count_and_not_entries() -> None:
    bench = Bench(Policy(max_rows=5, window_ms=0))
    for rows in ([1, 1], [2, 2], [3, 3]):
        bench.submit(*rows)
    await turns()
    await bench.run()
    await bench.run()
    assert bench.calls == [[1, 1, 2, 2], [3, 3]]


async def test_an_entry_larger_than_max_rows_is_cut_and_put_together_again() -> None:
    bench = Bench(Policy(max_rows=3, window_ms=0))
    entry = bench.submit(*range(8))
    await turns()
    for _ in range(3):
        await bench.run()
    assert bench.calls == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert values(await entry) == [2 * row for row in range(8)]


async def test_an_entry_of_no_rows_is_a_value_error() -> None:
    bench = Bench(AT_ONCE)
    with pytest.raises(ValueError, match="at least 1 row"):
        bench.submit()
    assert bench.batcher.queued_rows == 0


# -- the door ------------------------------------------------------------------------------------------------------------


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_again() -> None:
    bench = Bench(Policy(max_rows=2, window_ms=0, queue_rows=4, timeout_ms=1e6))
    await busy(bench)
    await asyncio.sleep(3)
    await bench.run()  # calls take 3 s
    await busy(bench)
    for _ in range(4):
        bench.submit(1)
    with pytest.raises(QueueFull, match="4 of at most 4 rows") as refusal:
        bench.submit(2)
    assert (refusal.value.rows, refusal.value.queued, refusal.value.limit) == (1, 4, 4)
    assert refusal.value.retry_after_s == pytest.approx(2 * 3)
    assert bench.batcher.queued_rows == 4
    assert bench.batcher.statistics.refused == 1


async def test_a_full_queue_says_a_time_even_before_any_call_was_measured() -> None:
    bench = Bench(Policy(window_ms=0, queue_rows=1))
    await busy(bench)
    bench.submit(1)
    with pytest.raises(QueueFull) as refusal:
        bench.submit(2)
    assert refusal.value.retry_after_s == 1.0


async def test_callers_who_have_left_make_room() -> None:
    bench = Bench(Policy(window_ms=0, queue_rows=2))
    await busy(bench)
    gone = [bench.submit(1), bench.submit(2)]
    for entry in gone:
        entry.cancel()
    bench.submit(3)
    assert bench.batcher.queued_rows == 1
    assert bench.batcher.statistics.cancelled == 2


async def test_an_entry_of_more_rows_than_could_ever_queue_is_told_so() -> None:
    bench = Bench(Policy(queue_rows=4))
    with pytest.raises(TooManyRows, match="5 rows; send at most 4"):
        bench.submit(*range(5))


async def test_an_entry_that_cannot_be_answered_in_time_is_refused_at_admission() -> None:
    bench = Bench(Policy(max_rows=1, window_ms=0, timeout_ms=1e6))
    for _ in range(2):
        await busy(bench)
        await asyncio.sleep(2)
        await bench.run()
    await busy(bench)
    bench.submit(1)
    bench.submit(2)
    with pytest.raises(DeadlineExceeded, match="2 rows wait already") as refusal:
        bench.submit(3, timeout_s=9.9)
    assert refusal.value.stage == "admission"
    bench.submit(4, timeout_s=10.1)  # 2 s for each call, of which one has just begun, are eight tenths of that


async def test_the_wait_is_reckoned_in_calls_and_not_in_rows() -> None:
    bench = Bench(Policy(max_rows=64, window_ms=0, timeout_ms=1e6))
    await busy(bench)
    await asyncio.sleep(2)
    await bench.run()
    await busy(bench)
    for _ in range(64):
        bench.submit(1)
    bench.submit(2, timeout_s=7.6)


@pytest.mark.parametrize("stacked", [True, False])
async def test_calls_that_the_entries_leave_part_empty_are_counted_as_such(stacked: bool) -> None:
    bench = Bench(Policy(max_rows=4, window_ms=0, timeout_ms=1e6), stacked=stacked)
    for _ in range(40):
        bench.submit(1, 2, 3)  # four rows a call may have, and a second entry does not fit
    while bench.batcher.queued_rows > 6:
        await turns()
        await asyncio.sleep(2)
        await bench.run()
    await turns()
    with pytest.raises(DeadlineExceeded, match="6 rows wait already"):
        bench.submit(4, 5, 6, timeout_s=9.9)  # two calls, and its own, of 2 s each; one is running
    bench.submit(4, 5, 6, timeout_s=10.1)


async def test_those_who_have_left_do_not_count_against_a_deadline() -> None:
    bench = Bench(Policy(max_rows=1, window_ms=0, timeout_ms=1e6))
    await busy(bench)
    await asyncio.sleep(2)
    await bench.run()
    await busy(bench)
    for row in range(5):
        bench.submit(row).cancel()
    bench.submit(9, timeout_s=1)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
async def test_an_entry_without_time_is_refused(timeout_s: float) -> None:
    bench = Bench(AT_ONCE)
    with pytest.raises(DeadlineExceeded) as refusal:
        bench.submit(1, timeout_s=timeout_s)
    assert refusal.value.stage == "admission"
    assert bench.batcher.queued_rows == 0


# -- deadlines -----------------------------------------------------------------------------------------------------------


async def test_what_has_expired_in_the_queue_is_told_so_in_time_and_never_computed() -> None:
    bench = Bench(AT_ONCE)
    await busy(bench)
    late, patient = bench.submit(1, timeout_s=0.5), bench.submit(2, timeout_s=5)
    with pytest.raises(DeadlineExceeded, match="waited for its turn") as expiry:
        await late
    assert asyncio.get_running_loop().time() == pytest.approx(100.5)
    assert expiry.value.stage == "queue"
    await bench.run()
    await bench.run()
    assert bench.calls == [[1000], [2]]
    assert values(await patient) == [4]
    assert bench.batcher.statistics.expired == 1


async def test_a_call_that_hangs_does_not_keep_its_callers_past_their_deadlines() -> None:
    bench = Bench(AT_ONCE)
    entries = [bench.submit(1, timeout_s=0.2), bench.submit(2, timeout_s=0.4)]
    for entry, when in zip(entries, (100.2, 100.4), strict=True):
        with pytest.raises(DeadlineExceeded, match="while the model computed") as expiry:
            await entry
        assert expiry.value.stage == "call"
        assert asyncio.get_running_loop().time() == pytest.approx(when)
    await bench.run()
    assert bench.batcher.statistics.expired == 2
    assert bench.batcher.statistics.success.count == 0


async def test_a_window_ends_in_time_for_the_entry_that_has_least() -> None:
    bench = Bench(Policy(window_ms=1000, close="full", timeout_ms=1e6))
    bench.submit(0)
    await asyncio.sleep(1.2)
    await bench.run()  # a call takes 0.2 s
    patient, hasty = bench.submit(1), bench.submit(2, timeout_s=0.5)
    await asyncio.sleep(0.31)
    assert bench.pool.started[1] == pytest.approx(101.2 + 0.3)
    await bench.run()
    assert ((await hasty).reason, (await patient).reason) == ("deadline", "deadline")


async def test_a_deadline_beyond_what_event_loops_can_time_is_no_deadline() -> None:
    bench = Bench(AT_ONCE)
    entries = [bench.submit(1, timeout_s=float("inf")), bench.submit(2, timeout_s=1e300)]
    await asyncio.sleep(200_000)
    await bench.run()
    assert [values(await entry) for entry in entries] == [[2], [4]]


# -- those who leave -----------------------------------------------------------------------------------------------------


async def test_a_cancelled_entry_in_the_queue_is_not_computed() -> None:
    bench = Bench(AT_ONCE)
    await busy(bench)
    entries = [bench.submit(row) for row in (1, 2, 3)]
    entries[1].cancel()
    await bench.run()
    await bench.run()
    assert bench.calls == [[1000], [1, 3]]
    assert [values(await entries[0]), values(await entries[2])] == [[2], [6]]
    assert bench.batcher.statistics.cancelled == 1


async def test_an_entry_cancelled_while_its_call_runs_harms_nobody() -> None:
    bench = Bench(AT_ONCE)
    entries = [bench.submit(row) for row in (1, 2, 3)]
    await turns()
    entries[1].cancel()
    await bench.run()
    assert [values(await entries[0]), values(await entries[2])] == [[2], [6]]
    assert entries[1].cancelled()
    assert bench.batcher.statistics.cancelled == 1


async def test_a_slot_never_computes_for_nobody() -> None:
    bench = Bench(AT_ONCE)
    await busy(bench)
    for row in (1, 2):
        bench.submit(row).cancel()
    await bench.run()
    assert bench.batcher.calls_in_flight == 0
    assert bench.calls == [[1000]]


async def test_a_call_that_has_not_begun_when_its_last_caller_leaves_is_not_made() -> None:
    bench = Bench(AT_ONCE)
    entries = [bench.submit(row) for row in (1, 2)]
    await turns()
    for entry in entries:
        entry.cancel()
    await bench.run()
    assert bench.calls == []
    assert bench.batcher.calls_in_flight == 0


async def test_cancelling_a_cut_entry_withdraws_all_of_it() -> None:
    bench = Bench(Policy(max_rows=2, window_ms=0))
    entry = bench.submit(*range(6))
    await turns()
    entry.cancel()
    await turns()
    await bench.run()
    assert bench.calls == []
    assert bench.batcher.queued_rows == 0


# -- isolation -----------------------------------------------------------------------------------------------------------


async def test_one_bad_entry_fails_alone() -> None:
    bench = Bench(AT_ONCE)
    entries = [bench.submit(row) for row in (1, 2, -3, 4, 5)]
    await turns()
    await bench.run()
    with pytest.raises(ValueError, match="-3 is negative"):
        await entries[2]
    assert [values(await entries[at]) for at in (0, 1, 3, 4)] == [[2], [4], [8], [10]]


async def test_the_halving_stops_for_entries_that_nobody_waits_for_any_more() -> None:
    bench = Bench(AT_ONCE)
    left = [bench.submit(-1), bench.submit(-2)]
    stayed = [bench.submit(3), bench.submit(4)]
    await turns()
    for entry in left:
        entry.cancel()
    await bench.run()
    assert bench.calls == [[-1, -2, 3, 4], [3, 4]]
    assert [values(await entry) for entry in stayed] == [[6], [8]]


async def test_a_call_that_changes_something_is_not_tried_again() -> None:
    bench = Bench(AT_ONCE, pure=False)
    entries = [bench.submit(row) for row in (1, -2)]
    await turns()
    await bench.run()
    assert bench.calls == [[1, -2]]
    for entry in entries:
        with pytest.raises(ValueError, match="negative"):
            await entry


async def test_too_few_rows_are_an_error_for_the_whole_batch_and_never_a_shifted_answer() -> None:
    pool = ByHand()
    batcher = Batcher(lambda inputs, outputs: {"y": inputs["x"][1:]}, AT_ONCE, pool)
    entries = [batcher.submit({"x": np.array([row])}, 1) for row in (1.0, 2.0, 3.0)]
    await turns()
    pool.run()
    for entry in entries:
        with pytest.raises(RowsMismatch, match="2 rows in output 'y' for 3 rows"):
            await entry
    assert batcher.healthy


@pytest.mark.parametrize(
    "raised", [StopIteration("x"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()]
)
async def test_whatever_a_call_raises_its_callers_get_an_exception_and_the_batcher_lives(raised: BaseException) -> None:
    def call(inputs: object, outputs: object) -> dict[str, Any]:
        raise raised

    pool = ByHand()
    batcher = Batcher(call, AT_ONCE, pool)
    entry = batcher.submit({"x": np.zeros(1)}, 1)
    await turns()
    pool.run()
    with pytest.raises(RuntimeError, match=type(raised).__name__) as failure:
        await entry
    assert failure.value.__cause__ is raised
    assert batcher.healthy
    assert batcher.calls_in_flight == 0


async def test_a_failed_cut_entry_fails_once_and_withdraws_its_other_parts() -> None:
    bench = Bench(Policy(max_rows=2, window_ms=0))
    entry = bench.submit(-1, 2, 3, 4, 5, 6)
    await turns()
    await bench.run()
    with pytest.raises(ValueError, match="-1 is negative"):
        await entry
    await turns()
    await bench.run()
    assert bench.calls == [[-1, 2]]  # what was already handed over is not begun either


def test_a_failure_keeps_no_arrays_alive_until_the_garbage_collector_comes() -> None:
    async def fail(pool: ThreadPoolExecutor) -> list[weakref.ref[Any]]:
        batcher = Batcher(Doubling(), Policy(window_ms=0, timeout_ms=1e9), pool)
        rows = [np.array([value]) for value in (1.0, -2.0, 3.0)]
        outcomes = await asyncio.gather(*[batcher.submit({"x": row}, 1) for row in rows], return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Answer, ValueError, Answer]
        await batcher.close()
        return [weakref.ref(row) for row in rows]

    gc.collect()
    gc.disable()
    try:
        with ThreadPoolExecutor(1) as pool:
            kept = run(fail(pool))
        assert [row() for row in kept] == [None, None, None]
    finally:
        gc.enable()


async def test_a_batch_tried_again_in_halves_says_nothing_of_how_long_calls_take() -> None:
    bench = Bench(Policy(max_rows=1, window_ms=0, timeout_ms=1e6))
    await busy(bench)
    await asyncio.sleep(1)
    await bench.run()
    slow = Bench(Policy(max_rows=4, window_ms=0, timeout_ms=1e6))
    for row in (1, -1, 1, -1):
        slow.submit(row).add_done_callback(lambda entry: entry.exception())
    await turns()
    await asyncio.sleep(1000)
    await slow.run()
    await busy(slow)
    slow.submit(1)
    slow.submit(1, timeout_s=1)  # nothing measured, so nothing to refuse for


# -- supervision ---------------------------------------------------------------------------------------------------------


class Broken(ByHand):
    """A pool that takes no calls while it is broken."""

    broken = True

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Raises RuntimeError while broken."""
        if self.broken:
            raise RuntimeError("cannot start a thread")
        return super().submit(fn, *args, **kwargs)


async def test_a_defect_fails_what_the_batcher_held_flips_healthy_and_it_starts_again(caplog: pytest.LogCaptureFixture) -> None:
    pool = Broken()
    batcher = Batcher(Doubling(), Policy(max_rows=1, window_ms=0), pool, name="doubling")
    entries = [batcher.submit({"x": np.array([row])}, 1) for row in (1.0, 2.0)]
    await turns()
    for entry in entries:
        with pytest.raises(Defect, match="doubling failed"):
            await entry
    healthy = batcher.healthy
    assert not healthy
    assert (batcher.calls_in_flight, batcher.queued_rows, batcher.statistics.defects) == (0, 0, 1)
    assert "cannot start a thread" in caplog.text
    with pytest.raises(Closed, match="starts again") as refusal:
        batcher.submit({"x": np.array([3.0])}, 1)
    assert refusal.value.retry_after_s == pytest.approx(1)
    pool.broken = False
    await asyncio.sleep(1)
    assert batcher.healthy
    entry = batcher.submit({"x": np.array([4.0])}, 1)
    await turns()
    pool.run()
    assert values(await entry) == [8]


async def test_defects_in_a_row_lengthen_the_pause_up_to_half_a_minute() -> None:
    pool = Broken()
    batcher = Batcher(Doubling(), AT_ONCE, pool)
    pauses = []
    for _ in range(7):
        entry = batcher.submit({"x": np.array([1.0])}, 1)
        with pytest.raises(Defect):
            await entry
        with pytest.raises(Closed) as refusal:
            batcher.submit({"x": np.array([1.0])}, 1)
        pauses.append(round(refusal.value.retry_after_s, 3))
        await asyncio.sleep(refusal.value.retry_after_s)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


async def test_a_call_that_outlives_a_defect_keeps_its_slot_until_it_ends() -> None:
    pool = Broken()
    pool.broken = False
    batcher = Batcher(Doubling(), Policy(max_rows=1, window_ms=0, instances=2), pool)
    running = batcher.submit({"x": np.array([1.0])}, 1)
    await turns()
    pool.broken = True
    batcher.submit({"x": np.array([2.0])}, 1).add_done_callback(lambda entry: entry.exception())
    with pytest.raises(Defect):
        await running
    assert batcher.calls_in_flight == 1
    closing = asyncio.create_task(batcher.close())
    await turns()
    assert not closing.done()
    pool.run()
    await closing
    assert batcher.calls_in_flight == 0


async def test_a_result_that_breaks_the_scattering_is_everyones_error_and_no_defect() -> None:
    class Lying(dict[str, Any]):
        def items(self) -> Any:
            raise ZeroDivisionError("no items")

    pool = ByHand()
    batcher = Batcher(lambda inputs, outputs: Lying(), AT_ONCE, pool)
    entries = [batcher.submit({"x": np.zeros(1)}, 1) for _ in range(3)]
    await turns()
    pool.run()
    for entry in entries:
        with pytest.raises(ZeroDivisionError):
            await entry
    assert batcher.healthy


async def test_an_entry_that_cannot_be_grouped_is_refused_to_its_caller_alone() -> None:
    bench = Bench(AT_ONCE)
    with pytest.raises(TypeError, match="unhashable"):
        bench.submit(1, group=[])
    entry = bench.submit(2)
    await turns()
    await bench.run()
    assert values(await entry) == [4]


async def test_a_call_that_outlives_its_event_loop_ends_quietly(caplog: pytest.LogCaptureFixture) -> None:
    async def leave() -> ByHand:
        bench = Bench(AT_ONCE)
        await busy(bench)
        return bench.pool

    with caplog.at_level(logging.WARNING):
        pool = await asyncio.to_thread(run, leave())
        pool.run()
    assert "ended after its event loop" in caplog.text


# -- closing -------------------------------------------------------------------------------------------------------------


async def test_close_finishes_what_is_held_and_refuses_the_new() -> None:
    bench = Bench(Policy(max_rows=2, window_ms=1e6, close="full", timeout_ms=1e9))
    entries = [bench.submit(row) for row in (1, 2, 3)]
    closing = asyncio.create_task(bench.batcher.close())
    await turns()
    with pytest.raises(Closed, match="being closed"):
        bench.submit(4)
    await bench.run()
    assert not closing.done()
    await bench.run()
    await closing
    assert [values(await entry) for entry in entries] == [[2], [4], [6]]
    assert (await entries[2]).reason == "closing"


async def test_close_of_an_idle_batcher_returns_at_once_and_twice() -> None:
    bench = Bench(AT_ONCE)
    await bench.batcher.close()
    await bench.batcher.close()


async def test_abandon_ends_what_waits_and_what_is_computed_with_the_reason_given() -> None:
    bench = Bench(AT_ONCE)
    entries = [await busy(bench), bench.submit(1), bench.submit(2)]
    entries[1].cancel()
    assert bench.batcher.abandon(ConnectionAbortedError("no time left")) == 2
    for entry in (entries[0], entries[2]):
        with pytest.raises(ConnectionAbortedError, match="no time left"):
            await entry
    assert (bench.batcher.queued_rows, bench.batcher.calls_in_flight) == (0, 1)
    await bench.run()
    assert bench.batcher.calls_in_flight == 0
    assert bench.batcher.healthy


async def test_a_closer_that_leaves_does_not_stop_the_closing() -> None:
    bench = Bench(AT_ONCE)
    entry = await busy(bench)
    closing = asyncio.create_task(bench.batcher.close())
    await turns()
    closing.cancel()
    await turns()
    await bench.run()
    assert values(await entry) == [2000]
    await bench.batcher.close()


# -- why -----------------------------------------------------------------------------------------------------------------


async def test_an_answer_says_what_it_waited_for_and_why_its_batch_closed() -> None:
    bench = Bench(Policy(max_rows=4, window_ms=10, close="full"))
    first = bench.submit(1)
    await asyncio.sleep(0.004)
    second = bench.submit(2, 3)
    await asyncio.sleep(0.010)
    await bench.run()
    assert [(await entry).queue_s for entry in (first, second)] == pytest.approx([0.010, 0.006])
    assert ((await first).batch_rows, (await first).reason) == (3, "window")
    third = bench.submit(1, 2, 3, 4)
    await turns()
    await bench.run()
    assert (await third).reason == "full"
    assert bench.batcher.statistics.closes == {"window": 1, "full": 1}


async def test_after_a_rest_a_batch_closes_as_idle() -> None:
    pool = OnTime(lambda: 0.1)
    batcher = Batcher(Doubling(), Policy(window_ms=1000), pool)
    for row in (1.0, 2.0, 3.0):
        batcher.submit({"x": np.array([row])}, 1)
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    entry = batcher.submit({"x": np.array([4.0])}, 1)
    assert (await entry).reason == "idle"
    assert (await entry).queue_s == 0
