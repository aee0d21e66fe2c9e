"""Durations counted in buckets whose width grows with the duration: fixed memory, and percentiles that are right to 0.1 %.

Source: G. Tene's HdrHistogram: each power of two is divided into equally wide buckets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

#: Buckets in a power of two: a bucket is at most 1/1024 as wide as what it holds.
_BITS: Final = 10
_FINE: Final = 1 << (_BITS + 1)

PERCENTILES: Final = (50.0, 90.0, 95.0, 99.0, 99.9)


def bucket(ns: int) -> int:
    """The number of the bucket that holds so many nanoseconds; longer durations are in later buckets."""
    if ns < _FINE:
        return max(ns, 0)
    shift = ns.bit_length() - _BITS - 1
    return (shift << _BITS) + (ns >> shift)


def bounds(number: int) -> tuple[int, int]:
    """The least and the greatest duration in a bucket (nanoseconds)."""
    if number < _FINE:
        return number, number
    shift = (number >> _BITS) - 1
    low = (number - (shift << _BITS)) << shift
    return low, low + (1 << shift) - 1


class Histogram:
    """Durations in seconds, by how many there were of them."""

    __slots__ = ("_counts", "count", "greatest", "least", "total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.least, self.greatest, self.total = math.inf, 0.0, 0.0

    def add(self, seconds: float) -> None:
        """Counts one."""
        ns = int(seconds * 1e9)
        # As in `bucket`: it is called several times a request.
        number = ns if ns < _FINE else ((shift := ns.bit_length() - _BITS - 1) << _BITS) + (ns >> shift)
        self._counts[number] = self._counts.get(number, 0) + 1
        self.count += 1
        self.total += seconds
        if seconds < self.least:
            self.least = seconds
        if seconds > self.greatest:
            self.greatest = seconds

    @property
    def mean(self) -> float | None:
        """Exact; None where there are none."""
        return self.total / self.count if self.count else None

    def percentile(self, share: float) -> float | None:
        """The least duration that ``share`` percent do not exceed, at most 0.1 % too long and never too short."""
        return next(iter(self.percentiles([share])), None)

    def percentiles(self, shares: Sequence[float]) -> list[float]:
        """Those of ascending shares, in one pass; empty where nothing was counted."""
        found: list[float] = []
        if not self.count:
            return found
        wanted = [max(1, math.ceil(share / 100 * self.count - 1e-9)) for share in shares]
        seen = 0
        for number, count in sorted(self._counts.items()):
            seen += count
            while len(found) < len(wanted) and seen >= wanted[len(found)]:
                found.append(min((bounds(number)[1] + 1) / 1e9, self.greatest))
        return found

    def __iter__(self) -> Iterator[tuple[float, int]]:
        """Where each bucket begins, in seconds, and how many it holds."""
        for number, count in sorted(self._counts.items()):
            yield bounds(number)[0] / 1e9, count

    def bins(self, most: int) -> list[tuple[float, float, int]]:
        """From, to (seconds) and how many: at most so many bins, each wider than the last by the same factor, over all there is."""
        if not self.count:
            return []
        low, high = max(self.least, 1e-9), max(self.greatest, self.least * 1.01, 2e-9)
        edges = [low * (high / low) ** (n / most) for n in range(most + 1)]
        counts = [0] * most
        at = 0
        for start, count in self:
            while at < most - 1 and start >= edges[at + 1]:
                at += 1
            counts[at] += count
        return [(edges[n], edges[n + 1], counts[n]) for n in range(most)]
