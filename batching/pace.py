"""How fast calls and arrivals are, measured while serving: what early closing, admission and Retry-After reckon with."""

from __future__ import annotations

import math

#: Weight of a new measurement: about the last ten count.
WEIGHT = 0.2
#: Calls this much shorter than the smallest interval worth reckoning with say nothing of arrivals (seconds).
SHORTEST = 1e-6


class Pace:
    """Measured call time for each size class (powers of two of rows), and the arrivals during calls."""

    __slots__ = ("_arrivals_per_s", "_call_s")

    def __init__(self) -> None:
        self._call_s: dict[int, float] = {}
        self._arrivals_per_s = 0.0

    def called(self, rows: int, seconds: float, arrivals: int) -> None:
        """A call of ``rows`` rows took that long, and ``arrivals`` entries arrived meanwhile."""
        size = (rows - 1).bit_length()
        known = self._call_s.get(size)
        self._call_s[size] = seconds if known is None else known + WEIGHT * (seconds - known)
        rate = arrivals / max(seconds, SHORTEST)
        self._arrivals_per_s += WEIGHT * (rate - self._arrivals_per_s)

    def call_s(self, rows: int) -> float:
        """The time a call of so many rows takes: of its own size class, else the nearest one measured; 0 when none is."""
        size = (rows - 1).bit_length()
        found = self._call_s.get(size)
        if found is not None:
            return found
        if not self._call_s:
            return 0.0
        return self._call_s[min(self._call_s, key=lambda other: (abs(other - size), -other))]

    @property
    def gap_s(self) -> float:
        """The time to the next arrival of somebody who is not waiting for the call in flight; infinite when there is none."""
        return 1 / self._arrivals_per_s if self._arrivals_per_s > 0 else math.inf
