"""When a peer is too late, as a function of limits, of what has come, and of when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.connections.clock import ReadingClock
from service.connections.deadlines import End, late, of_body, of_head, step
from service.failures import failure
from service.sections import Limits

LIMITS = Limits(header_timeout_s=2.0, body_timeout_s=3.0, body_bytes_per_s=10)
TIMES = st.floats(0, 1e6)


def test_a_head_has_its_time_from_its_beginning() -> None:
    assert of_head(LIMITS, 5.0) == End(7.0, "header_timeout_s")


@pytest.mark.parametrize(
    ("moved", "received", "end"),
    [
        (5.0, 0, End(8.0, "body_timeout_s")),  # nothing came
        (6.0, 100, End(9.0, "body_timeout_s")),  # much came, and then nothing
        (20.0, 100, End(18.0, "body_bytes_per_s")),  # it comes, and too slowly
        (17.0, 1000, End(20.0, "body_timeout_s")),
    ],
)
def test_a_body_is_late_when_it_stands_still_or_is_too_slow_on_the_whole(moved: float, received: int, end: End) -> None:
    assert of_body(LIMITS, 5.0, moved, received) == end


@given(TIMES, st.integers(0, 2**40))
def test_without_a_least_rate_only_standing_still_is_late(moved: float, received: int) -> None:
    assert of_body(Limits(body_bytes_per_s=0), 0.0, moved, received).limit == "body_timeout_s"


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_what_comes_never_brings_the_end_nearer(received: int, more: int) -> None:
    assert of_body(LIMITS, 5.0, 6.0, received + more).at >= of_body(LIMITS, 5.0, 6.0, received).at


@given(st.lists(st.tuples(st.floats(0.01, 2.9), st.integers(30, 1000)), max_size=30))
def test_who_is_never_still_nor_slow_is_never_late(pieces: list[tuple[float, int]]) -> None:
    now, received = 0.0, 0
    for pause, size in pieces:
        end = of_body(LIMITS, 0.0, now, received)
        now += pause
        assert now < end.at
        received += size


def test_requests_that_have_begun_are_looked_at_as_often_as_the_shorter_limit_asks() -> None:
    assert step(LIMITS) == 2.0


@pytest.mark.parametrize("limit", ["header_timeout_s", "body_timeout_s", "body_bytes_per_s"])
def test_who_is_late_is_told_by_which_limit(limit: str) -> None:
    error = late(LIMITS, End(0.0, limit))
    found = failure(error)
    assert (error.limit, found.status, found.code) == (limit, 408, "request_timeout")


def test_the_clock_stands_still_while_nothing_is_read() -> None:
    class Loop:
        now = 10.0

        def time(self) -> float:
            return self.now

    loop = Loop()
    clock = ReadingClock(loop)
    assert clock.time() == 10.0
    loop.now = 11.0
    clock.stop()
    loop.now = 15.0
    clock.stop()
    assert clock.time() == 11.0
    clock.go()
    clock.go()
    loop.now = 16.0
    assert clock.time() == 12.0
