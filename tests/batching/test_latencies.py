"""A quantile of the last seconds, against the one of all observations sorted."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.latencies import GROWTH, STEP_S, WINDOW_S, Latencies, Sketch

durations = st.floats(1e-5, 1e3)


def exact(seconds: list[float], share: float) -> float:
    return sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]


@given(st.lists(durations, min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_sketchs_quantile_is_right_within_1_percent(seconds: list[float], share: float) -> None:
    sketch = Sketch()
    for each in seconds:
        sketch.add(each)
    assert sketch.quantile(share) == pytest.approx(exact(seconds, share), rel=(GROWTH - 1) / 2)


@given(st.lists(durations), st.lists(durations, min_size=1))
def test_sketches_put_together_are_as_one(some: list[float], others: list[float]) -> None:
    one, other, whole = Sketch(), Sketch(), Sketch()
    for each in some:
        one.add(each)
        whole.add(each)
    for each in others:
        other.add(each)
        whole.add(each)
    one.merge(other)
    assert (one.count, one.quantile(0.99)) == (whole.count, whole.quantile(0.99))


@given(st.lists(st.tuples(st.floats(0, 3), durations), min_size=1), st.floats(0, 10))
def test_what_ended_in_the_last_seconds_counts_and_nothing_much_older(seen: list[tuple[float, float]], later: float) -> None:
    latencies, now, ended = Latencies(), 0.0, []
    for pause, seconds in seen:
        now += pause
        latencies.add(seconds, now)
        ended.append((now, seconds))
    now += later
    found = latencies.quantile(1.0, now)
    surely = [seconds for at, seconds in ended if at > now - WINDOW_S + STEP_S]
    perhaps = [seconds for at, seconds in ended if at >= now - WINDOW_S]
    if found is None:
        assert not surely
    else:
        assert max(surely, default=0) * 0.98 <= found <= max(perhaps) * 1.02


def test_nothing_seen_has_no_quantile() -> None:
    assert Latencies().quantile(0.99, 0.0) is None
    assert Sketch().quantile(0.5) is None


@given(st.sampled_from([-1.0, 0.0, 1e-12, 1e9, math.inf]))
def test_what_no_clock_should_say_is_counted_at_the_ends(seconds: float) -> None:
    sketch = Sketch()
    sketch.add(seconds)
    found = sketch.quantile(0.5)
    assert found is not None
    assert 0 < found < 2e4
