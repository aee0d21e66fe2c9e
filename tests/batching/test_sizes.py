"""How long calls take by their size, and how many rows they are worth."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.sizes import FORGET_S, GIVE, HINT_S, LATEST, WELL, Sizes

calls = st.lists(st.tuples(st.integers(1, 500), st.floats(1e-6, 10), st.floats(0, 20)), min_size=1, max_size=60)


def measured(*sized: tuple[int, float], times: int = WELL, now: float = 0.0) -> Sizes:
    sizes = Sizes()
    for rows, seconds in sized:
        for _ in range(times):
            sizes.called(rows, seconds, now)
    return sizes


def affine(fixed_s: float, row_s: float, *rows: int) -> Sizes:
    return measured(*((each, fixed_s + row_s * each) for each in rows))


def test_before_any_call_nothing_is_known_and_nothing_capped() -> None:
    assert Sizes().expected(7, 0.0) == (0.0, 0.0)
    assert Sizes().worthwhile(64, 0.0) == 64


def test_the_time_of_a_call_is_that_of_its_own_size_class() -> None:
    sizes = measured((1, 0.001), (64, 0.5))
    assert [sizes.expected(rows, 0.0)[0] for rows in (1, 33, 64)] == [0.001, 0.5, 0.5]


def test_no_single_outlier_moves_what_is_expected() -> None:
    sizes = measured((8, 0.01))
    sizes.called(8, 10.0, 0.0)
    assert sizes.expected(8, 0.0) == (0.01, 0.01)


def test_a_machine_that_becomes_slower_is_noticed_before_all_earlier_calls_are_forgotten() -> None:
    sizes = measured((8, 0.01), times=LATEST)
    for call in range(LATEST):
        sizes.called(8, 0.03, 0.0)
        if call == LATEST // 8:
            assert sizes.expected(8, 0.0) == (0.01, 0.03)
        if call == LATEST // 2:
            assert sizes.expected(8, 0.0) == (0.03, 0.03)


def test_a_size_never_measured_is_as_slow_as_the_next_larger_one() -> None:
    assert measured((16, 0.5), (64, 1.0)).expected(8, 0.0) == (0.5, 0.5)


def test_the_size_above_all_measured_is_tried_as_if_it_were_as_fast_and_those_beyond_are_in_proportion() -> None:
    sizes = measured((1, 0.001))
    assert [sizes.expected(rows, 0.0)[1] for rows in (2, 4, 8)] == pytest.approx([0.001, 0.002, 0.004])


@given(calls, st.integers(1, 500))
def test_what_is_expected_lies_between_the_least_and_the_most_measured_in_proportion(
    measured: list[tuple[int, float, float]], rows: int
) -> None:
    sizes, now = Sizes(), 0.0
    for size, seconds, later in measured:
        now += later
        sizes.called(size, seconds, now)
    typical_s, long_s = sizes.expected(rows, now)
    times = [seconds for _, seconds, _ in measured]
    assert min(times) <= typical_s <= max(times) * rows
    assert min(times) <= long_s <= max(times) * rows


@given(calls, st.integers(1, 500), st.floats(0, 100))
def test_a_call_is_worth_at_least_one_row_and_never_more_than_may_be(
    measured: list[tuple[int, float, float]], max_rows: int, later: float
) -> None:
    sizes, now = Sizes(), 0.0
    for size, seconds, pause in measured:
        now += pause
        sizes.called(min(size, max_rows), seconds, now)
    assert 1 <= sizes.worthwhile(max_rows, now + later) <= max_rows


@given(st.floats(1e-5, 0.1), st.floats(1e-6, 0.01), st.integers(1, 9))
def test_a_smaller_call_gives_no_more_of_the_throughput_away_than_is_said(fixed_s: float, row_s: float, classes: int) -> None:
    rows = [1 << size for size in range(classes + 1)]
    found = affine(fixed_s, row_s, *rows).worthwhile(rows[-1], 0.0)
    a_row = {each: fixed_s / each + row_s for each in rows}
    assert a_row[found] <= (1 + GIVE) * min(a_row.values()) * (1 + 1e-9)
    assert found == 1 or a_row[found // 2] > (1 + GIVE) * min(a_row.values()) * (1 - 1e-9)


def test_calls_are_capped_where_the_time_a_row_stops_falling_or_rises() -> None:
    assert measured((8, 0.008), (16, 0.008), (32, 0.016), (64, 0.032)).worthwhile(64, 0.0) == 16
    assert measured((8, 0.008), (16, 0.008), (64, 0.064)).worthwhile(64, 0.0) == 16


def test_where_the_largest_calls_pay_nothing_is_capped() -> None:
    assert affine(1.0, 0.001, 1, 8, 64).worthwhile(100, 0.0) == 100


def test_a_few_calls_cap_nothing() -> None:
    sizes = measured((8, 0.001))
    for _ in range(WELL - 1):
        sizes.called(64, 1.0, 0.0)
    assert sizes.worthwhile(64, 0.0) == 64
    sizes.called(64, 1.0, 0.0)
    assert sizes.worthwhile(64, 0.0) == 8


def test_a_wrong_measurement_of_large_calls_is_forgotten_and_they_are_tried_again() -> None:
    sizes = measured((8, 0.001), (64, 1.0))
    for second in range(1, 40):
        for _ in range(WELL):
            sizes.called(8, 0.001, float(second))
        assert sizes.worthwhile(64, float(second)) == (8 if second <= FORGET_S else 64)


def test_a_wrong_measurement_of_small_calls_heals_as_they_are_made() -> None:
    sizes = measured((8, 0.0001), (64, 0.064))
    assert sizes.worthwhile(64, 0.0) == 8
    for _ in range(LATEST):
        sizes.called(8, 0.1, 1.0)
    assert sizes.worthwhile(64, 1.0) == 64


def test_what_only_hints_is_forgotten_sooner() -> None:
    sizes = measured((8, 0.001))
    sizes.called(64, 1.0, 0.0)
    assert sizes.expected(64, HINT_S) == (1.0, 1.0)
    assert sizes.expected(64, math.nextafter(HINT_S, 9)) == pytest.approx((0.004, 0.004))
