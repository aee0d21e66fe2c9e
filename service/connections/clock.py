"""A clock that stands still while it is the server that does not read, so that only a client is ever too slow."""

from __future__ import annotations

from typing import Protocol


class Timed(Protocol):
    """An event loop, as far as it has the time."""

    def time(self) -> float:
        """In seconds."""


class ReadingClock:
    """A loop's time (seconds), less what nothing was read in."""

    __slots__ = ("_loop", "_since", "_stood_s")

    def __init__(self, loop: Timed) -> None:
        self._loop = loop
        self._since: float | None = None
        self._stood_s = 0.0

    def time(self) -> float:
        """The time."""
        return (self._loop.time() if self._since is None else self._since) - self._stood_s

    def stop(self) -> None:
        """Nothing is read from now on."""
        if self._since is None:
            self._since = self._loop.time()

    def go(self) -> None:
        """It is again."""
        if self._since is not None:
            self._stood_s += self._loop.time() - self._since
            self._since = None
