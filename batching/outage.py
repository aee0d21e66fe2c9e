"""How long a batcher refuses after a defect of its own."""

from __future__ import annotations

import math

#: The first refusal's length, doubled with each further defect in a row, and the most that it is (seconds).
RESTART_S, RESTART_MAX_S = 1.0, 30.0


class Outage:
    """``until`` is when the batcher has started again. Times are of one clock, in seconds."""

    __slots__ = ("_in_a_row", "until")

    def __init__(self) -> None:
        self.until = -math.inf
        self._in_a_row = 0

    def begin(self, now: float) -> None:
        """A defect showed."""
        self.until = now + min(RESTART_S * 2**self._in_a_row, RESTART_MAX_S)
        self._in_a_row += 1

    def end(self) -> None:
        """A call ended as it should: the next defect is the first again."""
        self._in_a_row = 0
