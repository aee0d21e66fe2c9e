"""The buckets and percentiles of `tureen bench`."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.commands.bench.histogram import PERCENTILES, Histogram, bounds, bucket

NS = st.integers(0, 10**14)
LATENCIES = st.lists(st.floats(1e-9, 1000), min_size=1, max_size=200)


def histogram(seconds: list[float]) -> Histogram:
    made = Histogram()
    for each in seconds:
        made.add(each)
    return made


@settings(deadline=None)
@given(NS)
def test_a_bucket_holds_what_falls_into_it_and_is_narrow(ns: int) -> None:
    low, high = bounds(bucket(ns))
    assert low <= ns <= high
    assert high - low <= low / 1024


@settings(deadline=None)
@given(NS)
def test_buckets_follow_each_other_without_gaps(ns: int) -> None:
    number = bucket(ns)
    assert bounds(number)[1] + 1 == bounds(number + 1)[0]


@settings(deadline=None)
@given(LATENCIES, st.floats(0, 100))
def test_a_percentile_is_the_exact_one_or_a_thousandth_more_and_never_less(seconds: list[float], share: float) -> None:
    exact = sorted(seconds)[max(1, math.ceil(share / 100 * len(seconds) - 1e-9)) - 1]
    found = histogram(seconds).percentile(share)
    assert found is not None
    assert exact <= found <= exact * (1 + 1 / 1024) + 1e-9


@settings(deadline=None)
@given(LATENCIES)
def test_percentiles_ascend_and_end_at_the_greatest(seconds: list[float]) -> None:
    found = histogram(seconds).percentiles([*PERCENTILES, 100.0])
    assert found == sorted(found)
    assert found[-1] == max(seconds)


@settings(deadline=None)
@given(LATENCIES)
def test_count_mean_least_and_greatest_are_exact(seconds: list[float]) -> None:
    made = histogram(seconds)
    assert (made.count, made.least, made.greatest) == (len(seconds), min(seconds), max(seconds))
    assert made.mean == pytest.approx(sum(seconds) / len(seconds))


@settings(deadline=None)
@given(LATENCIES, st.integers(1, 30))
def test_bins_hold_every_duration_once_and_adjoin(seconds: list[float], most: int) -> None:
    bins = histogram(seconds).bins(most)
    assert sum(count for _, _, count in bins) == len(seconds)
    assert all(end == bins[n + 1][0] for n, (_, end, _) in enumerate(bins[:-1]))


def test_of_nothing_there_are_no_percentiles() -> None:
    empty = Histogram()
    assert (empty.percentile(50), empty.percentiles(PERCENTILES), empty.bins(10), empty.mean) == (None, [], [], None)
