"""Whether a batch is held for a few more turns of the loop: those who were answered just now may be about to come back."""

from __future__ import annotations

#: Turns of the loop that may bring nobody before a batch much smaller than the last one closes.
PATIENCE = 8


class Company:
    """How many entries the last call had, and for how many turns as many are awaited again."""

    __slots__ = ("_patience", "last")

    def __init__(self) -> None:
        #: Entries of the last call.
        self.last = 0
        self._patience = 0

    def awaited(self, brought: int, queued_rows: int) -> bool:
        """Whether another turn may bring more; call once a turn, which brought so many entries.

        While turns of the loop still bring company, what is already in the sockets is awaited. A lone entry after a lone entry is
        not held.
        """
        if brought > 1 or (brought and self.last > 1):
            self._patience = PATIENCE
        elif queued_rows * 2 < self.last:
            self._patience -= 1
        else:
            self._patience = 0
        return self._patience > 0
