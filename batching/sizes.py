"""How long calls take by their rows, and how many rows a call is worth: functions of what was measured, and of ``now``.

Kept for each size class (powers of two of rows, as in ``pace``), since no straight line fits a model's calls. What is said of a
class are its median and its ninth decile over the latest calls. No single outlier moves them; half of the calls, or a tenth, are
enough for a machine that has become slower to be noticed. What was not measured for a while is forgotten, and so tried again: a
wrong measurement, or one of a worse hour, heals.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from operator import itemgetter

#: Calls of a class that count, at most, and how long (seconds).
LATEST = 64
FORGET_S = 30.0
#: Calls of a class that say how it is; fewer only hint at it, and are forgotten sooner (seconds).
WELL = 8
HINT_S = 2.0
#: Of the best time a row, so much may be given away for a smaller call.
GIVE = 0.05
#: The share of a class's calls that take no longer than ``long_s``.
LONG = 0.9


@dataclass(frozen=True, slots=True)
class Measured:
    """The latest ``count`` calls of a size class, the last at ``at``: their median, their ninth decile, and the median of the
    time a row (seconds)."""

    at: float
    count: int
    typical_s: float
    long_s: float
    row_s: float

    def holds(self, now: float) -> bool:
        """Whether it is not forgotten yet."""
        return now <= self.at + (FORGET_S if self.count >= WELL else HINT_S)


class Sizes:
    """Calls by size class. All times are of one clock, in seconds."""

    __slots__ = ("_calls", "_classes")

    def __init__(self) -> None:
        self._calls: dict[int, deque[tuple[float, float, float]]] = {}  # by class: when, how long, how long a row
        self._classes: dict[int, Measured] = {}

    def called(self, rows: int, seconds: float, now: float) -> None:
        """A call of so many rows took that long, and ended now."""
        size = (rows - 1).bit_length()
        calls = self._calls.get(size)
        if calls is None:
            calls = self._calls[size] = deque(maxlen=LATEST)
        calls.append((now, seconds, seconds / rows))
        while calls[0][0] < now - FORGET_S:
            calls.popleft()
        times = sorted(map(itemgetter(1), calls))
        count = len(times)
        a_row = sorted(map(itemgetter(2), calls))[count // 2]
        self._classes[size] = Measured(now, count, times[count // 2], times[int(LONG * (count - 1))], a_row)

    def expected(self, rows: int, now: float) -> tuple[float, float]:
        """What a call of so many rows usually takes, and what nine of ten do not exceed; 0 and 0 while nothing is known.

        A class that was not measured is taken for as slow as the next larger one, or as the largest of the smaller ones in
        proportion to its rows. But the very next one is taken for as fast: it is tried, and one call tells.
        """
        size = (rows - 1).bit_length()
        own = self._classes.get(size)
        if own is not None and own.holds(now):
            return own.typical_s, own.long_s
        known = {found: measured for found, measured in self._classes.items() if measured.holds(now)}
        larger = min([found for found in known if found > size], default=None)
        smaller = max([found for found in known if found < size], default=None)
        if larger is not None:
            return known[larger].typical_s, known[larger].long_s
        if smaller is not None:
            times = 1 << (size - smaller - 1)
            return known[smaller].typical_s * times, known[smaller].long_s * times
        return 0.0, 0.0

    def worthwhile(self, max_rows: int, now: float) -> int:
        """The rows past which the time a row does not fall: at most ``max_rows``, and less only where larger calls were measured.

        The smallest class whose time a row is the best one but for ``GIVE``; so no more than that of the throughput is lost.
        """
        well = {size: m.row_s for size, m in self._classes.items() if m.count >= WELL and m.holds(now)}
        if not well:
            return max_rows
        enough = (1 + GIVE) * min(well.values())
        size = min([size for size, row_s in well.items() if row_s <= enough])
        return min(max_rows, 1 << size) if size < max(well) else max_rows
