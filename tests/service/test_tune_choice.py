"""How `tureen tune` judges what it measured."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.commands.bench.histogram import Histogram
from service.commands.tune.choice import Goal, by_luck, following, ranked, sustained, verdict
from service.commands.tune.measured import Point, Tried, of_all
from service.commands.tune.settings import Settings

SETTINGS = Settings(64, 2.0, "early", 1, 1)
GOAL = Goal(20.0)

rates = st.floats(1, 1e5)
latencies = st.one_of(st.floats(0.1, 1e4), st.just(math.inf))


def point(rate: float | None, p99_ms: float) -> Point:
    return Point(rate, rate or 1000.0, p99_ms / 2, p99_ms, 1000, 0)


def tried(*turns: tuple[float | None, float]) -> Tried:
    return Tried(SETTINGS, [point(rate, p99_ms) for rate, p99_ms in turns])


turns = st.lists(st.tuples(rates, latencies), max_size=12)


@given(turns, st.integers())
def test_the_rate_that_is_kept_does_not_depend_on_the_order_of_turns(of: list[tuple[float, float]], seed: int) -> None:
    shuffled = list(of)
    random.Random(seed).shuffle(shuffled)
    assert sustained(tried(*of), GOAL) == sustained(tried(*shuffled), GOAL)


@given(turns)
def test_the_rate_that_is_kept_was_kept_in_some_turn(of: list[tuple[float, float]]) -> None:
    rate = sustained(tried(*of), GOAL)
    assert rate is None or any(asked == rate and p99_ms <= GOAL.p99_ms for asked, p99_ms in of)


@given(st.lists(rates, min_size=1, unique=True), st.floats(1, 1e5))
def test_without_noise_it_is_the_highest_rate_that_met_the_goal(asked: list[float], knee: float) -> None:
    met = [rate for rate in asked if rate <= knee]
    assert sustained(tried(*((rate, 10.0 if rate <= knee else 30.0) for rate in asked)), GOAL) == max(met, default=None)


def test_one_lucky_turn_does_not_outweigh_several_others() -> None:
    assert sustained(tried((100, 10), (200, 30), (200, 30), (400, 10), (400, 30)), GOAL) == 100


def test_one_unlucky_turn_does_not_either() -> None:
    assert sustained(tried((100, 30), (200, 10), (200, 10), (400, 30)), GOAL) == 200


@given(turns, st.floats(10, 1e5))
def test_the_next_rate_lies_between_what_was_kept_and_what_was_not(of: list[tuple[float, float]], capacity: float) -> None:
    one = tried(*of)
    low = sustained(one, GOAL)
    missed = [asked for asked, p99_ms in of if p99_ms > GOAL.p99_ms and (low is None or asked > low)]
    rate = following(one, GOAL, capacity)
    assert math.isfinite(rate)
    assert rate > 0
    if low is not None:
        assert low <= rate * (1 + 1e-9)
        assert not missed or rate <= min(missed)


@given(st.floats(20, 1e4), st.floats(0.05, 0.95))
def test_it_closes_in_on_the_rate_where_the_goal_is_missed(capacity: float, share: float) -> None:
    knee, one = share * capacity, Tried(SETTINGS)
    for _ in range(12):
        rate = following(one, GOAL, capacity)
        one.points.append(point(rate, 10.0 if rate <= knee else 30.0))
    assert knee / 1.1 <= (sustained(one, GOAL) or 0.0) <= knee


def test_settings_begin_above_what_others_keep() -> None:
    assert 300 < following(Tried(SETTINGS), GOAL, 1000.0, beaten=300.0) < 700
    assert following(Tried(SETTINGS), GOAL, 1000.0, beaten=900.0) == 700


def test_a_given_rate_is_the_next_one_too() -> None:
    assert following(tried((500, 1e9)), Goal(20.0, 500.0), 10.0) == 500


def test_those_that_keep_the_goal_at_a_higher_rate_go_first_whatever_their_latency() -> None:
    fast, slow, none = tried((900, 19)), tried((800, 1)), tried((100, 21))
    assert ranked([none, slow, fast, Tried(SETTINGS)], GOAL)[:3] == [fast, slow, none]


def test_at_a_given_rate_it_is_the_latency_that_counts() -> None:
    low, high, never = tried((100, 3)), tried((100, 19)), tried((100, math.inf))
    assert ranked([never, high, low], Goal(20.0, 100.0)) == [low, high, never]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8))
def test_a_chance_and_the_chance_of_the_opposite_are_one_and_what_is_equal(differences: list[float]) -> None:
    chance = by_luck(differences)
    assert 2 ** -len(differences) <= chance <= 1
    assert chance + by_luck([-each for each in differences]) >= 1


def test_a_chance_is_that_of_the_signs() -> None:
    assert by_luck([-1, -2, -3, -4, -5]) == 1 / 32
    assert by_luck([1, 2, 3]) == 1
    assert by_luck([0, 0, 0]) == 1


def pairs(current: float, best: float, count: int) -> list[tuple[Point, Point]]:
    return [(point(100, current + n / 10), point(100, best + n / 10)) for n in range(count)]


@pytest.mark.parametrize(
    ("current", "best", "count", "rate", "better"),
    [
        (30, 10, 6, None, True),
        (30, 10, 4, None, False),  # four pairs prove nothing
        (15, 5, 6, None, False),  # the current settings keep the goal at that rate too
        (15, 5, 6, 100, True),
        (15, 14.8, 6, 100, False),  # always better, and by too little
        (10, 15, 6, 100, False),
        (math.inf, 10, 6, None, True),
        (math.inf, math.inf, 6, None, False),
        (90, 40, 6, None, True),  # neither meets the goal: nearer is better
    ],
)
def test_better_is_what_is_so_by_more_than_noise(current: float, best: float, count: int, rate: float | None, better: bool) -> None:
    assert verdict(pairs(current, best, count), Goal(20.0, rate), 100.0).better is better


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=200), st.integers(0, 300), st.floats(1, 99.9))
def test_a_percentile_of_all_counts_what_was_lost_as_never_answered(seconds: list[float], lost: int, share: float) -> None:
    latency = Histogram()
    for each in seconds:
        latency.add(each)
    everybody = sorted([1e3 * each for each in seconds] + [math.inf] * lost)
    exact = everybody[max(1, math.ceil(share / 100 * len(everybody) - 1e-9)) - 1]
    found = of_all(latency, lost, share)
    assert found == exact if math.isinf(exact) else exact * 0.999 - 1e-5 <= found <= exact * 1.002 + 1e-5
