"""What the end of a worker means: pure functions of what has ended, and of now.

A worker that dies is replaced at once; dying again and again is a crash loop, and each try waits longer than the one before.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from service.processes.board import Phase

#: A worker that served for so long was a good one: whatever came before it is forgotten (seconds).
GOOD_S: Final = 10.0
#: So many short lives in a row are replaced at once; then the waits begin with FIRST_S, double, and end at LONGEST_S (seconds).
AT_ONCE: Final = 3
FIRST_S: Final = 0.5
LONGEST_S: Final = 30.0
#: So many ends in a row, before any worker has ever served, end the server.
HOPELESS: Final = 5
#: A serving worker whose event loop has not turned for so long is killed (seconds).
STALL_S: Final = 30.0
#: The exit code of a worker whose configuration, repository or app is refused.
REFUSED: Final = 2


@dataclass(frozen=True, slots=True)
class Exit:
    """A worker's end. ``code``: its exit code, or a negative signal. ``served_s``: None where it never came to serve."""

    at: float
    code: int
    served_s: float | None

    @property
    def good(self) -> bool:
        """Whether it served well for a while."""
        return self.served_s is not None and self.served_s >= GOOD_S


def delay(exits: Sequence[Exit], now: float) -> float:
    """Seconds from now until the next worker of a slot is started; ``exits`` are those of the slot, the last one last."""
    short = 0
    for ended in reversed(exits):
        if ended.good:
            break
        short += 1
    if short <= AT_ONCE:
        return 0.0
    wait = FIRST_S * 2.0 ** min(short - AT_ONCE - 1, 30)
    return max(0.0, exits[-1].at + min(wait, LONGEST_S) - now)


def verdict(exits: Iterable[Exit]) -> int | None:
    """The exit code that a server ends with whose workers ended so, of all slots, before any has served; None: it tries again."""
    codes = [ended.code for ended in exits]
    if REFUSED in codes:
        return 2
    return 1 if len(codes) >= HOPELESS else None


def words(code: int) -> str:
    """How a worker ended."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def stalled(phase: Phase, beat: float, watched_since: float, now: float) -> bool:
    """Whether a worker's event loop stands still. ``watched_since``: since when the supervisor itself has been awake."""
    return phase is Phase.SERVING and now - max(beat, watched_since) > STALL_S
