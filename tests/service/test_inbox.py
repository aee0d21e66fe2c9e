"""Requests on their way in, a few milliseconds of them in each turn of the loop."""

from __future__ import annotations

import asyncio
from time import perf_counter

import pytest

from service.lane import inbox
from service.lane.inbox import Inbox


class Coming:
    """A request that tells when it begins, and after which wait."""

    def __init__(self, name: int, begun: list[tuple[int, float]], takes_s: float = 0.0) -> None:
        self.name, self.started = name, perf_counter()
        self._begun, self._takes_s = begun, takes_s

    def begin(self, waited_s: float = 0.0) -> None:
        end = perf_counter() + self._takes_s
        while perf_counter() < end:
            pass
        self._begun.append((self.name, waited_s))


async def test_what_comes_while_there_is_time_begins_at_once() -> None:
    begun: list[tuple[int, float]] = []
    coming = Inbox()
    for name in range(3):
        coming.take(Coming(name, begun))
    assert begun == [(0, 0.0), (1, 0.0), (2, 0.0)]


async def test_what_comes_later_in_a_long_turn_waits_for_the_next_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "TURN_S", 0.0)
    begun: list[tuple[int, float]] = []
    coming = Inbox()
    for name in range(3):
        coming.take(Coming(name, begun, 0.001))
    assert [name for name, _ in begun] == [0]
    monkeypatch.setattr(inbox, "TURN_S", 10.0)
    await asyncio.sleep(0)
    assert [name for name, _ in begun] == [0, 1, 2]
    assert all(waited > 0 for _, waited in begun[1:])


async def test_others_have_their_turn_between_two_that_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "TURN_S", 0.001)
    begun: list[tuple[int, float]] = []
    seen: list[int] = []
    coming = Inbox()
    for name in range(4):
        coming.take(Coming(name, begun, 0.002))
    while len(begun) < 4:
        seen.append(len(begun))
        await asyncio.sleep(0)
    assert sorted(set(seen)) == [1, 2, 3]
    assert [name for name, _ in begun] == [0, 1, 2, 3]


async def test_after_a_turn_that_brought_nobody_there_is_time_again() -> None:
    begun: list[tuple[int, float]] = []
    coming = Inbox()
    coming.take(Coming(0, begun))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    coming.take(Coming(1, begun))
    assert begun == [(0, 0.0), (1, 0.0)]
