"""A bounded queue in front of a thread: order, bounds, and nothing that waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from service.logs.spool import CHUNK, Spool

PATIENCE_S = 20.0


class Taker:
    """Keeps what it is given; waits in between while ``gate`` is closed."""

    def __init__(self, capacity: int) -> None:
        self.got: list[int] = []
        self.sizes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()
        self.spool: Spool[int] = Spool("test", self.take, capacity)

    def take(self, items: list[int]) -> None:
        self.reached.set()
        self.gate.wait(PATIENCE_S)
        if -1 in items:
            raise ZeroDivisionError
        self.got += items
        self.sizes.append(len(items))


@pytest.fixture
def taker() -> Iterator[Taker]:
    made = Taker(capacity=500)
    yield made
    made.gate.set()
    made.spool.close(PATIENCE_S)


def test_what_is_put_in_is_taken_in_order_and_in_chunks(taker: Taker) -> None:
    for number in range(400):
        assert taker.spool.put(number)
    assert taker.spool.flush(PATIENCE_S)
    assert taker.got == list(range(400))
    assert max(taker.sizes) <= CHUNK


def test_past_its_bound_it_drops_and_counts_and_never_waits(taker: Taker) -> None:
    taker.gate.clear()
    taker.spool.put(0)
    assert taker.reached.wait(PATIENCE_S)
    kept = [taker.spool.put(number) for number in range(1, 801)]
    assert (kept.count(True), taker.spool.dropped) == (500, 300)
    assert not taker.spool.flush(0.01)
    taker.gate.set()
    assert taker.spool.flush(PATIENCE_S)
    assert taker.got == list(range(501))


def test_an_error_of_the_taker_costs_what_it_held_and_no_more(taker: Taker) -> None:
    taker.spool.put(-1)
    assert taker.spool.flush(PATIENCE_S)
    taker.spool.put(2)
    assert taker.spool.flush(PATIENCE_S)
    assert (taker.got, taker.spool.dropped) == ([2], 1)


def test_it_wakes_again_after_it_slept(taker: Taker) -> None:
    for number in range(20):
        taker.spool.put(number)
        assert taker.spool.flush(PATIENCE_S)
        assert taker.got[-1] == number


def test_many_threads_lose_nothing(taker: Taker) -> None:
    def put(first: int) -> None:
        for number in range(first, first + 50):
            taker.spool.put(number)

    threads = [threading.Thread(target=put, args=(100 * index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taker.spool.flush(PATIENCE_S)
    assert sorted(taker.got) == sorted(100 * index + number for index in range(8) for number in range(50))


def test_closed_it_has_taken_all_and_its_thread_has_ended() -> None:
    taker = Taker(capacity=10)
    taker.spool.put(1)
    before = threading.active_count()
    assert taker.spool.close(PATIENCE_S)
    assert (taker.got, threading.active_count()) == ([1], before - 1)
    assert taker.spool.flush(0.0)
