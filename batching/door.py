"""The door of a batcher's queue: who is let in, and what the others are told. Most pass without a look: see ``Batcher.submit``."""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import partial
from typing import Final

from batching import settle
from batching.admission import refusal
from batching.entry import Batch
from batching.errors import Closed, PastTarget
from batching.outage import Outage
from batching.pace import Pace
from batching.policy import Policy
from batching.queue import Queue
from batching.statistics import Statistics
from batching.target import Target

#: Going through a full queue for callers who have left costs as much as many refusals: not more often than this (seconds).
PRUNE_S: Final = 0.005


class Door:
    """Looks at the batcher's own ``queue``, ``running`` calls, ``pace``, ``outage`` and ``statistics``.

    ``rules`` and ``target`` are set by whoever changes them, ``closed`` once nobody is let in any more.
    """

    __slots__ = ("_name", "_outage", "_pace", "_pruned", "_queue", "_running", "_statistics", "closed", "rules", "target")

    rules: Policy
    target: Target | None

    def __init__(
        self, name: str, queue: Queue, running: Collection[Batch], pace: Pace, outage: Outage, statistics: Statistics
    ) -> None:
        self._name = name
        self._queue, self._running, self._pace = queue, running, pace
        self._outage, self._statistics = outage, statistics
        self._pruned = -math.inf
        self.closed = False

    def admit(self, rows: int, now: float, left: float, place: float) -> None:
        """Raises what an entry is refused with that comes now, has that many seconds left, and would stand at that place."""
        refused = self._refusal(rows, now, left, place, self._queue.rows)
        if refused is None:
            return
        stale = self._queue.rows > 0 and now >= self._pruned + PRUNE_S
        if stale:
            self._pruned = now
            self._queue.prune(partial(settle.waits, now=now, statistics=self._statistics))  # who has left makes room
        ahead = self._queue.ahead(place)
        if stale or ahead < self._queue.rows:
            refused = self._refusal(rows, now, left, place, ahead)
        if refused is not None:
            self._statistics.refused += 1
            self._statistics.refused_for_target += isinstance(refused, PastTarget)
            raise refused

    def _refusal(self, rows: int, now: float, left: float, place: float, ahead: int) -> Exception | None:
        if self.closed:
            return Closed(f"{self._name} is being closed and takes no more requests")
        if now < self._outage.until:
            return Closed(f"{self._name} failed and starts again", self._outage.until - now)
        refused = refusal(rows, left, self._queue.rows, self._pace, self.rules, ahead)
        if refused is not None or self.target is None or place > now:
            return refused
        return self.target.refusal(rows, ahead, len(self._queue.windows), self._running, now)
