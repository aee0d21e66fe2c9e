"""What waits: buckets, order, and the counts that bounds rest on."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.entry import Entry
from batching.queue import Queue


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def entry(
    loop: asyncio.AbstractEventLoop,
    rows: int = 1,
    group: str = "g",
    outputs: tuple[str, ...] = (),
    at: float = 0,
    due: float = 9,
    place: float | None = None,
) -> Entry:
    return Entry({"x": np.zeros(rows)}, rows, outputs, group, at, due, at if place is None else place, loop.create_future())


def everyone(_: Entry) -> bool:
    return True


def test_a_bucket_is_a_group_and_its_outputs(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue()
    for group, outputs in (("a", ()), ("b", ()), ("a", ("y",)), ("a", ())):
        queue.put(entry(loop, group=group, outputs=outputs))
    assert {bucket: len(window.entries) for bucket, window in queue.windows.items()} == {
        ("a", ()): 2,
        ("b", ()): 1,
        ("a", ("y",)): 1,
    }


def test_entries_leave_in_the_order_they_came(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue()
    entries = [entry(loop) for _ in range(5)]
    for each in entries:
        queue.put(each)
    assert queue.take(("g", ()), 3, everyone) + queue.take(("g", ()), 3, everyone) == entries
    assert queue.windows == {}


def test_a_large_entry_is_taken_alone_rather_than_never(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue()
    queue.put(entry(loop, rows=9))
    queue.put(entry(loop, rows=1))
    assert [each.rows for each in queue.take(("g", ()), 4, everyone)] == [9]
    assert queue.rows == 1


def test_what_is_left_of_a_window_that_had_its_turn_comes_after_the_others(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue()
    for group in "aab":
        queue.put(entry(loop, group=group))
    queue.take(("a", ()), 1, everyone)
    assert list(queue.windows) == [("b", ()), ("a", ())]


def test_the_oldest_is_that_of_all_windows(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue()
    assert queue.oldest == math.inf
    for at, group in enumerate("aab", start=1):
        queue.put(entry(loop, group=group, at=at))
    queue.take(("a", ()), 1, everyone)
    assert queue.oldest == 2


def test_a_windows_deadline_is_the_earliest_of_what_is_left(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue()
    for due in (5, 3, 7, 6):
        queue.put(entry(loop, due=due))
    window = queue.windows["g", ()]
    assert window.deadline == 3
    queue.take(("g", ()), 2, everyone)
    assert window.deadline == 6
    queue.prune(lambda each: each.deadline > 6)
    assert window.deadline == 7


def test_clear_removes_and_returns_everything(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue()
    entries = [entry(loop, group=group) for group in "ab"]
    for each in entries:
        queue.put(each)
    assert queue.clear() == entries
    assert (queue.rows, queue.windows) == (0, {})


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(1, 9), st.sampled_from("ab"), st.sampled_from([0, 0, 0, -5, 5])),
            st.tuples(st.just("take"), st.integers(1, 12), st.sampled_from("ab"), st.just(0)),
            st.tuples(st.just("prune"), st.integers(1, 9), st.just(""), st.just(0)),
        )
    )
)
def test_rows_are_counted_rightly_no_entry_is_lost_or_taken_twice_and_the_earliest_place_goes_first(
    loop: asyncio.AbstractEventLoop, steps: list[tuple[str, int, str, int]]
) -> None:
    queue, waiting = Queue(), list[Entry]()

    def keep(each: Entry) -> bool:
        return each.rows != unwanted

    unwanted = 0
    for now, (step, number, group, ahead) in enumerate(steps):
        if step == "put":
            new = entry(loop, rows=number, group=group, at=now, due=now + number, place=now + ahead)
            assert queue.ahead(new.place) == sum(each.rows for each in waiting if each.place <= new.place)
            waiting.append(new)
            waiting.sort(key=lambda each: each.place)
            queue.put(new)
        elif step == "prune":
            unwanted = number
            queue.prune(keep)
            waiting = [each for each in waiting if each.rows != number]
            unwanted = 0
        elif (group, ()) in queue.windows:
            taken = queue.take((group, ()), number, keep)
            assert taken == [each for each in waiting if each.group == group][: len(taken)]
            assert sum(each.rows for each in taken) <= number or len(taken) == 1
            waiting = [each for each in waiting if each not in taken]
        assert sorted(map(id, queue)) == sorted(map(id, waiting))
        assert queue.rows == sum(each.rows for each in waiting)
        for window in queue.windows.values():
            assert window.rows == sum(each.rows for each in window.entries) > 0
            assert window.deadline <= min(each.deadline for each in window.entries)
            assert window.oldest <= min(each.enqueued for each in window.entries)
        assert queue.mixed or all(each.place == each.enqueued for each in waiting)
        firsts = [queue.windows[bucket].entries[0].place for bucket in queue.buckets]
        assert firsts == sorted(firsts) or not queue.mixed


def test_a_queue_knows_whether_anybodys_caller_has_left(loop: asyncio.AbstractEventLoop) -> None:
    queue = Queue()
    stays, leaves = entry(loop), entry(loop, group="h")
    queue.put(stays)
    queue.put(leaves)
    assert (queue.entries, queue.deserted) == (2, False)
    leaves.future.cancel()
    assert (queue.entries, queue.deserted) == (2, True)
