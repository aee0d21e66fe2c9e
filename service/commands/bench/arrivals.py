"""When requests are due: by a schedule made beforehand (an open loop), or as soon as the last was answered (a closed loop).

An open loop's client asks at times that do not depend on the server, as many independent callers would. Each latency counts from
the time at which a request was due, sent or not: so what a slow server keeps from being sent is not left out of its latencies.
Source: G. Tene on "coordinated omission"; B. Schroeder et al., "Open versus closed: a cautionary tale", NSDI 2006.
"""

from __future__ import annotations

import heapq
import math
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Arrivals = Literal["constant", "poisson"]

#: More requests than that are not planned at once (8 bytes each).
MOST = 50_000_000


def schedule(arrivals: Arrivals, rate: float, seconds: float, seed: int) -> Sequence[float]:
    """The times of ``rate`` requests a second within ``seconds``, ascending, in seconds from the start.

    Constant: the n-th at n / rate. Poisson: the times between are exponentially distributed; the same seed gives the same times.
    Raises ValueError for more than MOST of them.
    """
    if rate * seconds > MOST:
        raise ValueError(f"{rate:g} requests a second for {seconds:g} s are more than {MOST:,}; give less of one of them")
    made = np.arange(math.ceil(rate * seconds)) / rate if arrivals == "constant" else _poisson(rate, seconds, seed)
    return array("d", made[made < seconds].tobytes())


def _poisson(rate: float, seconds: float, seed: int) -> npt.NDArray[np.float64]:
    random = np.random.default_rng(seed)
    expected = rate * seconds
    some = math.ceil(expected + 4 * math.sqrt(expected) + 16)
    made = np.cumsum(random.exponential(1 / rate, some))
    while made[-1] < seconds:
        made = np.concatenate([made, made[-1] + np.cumsum(random.exponential(1 / rate, some))])
    return made


class Pace(Protocol):
    """Which requests are due; all times are of one clock, in seconds."""

    def begin(self, now: float) -> None:
        """The first request may be due from now on."""

    def take(self, now: float) -> float | None:
        """When the oldest request that is due was to start; it is due no more. None where none is."""

    def waiting(self, now: float) -> int:
        """How many are due."""

    @property
    def next(self) -> float | None:
        """When the oldest that was not taken is due; None where it depends on an answer, or there is none."""

    def finished(self, at: float) -> None:
        """A request that was taken has come to its end; ``at``: from when on its caller may ask again."""


class Closed:
    """So many callers, each of whom asks again as soon as he is answered."""

    def __init__(self, callers: int) -> None:
        self._callers = callers
        self._due: list[float] = []  # a heap

    def begin(self, now: float) -> None:
        """Every caller asks at once."""
        self._due = [now] * self._callers

    def take(self, now: float) -> float | None:
        """The start of a caller who waits for no answer."""
        return heapq.heappop(self._due) if self._due and self._due[0] <= now else None

    def waiting(self, now: float) -> int:
        """Callers who wait for no answer, and would ask."""
        return sum(due <= now for due in self._due)

    @property
    def next(self) -> float | None:
        """When the first of them would."""
        return self._due[0] if self._due else None

    def finished(self, at: float) -> None:
        """One caller more."""
        heapq.heappush(self._due, at)


class Open:
    """Requests at the times of a schedule, whatever becomes of them."""

    def __init__(self, times: Sequence[float]) -> None:
        self._times = times
        self._taken = 0
        self._start = 0.0

    def begin(self, now: float) -> None:
        """The schedule counts from now."""
        self._start, self._taken = now, 0

    def take(self, now: float) -> float | None:
        """The intended start of the first that was not taken."""
        if self._taken == len(self._times):
            return None
        due = self._start + self._times[self._taken]
        if due > now:
            return None
        self._taken += 1
        return due

    def waiting(self, now: float) -> int:
        """How many the schedule is ahead of what was taken."""
        return max(0, bisect_right(self._times, now - self._start) - self._taken)

    @property
    def next(self) -> float | None:
        """The intended start of the first that was not taken."""
        return self._start + self._times[self._taken] if self._taken < len(self._times) else None

    def finished(self, at: float) -> None:
        """Nothing depends on it."""
