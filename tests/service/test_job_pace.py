"""How many rows of a job go at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.jobs.pace import BUSY_S, QUIET_S, SEEN_S, Pace


def settled(base_s: float, each_s: float, *, busy: bool, most: int = 4096) -> int:
    """The rows that it comes to where a piece takes so long."""
    pace = Pace()
    for step in range(60):
        if busy:
            pace.others(float(step))
        rows = pace.rows(most)
        pace.took(rows, base_s + rows * each_s, float(step))
    return pace.rows(most)


@pytest.mark.parametrize(("busy", "bound"), [(True, BUSY_S), (False, QUIET_S)])
def test_a_piece_comes_near_its_bound(busy: bool, bound: float) -> None:
    assert settled(0.0001, 0.00001, busy=busy) == pytest.approx((bound - 0.0001) / 0.00001, rel=0.1)


def test_rows_that_cost_nothing_all_go_at_once() -> None:
    assert settled(0.004, 0.0, busy=True, most=64) == 64


def test_where_one_row_takes_longer_than_the_bound_more_of_them_may_add_half_of_that() -> None:
    assert settled(0.020, 0.001, busy=True) == pytest.approx(10, abs=1)
    assert settled(0.0, 0.050, busy=True) == 1


def test_after_a_piece_the_machine_is_the_others_for_as_long_again() -> None:
    pace = Pace()
    assert pace.rest_s(0.002, 1.0) == 0.0
    pace.others(1.0)
    assert pace.rest_s(0.002, 1.0) == 0.002
    assert pace.rest_s(0.002, 1.0 + SEEN_S) == 0.0


def test_pieces_grow_again_when_the_others_have_left() -> None:
    pace = Pace()
    pace.others(0.0)
    for step in range(20):
        pace.took(pace.rows(4096), pace.rows(4096) * 1e-5, step * 0.01)
    few = pace.rows(4096)
    for step in range(20):
        pace.took(pace.rows(4096), pace.rows(4096) * 1e-5, SEEN_S + step)
    assert pace.rows(4096) > 2 * few


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=50), st.integers(1, 256))
def test_there_is_always_a_row_and_never_too_many(took: list[tuple[float, bool]], most: int) -> None:
    pace = Pace()
    for step, (seconds, busy) in enumerate(took):
        if busy:
            pace.others(float(step))
        pace.took(pace.rows(most), seconds, float(step))
        assert 1 <= pace.rows(most) <= most
