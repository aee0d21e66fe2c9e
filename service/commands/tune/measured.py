"""What a turn measured, and all turns of one way to batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from service.commands.bench.histogram import Histogram
from service.commands.tune.settings import Settings


@dataclass(frozen=True, slots=True)
class Point:
    """A turn. ``asked``: requests a second of an open loop, None in a closed one; ``answered``: those that succeeded, a second.

    Percentiles are in milliseconds, of all requests: one that failed or was never sent is one that is never answered, so that a
    percentile may be infinite. ``busy``: the share of the time for which the client kept a core busy.
    """

    asked: float | None
    answered: float
    p50_ms: float
    p99_ms: float
    requests: int
    lost: int
    busy: float = 0.0

    def json(self) -> dict[str, Any]:
        """For programs; what is infinite is null."""
        return {
            "rate": None if self.asked is None else round(self.asked, 3),
            "answered_per_s": round(self.answered, 3),
            "p50_ms": finite(self.p50_ms),
            "p99_ms": finite(self.p99_ms),
            "requests": self.requests,
            "lost": self.lost,
            "client_busy": round(self.busy, 3),
        }


@dataclass(slots=True)
class Tried:
    """A way to batch, and its turns in their order."""

    settings: Settings
    points: list[Point] = field(default_factory=list)

    @property
    def paced(self) -> list[Point]:
        """The turns of open loops."""
        return [point for point in self.points if point.asked is not None]

    @property
    def capacity(self) -> float | None:
        """What a closed loop got answered a second; None where there was none."""
        return next((point.answered for point in self.points if point.asked is None), None)


def of_all(latency: Histogram, lost: int, share: float) -> float:
    """The percentile (ms) of all requests, where ``lost`` ones have no latency since no answer ever came: infinite among those."""
    wanted = share * (latency.count + lost)  # in percent of a request
    if not latency.count or wanted > 100 * latency.count:
        return math.inf
    found = latency.percentile(wanted / latency.count)
    return math.inf if found is None else 1e3 * found


def median(values: Sequence[float]) -> float:
    """The middle one, of two the greater: with infinite ones among them there is no mean."""
    return sorted(values)[len(values) // 2]


def finite(value: float) -> float | None:
    """Rounded for JSON, which has no infinity."""
    return round(value, 4) if math.isfinite(value) else None
