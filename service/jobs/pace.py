"""How many rows of a job are computed at once, so that whoever comes meanwhile hardly waits for them.

A piece of r rows is taken to hold others up for a + b r seconds; both follow from the last pieces, by least squares in which each
weighs less than the next. A bound on the whole would be none where a single row takes longer, so it is also half of what one row
takes that more rows may add: where a call costs the same for 1 row as for 64, there is nothing to be had from small ones.
"""

from __future__ import annotations

from typing import Final

#: What a piece may hold others up for where there are others, and where nobody was seen for a while (seconds).
BUSY_S: Final = 0.0015
QUIET_S: Final = 0.008
#: How long somebody is taken to be there after he was seen (seconds).
SEEN_S: Final = 2.0
#: Each so many pieces one is of another size: of equal ones nothing follows.
_PROBE: Final = 8
#: What the last piece but one weighs beside the last.
_FADING: Final = 0.9


class Pace:
    """The rows of a job's next piece. ``now``: of any clock that does not go back, in seconds."""

    def __init__(self) -> None:
        self._rows = 1
        self._last = self._turn = 0
        self._busy_until = 0.0
        self._n = self._x = self._y = self._xx = self._xy = 0.0

    def rows(self, most: int) -> int:
        """At least 1, at most ``most``."""
        rows = min(self._rows, most)
        if self._turn % _PROBE == 0 and self._turn:
            rows = min(2, most) if rows == 1 else rows // 2
        return max(1, rows)

    def others(self, now: float) -> None:
        """Somebody else was seen."""
        self._busy_until = now + SEEN_S

    def rest_s(self, seconds: float, now: float) -> float:
        """How long to leave the machine to the others after a piece that took so long: as long again, where there are any."""
        return seconds if now < self._busy_until else 0.0

    def took(self, rows: int, seconds: float, now: float) -> None:
        """So many rows held the others up for so long."""
        x, y, fade = float(rows), seconds, _FADING
        self._turn += 1
        self._n = self._n * fade + 1
        self._x, self._y = self._x * fade + x, self._y * fade + y
        self._xx, self._xy = self._xx * fade + x * x, self._xy * fade + x * y
        bound = BUSY_S if now < self._busy_until else QUIET_S
        base, each = self._fitted()
        room = max(bound - base, (base + each) / 2)
        fits = int(room / each) if each > 0 else 2 * max(rows, self._last)
        # Never much more than was tried: what is known of small pieces says little of large ones.
        self._rows = max(1, min(fits, 2 * max(rows, self._last)))
        self._last = rows

    def _fitted(self) -> tuple[float, float]:
        """What no row takes, and what each takes; neither is below 0."""
        spread = self._n * self._xx - self._x * self._x
        if spread <= 1e-9 * self._xx:  # all were of one size, and another is to be tried
            return self._y / self._n, 0.0
        each = max(0.0, (self._n * self._xy - self._x * self._y) / spread)
        return max(0.0, (self._y - each * self._x) / self._n), each
