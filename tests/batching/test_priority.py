"""Who goes before whom: the rule as properties of (entries, now), and the queue that keeps to it; no clock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching import Policy, Priority
from batching.entry import Entry
from batching.priority import place_of
from batching.queue import Queue

AGEING = 8.0
#: In eighths of a second, which floats hold exactly.
times = st.integers(0, 800).map(lambda eighths: eighths / 8)
priorities = st.sampled_from(Priority)
HIGH, NORMAL, LOW = Priority


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def entry(loop: asyncio.AbstractEventLoop, priority: Priority, at: float, rows: int = 1, group: str = "g") -> Entry:
    place = place_of(priority, at, AGEING)
    return Entry({"x": np.zeros(rows)}, rows, (), group, at, at + 1e9, place, loop.create_future())


def everyone(_: Entry) -> bool:
    return True


def lane(each: Entry) -> Priority:
    return Priority(round((each.place - each.enqueued) / AGEING))


def effective(priority: Priority, enqueued: float, now: float) -> float:
    """The rule in its own words: a lane for each ageing that was waited; the least goes first."""
    return priority - (now - enqueued) / AGEING


@given(priorities, times, priorities, times, times)
def test_the_earlier_place_is_the_higher_effective_priority_at_every_moment(
    one: Priority, came: float, other: Priority, then: float, later: float
) -> None:
    now = max(came, then) + later
    ahead = place_of(one, came, AGEING) - place_of(other, then, AGEING)
    assert np.sign(ahead) == np.sign(effective(one, came, now) - effective(other, then, now))


@given(times)
def test_of_those_who_come_together_high_goes_before_normal_and_that_before_low(now: float) -> None:
    assert place_of(HIGH, now, AGEING) < place_of(NORMAL, now, AGEING) == now < place_of(LOW, now, AGEING)


@given(times, priorities, st.floats(0, 100))
def test_nobody_who_comes_two_ageings_later_goes_before_anybody(came: float, other: Priority, later: float) -> None:
    assert place_of(LOW, came, AGEING) <= place_of(other, came + 2 * AGEING + later, AGEING)


@pytest.mark.parametrize(("timeout_ms", "ageing_s"), [(1000, 0.25), (40, 0.01), (3_600_000, 15.0), (float("inf"), 15.0)])
def test_low_counts_as_high_after_half_the_default_time_and_after_half_a_minute_at_the_latest(
    timeout_ms: float, ageing_s: float
) -> None:
    assert Policy(timeout_ms=timeout_ms).ageing_s == ageing_s


arrivals = st.lists(st.tuples(st.integers(0, 24), priorities, st.integers(1, 3)), max_size=40)


@given(arrivals, st.integers(1, 9))
def test_each_lane_is_first_in_first_out(
    loop: asyncio.AbstractEventLoop, arriving: list[tuple[int, Priority, int]], rows: int
) -> None:
    queue, now, left = Queue(), 0.0, list[Entry]()
    entries = []
    for after, priority, size in arriving:
        now += after / 8
        entries.append(entry(loop, priority, now, size))
        queue.put(entries[-1])
        if after > 12 and queue.rows:
            left += queue.take(("g", ()), rows, everyone)
    while queue.rows:
        left += queue.take(("g", ()), rows, everyone)
    for priority in Priority:
        assert [each for each in left if lane(each) is priority] == [each for each in entries if lane(each) is priority]
    assert not queue.mixed


@given(arrivals, st.integers(1, 9))
def test_whoever_is_taken_goes_before_all_who_are_left(
    loop: asyncio.AbstractEventLoop, arriving: list[tuple[int, Priority, int]], rows: int
) -> None:
    queue, now = Queue(), 0.0
    for after, priority, size in arriving:
        now += after / 8
        queue.put(entry(loop, priority, now, size))
    while queue.rows:
        taken = queue.take(("g", ()), rows, everyone)
        standing = [effective(lane(each), each.enqueued, now) for each in [*taken, *queue]]
        assert standing == sorted(standing)


@given(
    priority=priorities,
    burst=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    bound=st.integers(6, 40),
    max_rows=st.integers(1, 5),
    groups=st.sampled_from(["g", "gh"]),
)
def test_nobody_starves_under_a_stream_of_high_ones_that_keeps_the_queue_full(
    loop: asyncio.AbstractEventLoop, priority: Priority, burst: list[int], bound: int, max_rows: int, groups: str
) -> None:
    """One call a second; whoever comes while the queue is full is refused. The bound is the one that ``priority`` states."""
    queue, number = Queue(), 0

    def fill(now: float) -> None:
        nonlocal number
        while queue.rows + (rows := burst[number % len(burst)]) <= bound:
            queue.put(entry(loop, HIGH, now, rows, groups[number % len(groups)]))
            number += 1

    patient = entry(loop, priority, 0.0)
    queue.put(patient)
    drained = bound  # calls, if each took but one row
    for second in range(int(2 * AGEING) + drained + 1):
        fill(float(second))
        if patient in queue.take(queue.buckets[0], max_rows, everyone):
            return
    raise AssertionError(f"{patient} was never taken")


def test_a_window_with_an_earlier_place_closes_before_another(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue()
    for priority, group in ((LOW, "a"), (NORMAL, "b"), (HIGH, "c")):
        queue.put(entry(loop, priority, 0.0, group=group))
    assert queue.buckets == [("c", ()), ("b", ()), ("a", ())]


def test_windows_of_normal_entries_alone_take_turns(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue()
    for at, group in enumerate("aaab"):
        queue.put(entry(loop, NORMAL, float(at), group=group))
    queue.take(("a", ()), 1, everyone)
    assert queue.buckets == [("b", ()), ("a", ())]
    assert not queue.mixed


def test_a_windows_oldest_is_not_its_first_where_priorities_are_mixed(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue()
    for at, priority in enumerate((LOW, NORMAL, HIGH), start=1):
        queue.put(entry(loop, priority, float(at), rows=at))
    assert (queue.oldest, next(iter(queue)).enqueued) == (1, 3)
    queue.take(("g", ()), 3, everyone)
    assert (queue.oldest, next(iter(queue)).enqueued) == (1, 2)
    queue.prune(lambda each: False)
    assert queue.oldest == float("inf")
    assert not queue.mixed


def test_what_goes_before_a_newcomer_is_of_its_lane_or_above_or_has_aged(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue()
    for at, priority, rows in ((0.0, LOW, 1), (1.0, NORMAL, 10), (9.0, LOW, 100), (10.0, NORMAL, 1000), (11.0, HIGH, 10_000)):
        queue.put(entry(loop, priority, at, rows))
    assert queue.ahead(place_of(HIGH, 12.0, AGEING)) == 10_010
    assert queue.ahead(place_of(NORMAL, 12.0, AGEING)) == 11_011
    assert queue.ahead(place_of(LOW, 12.0, AGEING)) == 11_111
    assert queue.ahead(place_of(HIGH, 16.0, AGEING)) == 10_011
