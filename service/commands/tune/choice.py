"""Which settings are better, by what was measured. All of it is noisy: each question is asked again, and of several answers the
one that contradicts the fewest turns counts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from service.commands.tune.measured import Point, Tried, median

#: The first rate that is tried, as a share of what a closed loop got answered; the least, likewise.
FIRST, LEAST = 0.7, 0.05
#: How much faster or slower the next turn is, where there is no bound yet on that side.
_STEP = 1.4
_MOST_STEPS = 4
#: Rates so close together (their ratio) are not told apart: the lower one is tried again.
_CLOSE = 1.04
#: A pair's chance to be so good by luck, and its gain, from which on it is believed to be better.
_CHANCE, _GAIN = 0.05, 0.95
#: What takes longer than so many times the goal is as bad as what is never answered.
_HOPELESS = 100.0


@dataclass(frozen=True, slots=True)
class Goal:
    """Of all requests 99 % are to be answered within ``p99_ms``: at the highest rate, or at ``rate`` as soon as can be."""

    p99_ms: float
    rate: float | None = None

    def met(self, point: Point) -> bool:
        """Whether a turn kept it."""
        return point.p99_ms <= self.p99_ms


def sustained(tried: Tried, goal: Goal) -> float | None:
    """The rate up to which the goal is kept, in requests a second: the one that the fewest turns speak against, by keeping the goal
    above it, or missing it there or below; of several the lowest. None where that is none of the rates that kept it."""
    kept = sorted({_asked(point) for point in tried.paced if goal.met(point)})
    against = {rate: _against(tried, goal, rate) for rate in [0.0, *kept]}
    best = min(against, key=lambda rate: (against[rate], rate))
    return best or None


def following(tried: Tried, goal: Goal, capacity: float, beaten: float | None = None) -> float:
    """The rate of the next turn: halfway, by their ratio, between the highest that seems to keep the goal and the lowest above it
    that missed it; where none kept it, lower by more each time. ``capacity``: what a closed loop got answered a second.

    ``beaten``: a rate that other settings are known to keep. Whether these are better shows above it, so they begin there, halfway.
    """
    if goal.rate is not None:
        return goal.rate
    least = capacity * LEAST
    if not tried.paced:
        first = max(least, FIRST * capacity)
        return first if beaten is None or beaten >= first else math.sqrt(beaten * first)
    low = sustained(tried, goal)
    missed = [_asked(point) for point in tried.paced if not goal.met(point) and (low is None or _asked(point) > low)]
    if low is None:
        return max(least, min(missed) / _STEP ** min(len(missed), _MOST_STEPS))
    if not missed:
        return low * _STEP
    high = min(missed)
    return low if high / low <= _CLOSE else math.sqrt(low * high)


def rank(tried: Tried, goal: Goal) -> tuple[float, float]:
    """The greater the better: the rate up to which the goal is kept, then the latency. Where the rate is given, the latency, then
    what was answered."""
    points = tried.paced
    if not points:
        return (-math.inf, -math.inf)
    if goal.rate is not None:
        return (-median([point.p99_ms for point in points]), median([point.answered for point in points]))
    return (sustained(tried, goal) or 0.0, -min(point.p99_ms for point in points))


def ranked(tried: Sequence[Tried], goal: Goal) -> list[Tried]:
    """The best first."""
    return sorted(tried, key=lambda one: rank(one, goal), reverse=True)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The settings that did best beside the current ones, at one rate and in turns; p99 in milliseconds, the medians of all turns.

    ``chance``: how likely such a difference is where there is none.
    """

    rate: float
    pairs: int
    current_p99_ms: float
    best_p99_ms: float
    chance: float
    better: bool


def verdict(pairs: Sequence[tuple[Point, Point]], goal: Goal, rate: float) -> Verdict:
    """Judges turns of the current settings and of the best, pair by pair.

    Better are those whose p99 is lower by 5 % and more than noise explains; and where a higher rate is what is wanted, only if the
    current settings miss the goal at this one.
    """
    current, best = (median([pair[which].p99_ms for pair in pairs]) for which in (0, 1))
    most = _HOPELESS * goal.p99_ms
    logs = [math.log(min(b.p99_ms, most) / min(a.p99_ms, most)) for a, b in pairs]
    chance = by_luck(logs)
    better = chance <= _CHANCE and min(best, most) <= _GAIN * min(current, most)
    if goal.rate is None and current <= goal.p99_ms:
        better = False
    return Verdict(rate, len(pairs), current, best, chance, better)


def by_luck(differences: Sequence[float]) -> float:
    """How likely their sum would be so low if each might as well have had the other sign.

    Source: R. A. Fisher's permutation test of matched pairs, exact; no assumption of how they are distributed.
    """
    found = sum(differences)
    sizes = [abs(each) for each in differences]
    signs = itertools.product((-1, 1), repeat=len(sizes))
    sums = [sum(sign * size for sign, size in zip(chosen, sizes, strict=True)) for chosen in signs]
    return sum(one <= found + 1e-12 for one in sums) / len(sums)


def _against(tried: Tried, goal: Goal, rate: float) -> int:
    return sum(goal.met(point) if _asked(point) > rate else not goal.met(point) for point in tried.paced)


def _asked(point: Point) -> float:
    return point.asked or 0.0
