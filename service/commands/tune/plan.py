"""How the time is spent: told before it is."""

from __future__ import annotations

from dataclasses import dataclass

#: Up to which share of the time there is a sweep, then a contest of the better ones; the rest is for the confirmation.
SWEPT, CONTESTED = 0.4, 0.7
#: Of each settings in the sweep.
TURNS = 2
#: A turn's length (seconds): the shortest that tells anything, the usual one, and the longest.
_SHORTEST_S, _USUAL_S, _LONGEST_S = 0.3, 1.0, 3.0
#: Fewer settings than that are no search.
_FEWEST = 6


@dataclass(frozen=True, slots=True)
class Plan:
    """``settings``: how many are swept; ``turn_s``: how long each turn measures. Of ``seconds`` in all."""

    seconds: float
    settings: int
    turn_s: float

    @property
    def swept_s(self) -> float:
        """When the sweep is to be over, from the start."""
        return SWEPT * self.seconds

    @property
    def contested_s(self) -> float:
        """When the contest is."""
        return CONTESTED * self.seconds


def plan(seconds: float, overhead_s: float, there: int) -> Plan:
    """For a search of so many seconds among ``there`` settings, where each turn takes ``overhead_s`` beside what it measures.

    Turns are as long as usual where enough settings can be swept so; else shorter; and longer where all can.
    """
    sweep_s = SWEPT * seconds

    def fits(turn_s: float) -> int:
        return int(sweep_s / (TURNS * (turn_s + overhead_s)))

    def length(settings: int) -> float:
        return sweep_s / (TURNS * settings) - overhead_s

    settings = min(there, max(fits(_USUAL_S), min(_FEWEST, fits(_SHORTEST_S)), 2))
    return Plan(seconds, settings, min(_LONGEST_S, max(_SHORTEST_S, length(settings))))
