"""The search: a sweep of a coarse grid, a contest of the better half with neighbours of the best, a confirmation in pairs.

Speeds of a shared machine change by half within minutes. So settings take turns of a second or so instead of one long measurement
each, and the current ones take part in every round. What did best has to do better than those once more, in pairs of turns that
follow each other and have the same arrivals. Source of the contest (successive halving): K. Jamieson, A. Talwalkar, "Non-stochastic
best arm identification and hyperparameter optimization", AISTATS 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.commands.tune.choice import LEAST, Goal, Verdict, following, ranked, sustained, verdict
from service.commands.tune.measured import Point, Tried, median
from service.commands.tune.plan import Plan
from service.commands.tune.settings import Settings, Space

#: Turns of settings when they are first tried, where no rate is given.
FIRST_TURNS = 2
#: Turns after which the current settings, the first to be tried, need not have met the goal for the others to be tried.
_KNOWN = 6
#: How many a contest narrows down to, the current settings not counted.
_LAST = 3
#: Pairs of a confirmation at most: more tell hardly more. And after how many it is seen whether they are of the right settings.
_PAIRS, _GLANCE = 12, 3


class Measure(Protocol):
    """Takes a turn. KeyboardInterrupt where there are to be no more."""

    def __call__(self, settings: Settings, rate: float | None, seconds: float, seed: int) -> Point:
        """``rate``: requests a second of an open loop; None: a closed one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``tried``: the best first. ``advised``: what to use, and ``met``: whether the goal is met so. ``verdict``: of the best of the
    others beside the current ones; None where it did not come to that, as where none did better."""

    tried: Sequence[Tried]
    current: Tried
    advised: Tried
    verdict: Verdict | None
    met: bool
    seconds: float
    interrupted: bool


class Search:
    """One search, from ``run`` to ``outcome``, which is the best so far when ``run`` was interrupted.

    ``now``: a clock in seconds. ``watch`` is told before each turn how far it is (0 to 1) and what is done.
    """

    def __init__(
        self,
        measure: Measure,
        goal: Goal,
        space: Space,
        current: Settings,
        plan: Plan,
        now: Callable[[], float],
        watch: Callable[[float, str], None] = lambda *_: None,
    ) -> None:
        self._measure, self._goal, self._space, self._plan = measure, goal, space, plan
        self._now, self._watch = now, watch
        self._tried = {current: Tried(current)}
        self._current = self._tried[current]
        self._pairs: list[tuple[Point, Point]] = []
        self._best: Tried | None = None
        self._rate = 0.0
        self._turns = 0
        self._longest_s = plan.turn_s
        self._interrupted = False
        self._began = now()

    def run(self) -> None:
        """Until its time is over, there is nothing left to find out, or it is interrupted."""
        self._began = self._now()
        try:
            self._sweep()
            self._contest()
            self._confirm()
        except KeyboardInterrupt:
            self._interrupted = True

    def outcome(self) -> Outcome:
        """What is known by now."""
        goal = self._goal
        found = verdict(self._pairs, goal, self._rate) if self._pairs else None
        advised = self._best if found is not None and found.better and self._best is not None else self._current
        if goal.rate is None:
            met = sustained(advised, goal) is not None
        else:
            met = bool(advised.paced) and median([point.p99_ms for point in advised.paced]) <= goal.p99_ms
        order = ranked([one for one in self._tried.values() if one.points], goal)
        return Outcome(order, self._current, advised, found, met, self._now() - self._began, self._interrupted)

    def _sweep(self) -> None:
        for settings in self._space.coarse(self._current.settings)[: self._plan.settings]:
            if self._over(self._plan.swept_s) and len(self._tried) > 1:
                return
            tried = self._enter(settings, "sweep")
            while tried is self._current and self._unknown(tried):
                self._turn(tried, "sweep")

    def _unknown(self, tried: Tried) -> bool:
        """Whether it may yet be found out, at lower rates, where settings meet the goal."""
        return self._goal.rate is None and len(tried.points) < _KNOWN and sustained(tried, self._goal) is None

    def _contest(self) -> None:
        field = ranked(list(self._tried.values()), self._goal)
        while True:
            field = [one for one in field if one is not self._current][: max(_LAST, len(field) // 2)]
            for one in [self._current, *field]:
                if self._over(self._plan.contested_s):
                    return
                self._turn(one, "contest")
            leader = ranked([self._current, *field], self._goal)[0]
            untried = [one for one in self._space.neighbours(leader.settings) if one not in self._tried]
            for settings in untried[:_LAST]:
                if self._over(self._plan.contested_s):
                    return
                field.append(self._enter(settings, "refining"))
            field = ranked(field, self._goal)

    def _confirm(self) -> None:
        pair_s = 2 * self._longest_s
        while not self._over(self._plan.seconds, pair_s):
            best = ranked(list(self._tried.values()), self._goal)[0]
            self._best, self._pairs = best, []
            if best is self._current:
                self._lower()
                return
            self._rate = self._telling(best)
            if self._prove(best):
                return

    def _telling(self, best: Tried) -> float:
        """The rate that tells both apart: halfway between those up to which they keep the goal."""
        goal = self._goal
        if goal.rate is not None:
            return goal.rate
        kept = sustained(best, goal)
        if kept is None:
            return min(best.paced, key=lambda point: point.p99_ms).asked or 0.0
        passed = sustained(self._current, goal) or min((point.asked or 0.0 for point in self._current.paced), default=kept)
        return math.sqrt(passed * kept) if passed < kept else kept

    def _prove(self, best: Tried) -> bool:
        """Pairs of turns, as many as are of use; False where the best, chosen by a lucky turn, turn out not to be it."""
        goal, pair_s = self._goal, 2 * self._longest_s
        hopeful = goal.rate is None and sustained(best, goal) is not None
        while len(self._pairs) < _PAIRS and not self._over(self._plan.seconds, pair_s):
            begun = self._now()
            self._pair(best, self._rate)
            pair_s = self._now() - begun
            if hopeful and len(self._pairs) == _GLANCE and median([pair[1].p99_ms for pair in self._pairs]) > goal.p99_ms:
                return False
        return True

    def _lower(self) -> None:
        """Where nothing met the goal yet, and nothing did better than the current settings: whether those meet it at a low rate."""
        least = (self._current.capacity or 0.0) * LEAST
        while sustained(self._current, self._goal) is None and not self._over(self._plan.seconds):
            if self._goal.rate is not None or any((point.asked or 0.0) <= least for point in self._current.paced):
                return
            self._turn(self._current, "slower")

    def _enter(self, settings: Settings, step: str) -> Tried:
        """The first turns of settings: a closed loop for where to begin, where the rate is not given, and an open one."""
        found = self._tried.setdefault(settings, Tried(settings))
        if self._goal.rate is None:
            self._take(found, None, self._next_seed(), step)
        self._turn(found, step)
        return found

    def _turn(self, tried: Tried, step: str) -> None:
        goal = self._goal
        beaten = max((sustained(one, goal) or 0.0 for one in self._tried.values()), default=0.0) or None
        self._take(tried, following(tried, goal, max(tried.capacity or 0.0, 1.0), beaten), self._next_seed(), step)

    def _pair(self, best: Tried, rate: float) -> None:
        """A turn each, at the same rate with the same arrivals; who goes first changes from pair to pair."""
        seed = self._next_seed()
        first_is_current = len(self._pairs) % 2 == 0
        order = (self._current, best) if first_is_current else (best, self._current)
        one, other = (self._take(tried, rate, seed, "confirming") for tried in order)
        self._pairs.append((one, other) if first_is_current else (other, one))

    def _take(self, tried: Tried, rate: float | None, seed: int, step: str) -> Point:
        begun = self._now()
        load = "as fast as answered" if rate is None else f"{rate:,.0f}/s"
        self._watch(min(1.0, (begun - self._began) / self._plan.seconds), f"{step}: {tried.settings}, {load}")
        point = self._measure(tried.settings, rate, self._plan.turn_s, seed)
        tried.points.append(point)
        # An estimate of the next one's length, which forgets outliers.
        self._longest_s = max(0.7 * self._longest_s, self._now() - begun)
        return point

    def _over(self, seconds: float, next_s: float = 0.0) -> bool:
        """Whether what comes next, a turn or something that takes ``next_s``, would not be over so many seconds from the start."""
        return self._now() - self._began + max(next_s, self._longest_s) > seconds

    def _next_seed(self) -> int:
        self._turns += 1
        return self._turns
