"""One timer at a time: what a window's end and the earliest deadline wait on."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

#: Event loops refuse times out of all proportion: a later alarm is armed again after this long (seconds).
LONGEST_S = 86_400.0


class Alarm:
    """Calls ``ring(when)`` at the time it is set for, on ``clock``; setting it again replaces that time.

    Some loops' timers have steps of 1 ms and may be early by half of one. ``ring`` is told the time that was meant, so that an
    early ring counts as one in time: to set the alarm anew for the rest would be to poll.
    """

    __slots__ = ("_clock", "_loop", "_ring", "_timer", "when")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], ring: Callable[[float], None]) -> None:
        self.when = math.inf
        self._loop, self._clock, self._ring = loop, clock, ring
        self._timer: asyncio.TimerHandle | None = None

    def set(self, when: float) -> None:
        """Rings then and at no other time; infinite: never."""
        if when == self.when:
            return
        if self._timer is not None:
            self._timer.cancel()
        self.when = when
        self._timer = None if when == math.inf else self._arm()

    def _arm(self) -> asyncio.TimerHandle:
        return self._loop.call_later(min(self.when - self._clock(), LONGEST_S), self._rung)

    def _rung(self) -> None:
        when = self.when
        if when - self._clock() > 1:
            self._timer = self._arm()
            return
        self._timer, self.when = None, math.inf
        self._ring(when)
