"""When connections are ended that are all late at once: one after the other.

Ending one costs up to a millisecond, and so does the one that its client opens instead. Five thousand that were opened in one
second are late in one second too; ended as their timers ring, they would make everybody else wait for seconds.
"""

from __future__ import annotations

#: So many a second, a tenth of a core's time at most, and so many at once.
A_SECOND, AT_ONCE = 100, 1


class Departures:
    """Those of a worker: the generic cell rate algorithm (ITU-T I.371), which gives each the next free time."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due = 0.0

    def wait(self, now: float) -> float:
        """Books the next time; how long it is until then (seconds, 0 for at once)."""
        self._due = max(self._due, now) + 1 / A_SECOND
        return max(0.0, self._due - AT_ONCE / A_SECOND - now)
