"""Rates and quotas: the generic cell rate algorithm against a bucket of tokens, and what callers are told."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.guard.budgets.budget import (
    DAY_S,
    Allowance,
    Bound,
    State,
    after,
    ahead,
    allowance,
    allowance_headers,
    allowance_lines,
    conforms,
    refusal,
    tighter,
    wait_s,
)

RATE = Bound("requests_per_s * key:a", "requests_per_s", "requests", 10, 0.5)
QUOTA = Bound("rows_per_day * key:a", "rows_per_day", "rows", 100, 0.0)


class Bucket:
    """A bucket of tokens, in exact numbers."""

    def __init__(self, limit: int, per_s: Fraction) -> None:
        self.limit, self.per_s, self.tokens, self.at = limit, per_s, Fraction(limit), Fraction(0)

    def take(self, units: int, now: Fraction) -> bool:
        self.tokens = min(Fraction(self.limit), self.tokens + (now - self.at) * self.per_s)
        self.at = now
        if units > self.tokens:
            return False
        self.tokens -= units
        return True


#: Steps of 1/64 s and rates that are powers of two: exact as doubles, so that both have to agree to the last token.
steps = st.lists(st.tuples(st.integers(0, 256), st.integers(1, 12)), max_size=60)


@settings(deadline=None)
@given(limit=st.integers(1, 20), power=st.integers(-4, 6), steps=steps)
def test_a_rate_admits_what_a_bucket_of_tokens_admits(limit: int, power: int, steps: list[tuple[int, int]]) -> None:
    bound = Bound("requests_per_s * a", "requests_per_s", "requests", limit, 2.0**-power)
    bucket, tat, now = Bucket(limit, Fraction(2) ** power), 0.0, 100_000.0
    for pause, units in steps:
        now += pause / 64
        value = ahead(bound, tat, now)
        admitted = conforms(bound, value, units)
        assert admitted == bucket.take(units, Fraction(now))
        if admitted:
            tat = now + after(bound, value, units)
        assert allowance(bound, ahead(bound, tat, now), now).remaining == int(bucket.tokens)


@settings(deadline=None)
@given(value=st.floats(0, 5), cost=st.integers(1, 10))
def test_who_waits_as_long_as_he_was_told_conforms_and_not_before(value: float, cost: int) -> None:
    wait = wait_s(RATE, value, cost, 0.0)
    assert wait is not None
    if wait > 0.001:
        assert not conforms(RATE, value, cost)
        assert not conforms(RATE, value - wait + 0.001, cost)
    assert conforms(RATE, max(0.0, value - wait), cost)


def test_a_quota_holds_until_the_next_day_of_utc() -> None:
    assert conforms(QUOTA, 99, 1)
    assert not conforms(QUOTA, 100, 1)
    assert wait_s(QUOTA, 100, 1, 20_000 * DAY_S + 100) == DAY_S - 100
    assert allowance(QUOTA, 40, 20_000 * DAY_S + 100) == Allowance(QUOTA, 60, DAY_S - 100)


@pytest.mark.parametrize("bound", [RATE, QUOTA])
def test_what_is_more_than_there_ever_is_need_not_be_waited_for(bound: Bound) -> None:
    assert wait_s(bound, 0, bound.limit + 1, 0.0) is None
    error = refusal([State(bound, 0)], bound.limit + 1, 0.0)
    assert error.retry_after_s is None
    assert "send fewer at a time" in str(error)


def test_of_several_the_refusal_names_the_one_to_be_waited_for_longest() -> None:
    error = refusal([State(RATE, 5.0), State(QUOTA, 100)], 1, DAY_S - 60)
    assert (error.key, error.retry_after_s) == ("rows_per_day", 60)
    assert str(error) == "your budget of 100 rows a day is spent; the next day of UTC begins in 60 s"


def test_a_refusal_says_the_rate_the_burst_and_how_long() -> None:
    error = refusal([State(RATE, 5.0)], 1, 0.0)
    assert str(error) == "your budget of 2 requests a second, 10 at once, is spent; there is enough again in 0.5 s"


def test_a_limit_that_was_lowered_makes_nobody_wait_longer_than_for_all_of_it() -> None:
    assert ahead(RATE, 1_000.0, 10.0) == RATE.depth_s


def test_the_tighter_is_the_one_with_less_left() -> None:
    one, other = Allowance(RATE, 3, 1), Allowance(QUOTA, 2, 1)
    assert tighter(one, other) == tighter(other, one) == other
    assert tighter(None, one) == tighter(one, None) == one


def test_the_headers_are_whole_numbers_that_promise_no_more_than_there_is() -> None:
    left = Allowance(Bound("a", "requests_per_s", "requests", 100, 0.005), 7, 0.2)
    assert allowance_lines(left) == (
        b"ratelimit-limit: 100\r\nratelimit-policy: 100;w=1\r\nratelimit-remaining: 7\r\nratelimit-reset: 1\r\n"
    )
    assert dict(allowance_headers(left))[b"ratelimit-policy"] == b"100;w=1"
