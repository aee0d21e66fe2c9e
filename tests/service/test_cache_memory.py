"""Values in memory: bounded, the least asked for go first, each ends in time; and aiocache's own rules for a cache."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cache.memory import OVERHEAD, MemoryCache

ROOM = 64 * 1024


class Clock:
    """Set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(st.sampled_from(["put", "peek"]), st.integers(0, 30), st.integers(0, 6000)), max_size=120))
def test_it_is_never_larger_than_it_may_be_and_drives_out_what_was_not_asked_for_the_longest(
    steps: list[tuple[str, int, int]],
) -> None:
    cache, known = MemoryCache(ROOM, Clock()), OrderedDict[int, bytes]()
    for step, key, size in steps:
        if step == "put":
            assert cache.put(key, bytes(size), 10.0)
            known.pop(key, None)
            known[key] = bytes(size)
            while sum(len(value) + OVERHEAD for value in known.values()) > ROOM:
                known.popitem(last=False)
        else:
            assert cache.peek(key) == known.get(key)
            if key in known:
                known.move_to_end(key)
        assert cache.nbytes == sum(len(value) + OVERHEAD for value in known.values()) <= ROOM
        assert len(cache) == len(known)


def test_a_value_ends_with_its_time() -> None:
    clock = Clock()
    cache = MemoryCache(ROOM, clock)
    cache.put("a", b"1", 5.0)
    clock.now = 4.9
    assert cache.peek("a") == b"1"
    clock.now = 5.0
    assert cache.peek("a") is None
    assert (len(cache), cache.nbytes) == (0, 0)


def test_a_value_that_would_drive_out_most_others_is_not_kept() -> None:
    cache = MemoryCache(ROOM)
    cache.put("a", b"1", 5.0)
    assert not cache.put("b", bytes(ROOM // 4), 5.0)
    assert cache.peek("a") == b"1"


def test_what_is_somebodys_goes_with_him_a_part_at_a_time() -> None:
    cache = MemoryCache(1 << 20)
    for number in range(500):
        cache.put(number, b"", 5.0, owner=number % 2)
    assert list(cache.drop(0, at_once=100)) == [100, 100, 50]
    assert len(cache) == 250
    assert cache.peek(1) == b""
    assert list(cache.drop("nobody")) == []


async def test_it_is_a_cache_of_aiocaches() -> None:
    clock = Clock()
    cache = MemoryCache(ROOM, clock)
    assert await cache.get("a") is None
    assert await cache.set("a", b"1", ttl=5)
    assert await cache.multi_get(["a", "b"]) == [b"1", None]
    with pytest.raises(ValueError, match="is kept already"):
        await cache.add("a", b"2")
    assert await cache.exists("a")
    assert await cache.expire("a", 10)
    clock.now = 9.0
    assert await cache.get("a") == b"1"
    assert await cache.increment("n", 2) == 2
    assert await cache.increment("n", 3) == 5
    assert await cache.multi_set([("c", b"3"), ("d", b"4")])
    assert await cache.delete("c") == 1
    assert await cache.clear()
    assert len(cache) == 0
