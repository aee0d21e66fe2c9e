"""How the time is spent: told before it is."""

from __future__ import annotations

from dataclasses import dataclass

#: Of the time, what is for the confirmation at least and at most; of the rest, what is for the sweep. The contest has what is left.
_CONFIRMED, _MOST_CONFIRMED, _SWEPT = 0.3, 0.6, 0.55
#: A turn's length (seconds): the shortest that tells anything, the usual one, and the longest.
_SHORTEST_S, _USUAL_S, _LONGEST_S = 0.3, 1.0, 3.0
#: Fewer settings than that are hardly a search, and fewer pairs of turns hardly tell a difference from noise.
_SETTINGS, _PAIRS = 6, 6


@dataclass(frozen=True, slots=True)
class Plan:
    """``settings``: how many are swept; ``turn_s``: how long each turn measures. From the start, the sweep is to be over after
    ``swept_s``, the contest after ``contested_s``, and all after ``seconds``."""

    seconds: float
    settings: int
    turn_s: float
    swept_s: float
    contested_s: float


def plan(seconds: float, overhead_s: float, there: int, first_turns: int = 2, least_s: float = 0.0) -> Plan:
    """For a search of so many seconds among ``there`` settings, where each turn takes ``overhead_s`` beside what it measures, and
    ``least_s`` at least for that.

    Turns are as long as usual where enough settings, and pairs of the best, have theirs so; else shorter; longer where all have.
    """
    shortest_s = min(max(_SHORTEST_S, least_s), _LONGEST_S)
    needed = first_turns * min(_SETTINGS, there) + 2 * _PAIRS
    turn_s = max(shortest_s, min(max(_USUAL_S, shortest_s), 0.85 * seconds / needed - overhead_s))
    confirmed_s = min(_MOST_CONFIRMED * seconds, max(_CONFIRMED * seconds, 2 * _PAIRS * (turn_s + overhead_s)))
    swept_s = _SWEPT * (seconds - confirmed_s)
    settings = min(there, max(2, int(swept_s / (first_turns * (turn_s + overhead_s)))))
    if settings == there:
        roomy_s = min(swept_s / (first_turns * there), confirmed_s / (2 * _PAIRS)) - overhead_s
        turn_s = max(turn_s, min(_LONGEST_S, roomy_s))
    return Plan(seconds, settings, turn_s, swept_s, seconds - confirmed_s)
