"""How fast calls and arrivals are, measured while serving: what early closing, admission and Retry-After reckon with."""

from __future__ import annotations

import math

#: Weight of a new measurement: about the last ten count.
WEIGHT = 0.2
#: A call counts as no longer than so many times what such calls take: who is refused for one stall makes no call that would tell.
STALL = 4.0
#: For so long it is known what calls of a size class take (seconds), after so many of them; after fewer, for less.
FORGET_S = 10.0
WELL = 8
HINT_S = 2.0
#: Under load a call is followed by a rest as long as itself before a part-filled batch may start: half the slots' time.
REST = 1.0
#: Arrivals during a call from which on that is the whole rest; with fewer, a rest saves few calls, and is shorter in proportion.
COMPANY = 4.0


class Pace:
    """Measured call time for each size class (powers of two of rows), the arrivals during calls, and when the slots have rested."""

    __slots__ = (
        "_arrivals",
        "_call_s",
        "_calling_s",
        "_compute_s",
        "_lag_s",
        "_last",
        "_longer_s",
        "_uneven_s",
        "fill",
        "free",
        "moves",
        "rested",
        "slowest_s",
    )

    def __init__(self) -> None:
        self.rested = -math.inf
        #: Calls that began, and calls that ended.
        self.moves = 0
        #: The time that calls of the slowest size class take.
        self.slowest_s = 0.0
        self._call_s: dict[int, float] = {}
        self._compute_s: dict[int, float] = {}
        self._last: dict[int, tuple[int, float]] = {}  # calls of the class, and when the last one ended
        # Averaged apart, divided after: the average of quotients is ruled by the shortest calls, down to those of 0 s.
        self._arrivals = 0.0
        self._calling_s = 0.0
        #: When a slot became free for which a full call waits; NaN where none does.
        self.free = math.nan
        #: The share of the most rows that calls have which leave somebody waiting: entries are not cut to fill them.
        self.fill = 1.0
        self._longer_s = 0.0  # than calls of its size class take, the last one took
        self._lag_s = math.nan
        self._uneven_s = 0.0

    def started(self, rows: int, now: float, slots: int) -> None:
        """A call starts on one of so many slots. Full batches, which do not rest, leave no more than one rest to be made up for."""
        self.moves += 1
        if not math.isnan(self.free):
            self._followed(now - self.free)
            self.free = math.nan
        whole = self.call_s(rows) * (1 + REST * min(1.0, self._arrivals / COMPANY))
        self.rested = min(max(self.rested, now) + whole / slots, now + whole)

    def called(self, rows: int, seconds: float, arrivals: int, now: float, compute_s: float = math.inf) -> None:
        """A call of ``rows`` rows took that long, ``compute_s`` of it in the model, and ``arrivals`` entries arrived meanwhile."""
        self.moves += 1
        size = (rows - 1).bit_length()
        self._forget(now)
        self._last[size] = (self._last.get(size, (0, now))[0] + 1, now)
        known = self._call_s.get(size)
        self._longer_s = 0.0 if known is None else seconds - known
        self._call_s[size] = known + WEIGHT * (min(seconds, STALL * known) - known) if known else seconds
        known = self._compute_s.get(size, math.inf)
        self._compute_s[size] = compute_s if math.isinf(known) else known + WEIGHT * (compute_s - known)
        self.slowest_s = max(self._call_s.values())
        self._calling_s += WEIGHT * (seconds - self._calling_s)
        self._arrivals += WEIGHT * (arrivals - self._arrivals)

    def filled(self, share: float) -> None:
        """A call that left somebody waiting took that share of the most rows: above 0, at most 1."""
        self.fill += WEIGHT * (min(1.0, share) - self.fill)

    @property
    def lag_s(self) -> float:
        """How much longer than a call itself its slot is taken while more wait: until the next begins, and a margin (seconds).

        The margin is the mean deviation, as TCP's is for the time that an answer takes (V. Jacobson, "Congestion avoidance and
        control", SIGCOMM 1988): a prediction that is right on average is too short for half of those it is made for.
        """
        return 0.0 if math.isnan(self._lag_s) else self._lag_s + self._uneven_s

    def call_s(self, rows: int) -> float:
        """The time a call of so many rows takes: of its own size class, else the nearest one measured; 0 when none is."""
        size = (rows - 1).bit_length()
        found = self._call_s.get(size)
        if found is not None:
            return found
        if not self._call_s:
            return 0.0
        return self._call_s[min(self._call_s, key=lambda other: (abs(other - size), -other))]

    def compute_s(self, rows: int) -> float:
        """The time that the model itself takes for so many rows; infinite where calls of that size class were not measured."""
        return self._compute_s.get((rows - 1).bit_length(), math.inf)

    def _forget(self, now: float) -> None:
        """Forgets the classes that were not measured for a while, so that they are tried again: what was wrong heals."""
        for size, (calls, at) in [*self._last.items()]:
            if now > at + (FORGET_S if calls >= WELL else HINT_S):
                del self._last[size], self._call_s[size], self._compute_s[size]

    def _followed(self, lag_s: float) -> None:
        """The next call began so long after the last had ended."""
        longer_s = 0.0 if math.isnan(self._lag_s) else lag_s - self._lag_s
        self._lag_s = lag_s if math.isnan(self._lag_s) else self._lag_s + WEIGHT * longer_s
        self._uneven_s += WEIGHT * (abs(self._longer_s + longer_s) - self._uneven_s)

    @property
    def gap_s(self) -> float:
        """The time to the next arrival of somebody who is not waiting for the call in flight; infinite when there is none."""
        return self._calling_s / self._arrivals if self._arrivals > 0 else math.inf
