"""The door of a batcher's queue: who is let in, and what the others are told. Most pass without a look: see ``Batcher.submit``."""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from batching import settle
from batching.admission import refusal, room
from batching.entry import Batch
from batching.errors import Closed, DeadlineExceeded, PastTarget, QueueFull
from batching.outage import Outage
from batching.pace import Pace
from batching.policy import Policy
from batching.queue import Queue
from batching.statistics import Statistics
from batching.target import Target

#: Going through a full queue for callers who have left costs as much as many refusals: not more often than this, nor than this for
#: each that waits (seconds).
PRUNE_S: Final = 0.005
PRUNE_ENTRY_S: Final = 25e-6
#: Those who come together have been on their way for about as long: what is left of their times differs by no more than this.
ALIKE: Final = 0.9
#: Of the calls in flight so many are looked at to tell when a slot is free.
LOOKED_AT: Final = 16


class Said(NamedTuple):
    """What an entry was refused with, until when that holds, the entry's own rows, and what it found: rows that waited, the seconds
    that it had left, and moves so far."""

    error: Exception
    until: float
    own: int
    rows: int
    left: float
    moves: int


class Welcome(NamedTuple):
    """An entry of one row is let in without a look while fewer than ``rows`` wait, it has at least ``left`` seconds, and neither
    ``moves`` nor ``rules`` has changed. Time that passes changes nothing."""

    rows: int
    left: float
    moves: int
    rules: Policy


class Door:
    """Looks at the batcher's own ``queue``, ``running`` calls, ``pace``, ``outage`` and ``statistics``.

    ``rules`` and ``target`` are set by whoever changes them, ``closed`` once nobody is let in any more.
    """

    __slots__ = (
        "_name",
        "_next_look",
        "_outage",
        "_pace",
        "_queue",
        "_running",
        "_said",
        "_statistics",
        "_welcome",
        "closed",
        "rules",
        "target",
    )

    rules: Policy
    target: Target | None

    def __init__(
        self, name: str, queue: Queue, running: Collection[Batch], pace: Pace, outage: Outage, statistics: Statistics
    ) -> None:
        self._name = name
        self._queue, self._running, self._pace = queue, running, pace
        self._outage, self._statistics = outage, statistics
        self._next_look = -math.inf
        self._said: Said | None = None
        self._welcome: Welcome | None = None
        self.closed = False

    def knock(self, rows: int, now: float, left: float) -> Exception | None:
        """``refusal``, for an entry of normal priority. One that comes shortly after another was refused, has no fewer rows and no
        more time, and finds no shorter queue and no call begun or ended, is told the same without another look."""
        said, queue = self._said, self._queue
        if (
            said is not None
            and now < said.until
            and rows >= said.own
            and queue.rows >= said.rows
            and 0 < left <= said.left
            and self._pace.moves == said.moves
        ):
            self._statistics.refused += 1
            self._statistics.refused_for_target += type(said.error) is PastTarget
            return said.error
        error = self.refusal(rows, now, left, now)
        if isinstance(error, QueueFull | DeadlineExceeded) and not queue.mixed:
            self._said = Said(error, now + PRUNE_S, rows, queue.rows, left, self._pace.moves)
        return error

    def refusal(self, rows: int, now: float, left: float, place: float) -> Exception | None:
        """Why an entry is not let in that comes now, has that many seconds left, and would stand at that place; None: it is."""
        if rows == 1 and self._is_welcome(now, left):
            return None
        refused = self._refusal(rows, now, left, place, self._queue.rows)
        if refused is None:
            if self.target is None:
                least = ALIKE * left
                self._welcome = Welcome(room(least, self._pace, self.rules, self._slot_s(now)), least, self._pace.moves, self.rules)
            return None
        pruned = now >= self._next_look and self._prune(now)
        ahead = self._queue.ahead(place)
        if pruned or ahead < self._queue.rows:
            refused = self._refusal(rows, now, left, place, ahead)
        if refused is not None:
            self._statistics.refused += 1
            self._statistics.refused_for_target += isinstance(refused, PastTarget)
        return refused

    def _is_welcome(self, now: float, left: float) -> bool:
        welcome = self._welcome
        return (
            welcome is not None
            and self._queue.rows < welcome.rows
            and left >= welcome.left
            and self._pace.moves == welcome.moves
            and self.rules is welcome.rules
            and not self.closed
            and now >= self._outage.until
            and self.target is None
        )

    def _prune(self, now: float) -> bool:
        """Whether somebody had left, who makes room."""
        queue = self._queue
        self._next_look = now + max(PRUNE_S, PRUNE_ENTRY_S * queue.entries)
        if queue.deadline > now and not queue.deserted:
            return False
        queue.prune(partial(settle.waits, now=now, statistics=self._statistics))
        return True

    def _refusal(self, rows: int, now: float, left: float, place: float, ahead: int) -> Exception | None:
        if self.closed:
            return Closed(f"{self._name} is being closed and takes no more requests")
        if now < self._outage.until:
            return Closed(f"{self._name} failed and starts again", self._outage.until - now)
        refused = refusal(rows, left, self._queue.rows, self._pace, self.rules, ahead, self._slot_s(now) if ahead else 0.0)
        if refused is not None or self.target is None or place > now:
            return refused
        return self.target.refusal(rows, ahead, len(self._queue.windows), self._running, now)

    def _slot_s(self, now: float) -> float:
        """When a slot will be free. A call that takes longer than it should may end at any time."""
        if len(self._running) < self.rules.instances:
            return 0.0
        ends = [batch.started + self._pace.call_s(batch.rows) for batch in islice(self._running, LOOKED_AT)]
        return max(0.0, min(ends) - now)
