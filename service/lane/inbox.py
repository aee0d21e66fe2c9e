"""Requests on their way in: no turn of the loop takes in more of them than a few milliseconds' worth.

A turn reads every socket that has something. What has ended meanwhile, the call that could begin next and the answers that could
go out are seen to between turns. When thousands ask at once, of whom most will be refused, a turn that took them all in would be so
long that the model stands still for most of it. So what comes later in it waits here, in order; the wait counts as its own time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from typing import Final, Protocol

#: How long one turn takes requests in (seconds).
TURN_S: Final = 0.004


class Coming(Protocol):
    """A request that came, at ``started`` (``perf_counter``'s, seconds)."""

    @property
    def started(self) -> float:
        """When it came."""

    def begin(self, waited_s: float = 0.0) -> None:
        """Lets it go on, after a wait of so long (seconds)."""


class Inbox:
    """What has come to any connection of one loop. It is bounded by their number: each has one request in work at a time."""

    __slots__ = ("_until", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Coming] = deque()
        self._until: float | None = None

    def take(self, coming: Coming) -> None:
        """Begins it, at once where this turn has time for it."""
        until = self._until
        if until is None:
            self._until = coming.started + TURN_S
            asyncio.get_running_loop().call_soon(self._turn)
            coming.begin()
        elif coming.started < until and not self._waiting:
            coming.begin()
        else:
            self._waiting.append(coming)

    def _turn(self) -> None:
        waiting = self._waiting
        if not waiting:
            self._until = None
            return
        asyncio.get_running_loop().call_soon(self._turn)
        now = perf_counter()
        until = self._until = now + TURN_S
        while waiting and now < until:
            coming = waiting.popleft()
            coming.begin(now - coming.started)
            now = perf_counter()
