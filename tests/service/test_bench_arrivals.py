"""When `tureen bench` has requests due: pure functions of a clock."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.commands.bench.arrivals import MOST, Closed, Open, schedule

RATES = st.floats(0.5, 2000)
SECONDS = st.floats(0.1, 5)


@settings(deadline=None)
@given(st.sampled_from(["constant", "poisson"]), RATES, SECONDS, st.integers(0, 2**32))
def test_a_schedule_ascends_within_its_time_and_is_the_same_for_the_same_seed(
    arrivals: str, rate: float, seconds: float, seed: int
) -> None:
    kind = "poisson" if arrivals == "poisson" else "constant"
    times = schedule(kind, rate, seconds, seed)  # type: ignore[arg-type]
    assert all(0 <= time < seconds for time in times)
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert list(times) == list(schedule(kind, rate, seconds, seed))  # type: ignore[arg-type]


@settings(deadline=None)
@given(RATES, SECONDS)
def test_constant_arrivals_are_as_many_as_the_rate_says_and_evenly_spread(rate: float, seconds: float) -> None:
    times = schedule("constant", rate, seconds, 0)
    assert abs(len(times) - rate * seconds) <= 1
    assert all(math.isclose(later - earlier, 1 / rate, rel_tol=1e-6) for earlier, later in pairwise(times))


def test_poisson_arrivals_have_the_mean_and_the_spread_of_an_exponential_distribution() -> None:
    times = schedule("poisson", 1000, 20, 7)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    spread = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert mean == pytest.approx(1e-3, rel=0.03)
    assert spread == pytest.approx(mean, rel=0.05)


def test_more_requests_than_can_be_planned_are_refused_with_the_numbers() -> None:
    with pytest.raises(ValueError, match=f"{MOST:,}"):
        schedule("constant", 1e6, 3600, 0)


@settings(deadline=None)
@given(RATES, SECONDS, st.lists(st.floats(0, 6), max_size=30))
def test_an_open_loop_gives_each_request_once_in_order_and_never_before_it_is_due(
    rate: float, seconds: float, asked_at: list[float]
) -> None:
    times = schedule("poisson", rate, seconds, 3)
    pace = Open(times)
    pace.begin(100.0)
    taken: list[float] = []
    for at in sorted(asked_at):
        waiting = pace.waiting(100.0 + at)
        while (due := pace.take(100.0 + at)) is not None:
            assert due <= 100.0 + at
            taken.append(due)
            waiting -= 1
        assert waiting == 0
    assert taken == [100.0 + time for time in times[: len(taken)]]
    assert pace.next == (100.0 + times[len(taken)] if len(taken) < len(times) else None)


def test_an_open_loop_does_not_wait_for_answers() -> None:
    pace = Open([0.0, 0.1, 0.2])
    pace.begin(0.0)
    assert [pace.take(0.25) for _ in range(4)] == [0.0, 0.1, 0.2, None]


@settings(deadline=None)
@given(st.integers(1, 20), st.lists(st.floats(0, 10), max_size=40))
def test_a_closed_loop_never_has_more_in_flight_than_it_has_callers(callers: int, answers: list[float]) -> None:
    pace = Closed(callers)
    pace.begin(0.0)
    now, in_flight = 0.0, 0
    for wait in answers:
        while pace.take(now) is not None:
            in_flight += 1
        assert in_flight == callers
        now += wait
        pace.finished(now)
        in_flight -= 1
    assert pace.waiting(now) + in_flight == callers


def test_who_is_to_ask_later_keeps_nobody_else_waiting() -> None:
    pace = Closed(2)
    pace.begin(0.0)
    assert (pace.take(0.0), pace.take(0.0), pace.next) == (0.0, 0.0, None)
    pace.finished(5.0)
    pace.finished(1.0)
    assert (pace.next, pace.take(1.0), pace.take(1.0), pace.next) == (1.0, 1.0, None, 5.0)
