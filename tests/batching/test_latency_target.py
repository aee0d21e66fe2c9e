"""Rows, wait, door and correction of a batcher with a target, as functions of what was measured."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching import Policy
from batching.entry import Answer, Batch, Entry
from batching.target import AIM, CORRECT_S, ENOUGH, HALF_S, MOST, Target

T = 0.02
POLICY = Policy(target_p99_ms=1000 * T)


@pytest.fixture(scope="module", autouse=True)
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def entry(loop: asyncio.AbstractEventLoop, enqueued: float, place: float | None = None) -> Entry:
    future: asyncio.Future[Answer] = loop.create_future()
    return Entry({}, 1, (), None, enqueued, enqueued + 1, enqueued if place is None else place, future)


def batch(rows: int, started: float, entries: list[Entry] | None = None) -> Batch:
    return Batch("full", rows, entries or [], started, calls=1)


def measured(policy: Policy, *sized: tuple[int, float], times: int = 8, stacked: bool = True) -> Target:
    """Calls that have ended at 0."""
    target = Target(policy, stacked)
    target.adopt(policy, 0.0)
    for _ in range(times):
        for rows, seconds in sized:
            target.called(batch(rows, -seconds), 0.0)
    return target


def affine(policy: Policy, fixed_s: float, row_s: float) -> Target:
    sizes = [1 << size for size in range(policy.max_rows.bit_length())]
    return measured(policy, *((rows, fixed_s + row_s * rows) for rows in sizes if rows <= policy.max_rows))


def answered(loop: asyncio.AbstractEventLoop, target: Target, latency_s: float, now: float, count: int = ENOUGH) -> None:
    """So many entries are answered now that came that long ago."""
    started = now - 0.001
    target.called(batch(1, started, [entry(loop, now - latency_s) for _ in range(count)]), now)


# -- rows and wait -------------------------------------------------------------------------------------------------------


def test_while_nothing_is_measured_it_works_as_without_a_target() -> None:
    target = Target(POLICY, True)
    assert target.adopt(POLICY, 0.0) == POLICY
    assert target.refusal(1, 1000, 1, [], 0.0) is None


def test_two_calls_fit_into_the_goal() -> None:
    assert affine(Policy(max_rows=1024, target_p99_ms=1000 * T), 0.001, 0.00005).rules.max_rows == 128
    assert 2 * (0.001 + 0.00005 * 128) < AIM * T < 2 * (0.001 + 0.00005 * 256)


def test_where_no_two_calls_fit_it_is_the_size_with_the_most_rows_within_the_goal() -> None:
    assert affine(POLICY, 0.010, 0.00005).rules.max_rows == 64
    assert affine(Policy(max_rows=64, target_p99_ms=1000 * T), 0.012, 0.001).rules.max_rows in (2, 4)


@given(
    st.lists(st.tuples(st.integers(1, 64), st.floats(1e-5, 0.1)), max_size=30),
    st.floats(0, 30),
    st.sampled_from(["early", "full"]),
    st.booleans(),
)
def test_it_never_takes_more_rows_nor_waits_longer_than_the_policy_says_nor_than_the_goal_leaves(
    calls: list[tuple[int, float]], window_ms: float, close: str, stacked: bool
) -> None:
    policy = Policy(window_ms=window_ms, close=close, target_p99_ms=1000 * T)  # type: ignore[arg-type]  # one of the two
    target = measured(policy, *calls, times=1, stacked=stacked)
    assert 1 <= target.rules.max_rows <= policy.max_rows
    assert 0 <= target.rules.window_s <= min(policy.window_s, AIM * T)
    assert (target.rules.close, target.rules.queue_rows, target.rules.timeout_ms) == (close, policy.queue_rows, policy.timeout_ms)


def test_a_window_waits_for_what_the_call_leaves_of_the_goal() -> None:
    target = measured(Policy(window_ms=50, target_p99_ms=1000 * T), (64, 0.005))
    assert target.rules.window_s == pytest.approx(AIM * T - 0.005)


def test_a_batch_that_was_tried_again_in_halves_says_nothing_of_calls() -> None:
    target = measured(POLICY)
    failed = batch(64, -9.0)
    failed.calls = 3
    assert target.called(failed, 0.0) == POLICY


def test_another_policy_holds_at_once_and_what_was_measured_stays() -> None:
    target = measured(POLICY, (64, 0.005))
    other = Policy(max_rows=256, window_ms=50, queue_rows=7, instances=3, target_p99_ms=10)
    rules = target.adopt(other, 0.0)
    assert (rules.queue_rows, rules.instances) == (7, 3)
    assert rules.window_s == pytest.approx(0.01 * AIM - 0.005, abs=1e-4)


# -- the door ------------------------------------------------------------------------------------------------------------


def test_who_finds_nothing_before_him_is_always_taken() -> None:
    assert measured(POLICY, (1, 9.0)).refusal(64, 0, 0, [], 0.0) is None


def test_who_would_be_answered_too_late_is_refused_with_the_reason_and_when_to_come_again() -> None:
    target = measured(Policy(max_rows=4, target_p99_ms=1000 * T), (4, 0.002))
    running = [batch(4, 0.0)]
    taken = [ahead for ahead in range(100) if target.refusal(1, ahead, 1, running, 0.0) is None]
    assert taken == list(range(28))  # the call in flight, six more and his own: 16 ms
    refused = target.refusal(1, 28, 1, running, 0.0)
    assert refused is not None
    assert (refused.queued, refused.limit) == (28, 28)
    assert refused.retry_after_s == pytest.approx(0.018 - AIM * T)
    assert "28 rows wait before the request, which would be answered in about 18 ms; the model keeps to 20 ms" in str(refused)


def test_several_slots_do_the_calls_before_in_less_time() -> None:
    target = measured(Policy(max_rows=4, instances=2, target_p99_ms=1000 * T), (4, 0.002))
    running = [batch(4, 0.0), batch(4, -0.001)]
    assert max(ahead for ahead in range(100) if target.refusal(1, ahead, 1, running, 0.0) is None) == 59


def test_a_stalled_call_shuts_the_door() -> None:
    target = measured(POLICY, (64, 0.005))
    stalled = [batch(64, 0.0)]
    assert target.refusal(1, 1, 1, stalled, 0.005) is None
    assert target.refusal(1, 1, 1, stalled, 0.010) is None
    assert target.refusal(1, 1, 1, stalled, 0.030) is not None


def test_windows_of_other_buckets_are_calls_before() -> None:
    target = measured(POLICY, (64, 0.005))
    running = [batch(64, 0.0)]
    assert target.refusal(1, 10, 2, running, 0.0) is None
    assert target.refusal(1, 10, 3, running, 0.0) is not None


def test_entries_that_are_not_stacked_are_calls_of_their_own() -> None:
    target = measured(POLICY, (1, 0.004), stacked=False)
    running = [batch(1, 0.0)]
    assert [target.refusal(1, ahead, 1, running, 0.0) is None for ahead in range(5)] == [True, True, True, False, False]


@given(st.integers(1, 100), st.integers(0, 500), st.floats(1e-4, 0.03), st.floats(0, 0.05), st.integers(1, 4))
def test_more_before_never_opens_the_door(rows: int, ahead: int, call_s: float, elapsed_s: float, slots: int) -> None:
    target = measured(Policy(instances=slots, target_p99_ms=1000 * T), (64, call_s))
    running = [batch(64, -elapsed_s)] * slots
    if target.refusal(rows, ahead, 1, running, 0.0) is not None:
        assert target.refusal(rows, ahead + 1, 1, running, 0.0) is not None
        assert target.refusal(rows + 1, ahead, 1, running, 0.0) is not None


# -- the correction ------------------------------------------------------------------------------------------------------


def test_what_comes_later_than_predicted_lowers_the_goal_by_as_much(loop: asyncio.AbstractEventLoop) -> None:
    target = measured(POLICY, (1, 0.001))
    answered(loop, target, 0.020, 10.0)
    assert target.goal_s(10.0) == pytest.approx(AIM * T - (0.020 - AIM * T), rel=0.05)


def test_a_correction_is_halved_in_its_time_and_given_back_sooner_where_answers_come_early(loop: asyncio.AbstractEventLoop) -> None:
    target = measured(POLICY, (1, 0.001))
    answered(loop, target, 0.020, 10.0)
    corrected = AIM * T - target.goal_s(10.0)
    assert AIM * T - target.goal_s(10.0 + HALF_S) == pytest.approx(corrected / 2)
    answered(loop, target, 0.001, 11.0)
    assert AIM * T - target.goal_s(11.0) < corrected * 0.8


def test_entries_that_were_taken_before_a_correction_do_not_count_for_the_next(loop: asyncio.AbstractEventLoop) -> None:
    target = measured(POLICY, (1, 0.001))
    answered(loop, target, 0.020, 10.0)
    before = target.goal_s(11.0)
    answered(loop, target, 5.0, 11.0)
    assert target.goal_s(11.0) == before


def test_few_latencies_correct_nothing(loop: asyncio.AbstractEventLoop) -> None:
    target = measured(POLICY, (1, 0.001))
    answered(loop, target, 0.020, 10.0, ENOUGH - 1)
    assert target.goal_s(10.0) == AIM * T


def test_entries_of_low_priority_are_not_counted(loop: asyncio.AbstractEventLoop) -> None:
    target = measured(POLICY, (1, 0.001))
    target.called(batch(1, 9.999, [entry(loop, 8.0, 9.0) for _ in range(1000)]), 10.0)
    assert target.goal_s(10.0) == AIM * T
    assert target.tuned(10.0).p99_s is None


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(1e-4, 5)), min_size=1, max_size=20))
def test_the_goal_stays_between_its_bounds_whatever_is_measured(
    loop: asyncio.AbstractEventLoop, steps: list[tuple[float, float]]
) -> None:
    target, now = measured(POLICY, (1, 0.001)), 10.0
    for later, latency_s in steps:
        now += CORRECT_S + later
        answered(loop, target, latency_s, now)
        assert (AIM - MOST) * T - 1e-12 <= target.goal_s(now) <= AIM * T


def test_what_it_does_now_can_be_told(loop: asyncio.AbstractEventLoop) -> None:
    target = measured(Policy(window_ms=2, target_p99_ms=1000 * T), (64, 0.005))
    answered(loop, target, 0.004, 0.1)
    told = target.tuned(0.2)
    assert (told.target_s, told.max_rows, told.window_s) == (T, 64, 0.002)
    assert told.p99_s == pytest.approx(0.004, rel=0.02)
