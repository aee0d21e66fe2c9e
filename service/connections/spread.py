"""How connections are spread evenly over workers that share a socket: a pure function of what each has open, and of now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

#: How long a worker leaves a connection to others at most (seconds).
PATIENCE_S: Final = 0.003
#: How long nothing is left to others after one of them let a connection wait for all that time (seconds).
IMPATIENCE_S: Final = 0.1


class Turn(NamedTuple):
    """What a worker remembers between two looks: since when it leaves connections to others, and until when it leaves none."""

    since: float | None = None
    impatient_until: float = 0.0


def leaves(own: int, others: Iterable[int]) -> bool:
    """Whether a worker with ``own`` open connections leaves the next to another; an eighth more is even enough."""
    least = min(others, default=own)
    return own > least + least // 8


def decide(turn: Turn, now: float, own: int, others: Iterable[int]) -> tuple[bool, Turn]:
    """Whether to take the next connection now, and what to remember of that."""
    if now < turn.impatient_until or not leaves(own, others):
        return True, Turn(None, turn.impatient_until)
    if turn.since is None:
        return False, Turn(now, turn.impatient_until)
    return now >= turn.since + PATIENCE_S, turn
