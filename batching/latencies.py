"""A streaming quantile of the latencies of the last seconds, in bounded memory: a function of what was observed, and of ``now``.

Source: C. Masson, J. E. Rim, H. K. Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees",
VLDB 2019: counts in buckets whose bounds grow by a constant factor, so that every quantile is right but for a share of itself.
"""

from __future__ import annotations

import math
from collections import Counter, deque

#: Each bucket's bound is so much larger than the one before: a quantile is told within 1 % of itself.
GROWTH = 1.02
_SCALE = 1 / math.log(GROWTH)
#: Durations are counted from 1 us to some 3 hours: at most so many buckets.
_LEAST_S, _MOST_S = 1e-6, 1e4
#: How long a latency counts, and the steps in which it is forgotten (seconds).
WINDOW_S = 5.0
STEP_S = 0.5


class Sketch:
    """Durations, counted by buckets."""

    __slots__ = ("_buckets", "count")

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0

    def add(self, seconds: float) -> None:
        """One more."""
        self._buckets[math.ceil(_SCALE * math.log(min(max(seconds, _LEAST_S), _MOST_S)))] += 1
        self.count += 1

    def merge(self, other: Sketch) -> None:
        """As if all of the other's had been added."""
        self._buckets.update(other._buckets)
        self.count += other.count

    def quantile(self, share: float) -> float | None:
        """The least duration that so large a share of them does not exceed (seconds); None where there are none."""
        beyond = self.count - math.ceil(share * self.count)
        for bucket in sorted(self._buckets, reverse=True):  # the long ones are few
            beyond -= self._buckets[bucket]
            if beyond < 0:
                return 2 * math.exp(bucket / _SCALE) / (1 + GROWTH)
        return None


class Latencies:
    """Those of the last ``WINDOW_S``, in slices of ``STEP_S``."""

    __slots__ = ("_slices",)

    def __init__(self) -> None:
        self._slices: deque[tuple[float, Sketch]] = deque()  # since when

    def add(self, seconds: float, now: float) -> None:
        """Something took that long, and ended now."""
        if not self._slices or now >= self._slices[-1][0] + STEP_S:
            self._slices.append((now, Sketch()))
            while self._slices[0][0] < now - WINDOW_S:
                self._slices.popleft()
        self._slices[-1][1].add(seconds)

    def quantile(self, share: float, now: float) -> float | None:
        """Over what ended in the last seconds; None where nothing did."""
        whole = Sketch()
        for since, part in self._slices:
            if since >= now - WINDOW_S:
                whole.merge(part)
        return whole.quantile(share)
