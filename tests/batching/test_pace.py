"""What is measured while serving."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.pace import COMPANY, FORGET_S, HINT_S, REST, STALL, WEIGHT, WELL, Pace

measurements = st.lists(st.tuples(st.integers(1, 500), st.floats(0, 10), st.integers(0, 50)), min_size=1)


def test_before_any_call_calls_take_no_time_and_nobody_is_expected() -> None:
    assert (Pace().call_s(1), Pace().gap_s, Pace().slowest_s) == (0, math.inf, 0)


def test_the_time_of_a_call_is_that_of_its_own_size_class() -> None:
    pace = Pace()
    pace.called(1, 0.001, 0, 0.0)
    pace.called(64, 0.5, 0, 0.0)
    assert pace.call_s(1) == 0.001
    assert [pace.call_s(rows) for rows in (33, 48, 64)] == [0.5] * 3


def test_a_size_never_measured_is_taken_for_the_nearest_and_of_two_for_the_larger() -> None:
    pace = Pace()
    pace.called(1, 0.001, 0, 0.0)
    pace.called(16, 0.5, 0, 0.0)
    assert [pace.call_s(rows) for rows in (2, 4, 8, 500)] == [0.001, 0.5, 0.5, 0.5]


@given(measurements, st.integers(1, 500))
def test_a_calls_time_lies_between_those_measured(measured: list[tuple[int, float, int]], rows: int) -> None:
    pace = Pace()
    for call in measured:
        pace.called(*call, 0.0)
    seconds = [seconds for _, seconds, _ in measured]
    assert min(seconds) - 1e-9 <= pace.call_s(rows) <= pace.slowest_s <= max(seconds) + 1e-9


def test_one_stall_does_not_make_calls_slow() -> None:
    pace = Pace()
    for _ in range(5):
        pace.called(16, 0.01, 0, 0.0)
    pace.called(16, 10.0, 0, 0.0)
    assert pace.call_s(16) == pytest.approx(0.01 * (1 + WEIGHT * (STALL - 1)))


def test_calls_that_have_become_slow_are_known_to_be_after_a_few() -> None:
    pace = Pace()
    for seconds in (*[0.01] * 5, *[1.0] * 25):
        pace.called(16, seconds, 0, 0.0)
    assert pace.call_s(16) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize(("calls", "after_s"), [(1, HINT_S), (WELL - 1, HINT_S), (WELL, FORGET_S)])
def test_what_was_not_measured_for_a_while_is_forgotten_and_so_tried_again(calls: int, after_s: float) -> None:
    pace = Pace()
    for _ in range(calls):
        pace.called(16, 1.0, 0, 5.0)
    pace.called(1, 0.01, 0, 5.0 + after_s)
    assert (pace.call_s(16), pace.slowest_s) == (1.0, 1.0)
    pace.called(1, 0.01, 0, 5.1 + after_s)
    assert (pace.call_s(16), pace.slowest_s, pace.compute_s(16)) == (0.01, 0.01, math.inf)
    pace.called(16, 0.02, 0, 5.2 + after_s)
    assert pace.call_s(16) == 0.02


@given(measurements)
def test_gaps_are_never_negative_nor_undefined(measured: list[tuple[int, float, int]]) -> None:
    pace = Pace()
    for call in measured:
        pace.called(*call, 0.0)
    assert pace.gap_s >= 0


def test_a_steady_stream_is_measured_rightly_whatever_the_clocks_steps() -> None:
    # 1000 arrivals a second, calls of 0.5 ms, on a clock of 1 ms: every second call seems to take no time at all.
    pace = Pace()
    for turn in range(500):
        pace.called(1, 0.001 * (turn % 2), turn % 2, 0.0)
    assert pace.gap_s == pytest.approx(0.001)


def test_without_arrivals_during_calls_there_is_no_rest() -> None:
    pace = Pace()
    pace.called(1, 0.1, 0, 0.0)
    pace.started(1, 50.0, 1)
    assert pace.rested == pytest.approx(50.1)


@pytest.mark.parametrize(("slots", "rested"), [(1, 50 + 0.1 * (1 + REST)), (2, 50 + 0.1 * (1 + REST) / 2)])
def test_under_load_the_slots_rest_as_long_as_they_worked(slots: int, rested: float) -> None:
    pace = Pace()
    for _ in range(50):
        pace.called(1, 0.1, int(2 * COMPANY), 0.0)
    pace.started(1, 50.0, slots)
    assert pace.rested == pytest.approx(rested)


def test_calls_on_several_slots_rest_together_and_a_long_overload_leaves_one_rest() -> None:
    pace = Pace()
    for _ in range(50):
        pace.called(1, 0.1, int(2 * COMPANY), 0.0)
    for _ in range(100):
        pace.started(1, 50.0, 2)
    assert pace.rested == pytest.approx(50 + 0.1 * (1 + REST))


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(0, 1)), min_size=1), st.integers(1, 8))
def test_a_rest_is_never_longer_than_twice_the_slowest_call(starts: list[tuple[int, float]], slots: int) -> None:
    pace, now = Pace(), 0.0
    for rows, seconds in starts:
        now += seconds
        pace.started(rows, now, slots)
        assert now <= pace.rested <= now + pace.slowest_s * (1 + REST)
        pace.called(rows, seconds, 3, now)


def test_the_models_own_time_is_known_for_measured_sizes_alone() -> None:
    pace = Pace()
    assert pace.compute_s(1) == math.inf
    pace.called(1, 1.0, 0, 0.0, 0.5)
    assert pace.compute_s(1) == 0.5
    assert pace.compute_s(8) == math.inf


def followed(pace: Pace, *lags_s: float, call_s: float = 0.01) -> None:
    """Full calls one after the other, each so long after the end of the one before."""
    now = 100.0
    for lag_s in lags_s:
        pace.called(64, call_s, 0, now)
        pace.free = now
        now += lag_s
        pace.started(64, now, 1)
        now += call_s


def test_what_follows_at_once_costs_the_queue_nothing_beyond_the_call() -> None:
    pace = Pace()
    followed(pace, 0, 0, 0)
    assert pace.lag_s == 0


def test_the_time_until_the_next_full_call_begins_is_the_lag() -> None:
    pace = Pace()
    followed(pace, *[0.004] * 50)
    assert pace.lag_s == pytest.approx(0.004)


def test_the_more_uneven_calls_are_the_more_is_reckoned_with() -> None:
    even, uneven = Pace(), Pace()
    followed(even, *[0.004] * 50)
    followed(uneven, *[0.001, 0.007] * 25)
    assert even.lag_s < uneven.lag_s < 0.01


def test_a_slot_that_nobody_waits_for_says_nothing_of_the_lag() -> None:
    pace = Pace()
    pace.called(64, 0.01, 0, 0.0)
    pace.started(64, 1e6, 1)
    assert pace.lag_s == 0


def test_calls_count_as_full_until_one_was_not_though_more_waited() -> None:
    pace = Pace()
    assert pace.fill == 1
    pace.filled(0.5)
    assert pace.fill == pytest.approx(1 - WEIGHT * 0.5)


def test_a_call_of_more_rows_than_may_be_is_a_full_one() -> None:
    pace = Pace()
    pace.filled(3.0)
    assert pace.fill == 1
