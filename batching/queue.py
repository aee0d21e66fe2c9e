"""What waits, by bucket, in the order it came. State only: when a window closes is decided in ``window``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from batching.entry import Entry


@dataclass(slots=True)
class Window:
    """The entries waiting in one bucket, oldest first."""

    entries: deque[Entry] = field(default_factory=deque)
    rows: int = 0


class Queue:
    """Windows by bucket: what may share a call waits together."""

    __slots__ = ("rows", "windows")

    def __init__(self) -> None:
        self.rows = 0
        self.windows: dict[Hashable, Window] = {}

    def put(self, entry: Entry) -> Window:
        """The entry joins the window of its bucket."""
        bucket = (entry.group, entry.outputs)
        window = self.windows.get(bucket)
        if window is None:
            window = self.windows[bucket] = Window()
        window.entries.append(entry)
        window.rows += entry.rows
        self.rows += entry.rows
        return window

    @property
    def oldest(self) -> Entry | None:
        """The head of the window that has waited longest for its turn."""
        return next((window.entries[0] for window in self.windows.values()), None)

    def take(self, bucket: Hashable, rows: int, keep: Callable[[Entry], bool]) -> list[Entry]:
        """Removes entries of at most ``rows`` rows (but at least one entry) from a window; those that ``keep`` denies are lost."""
        window = self.windows[bucket]
        taken: list[Entry] = []
        room = rows
        while window.entries:
            entry = window.entries[0]
            if taken and entry.rows > room:
                break
            window.entries.popleft()
            window.rows -= entry.rows
            self.rows -= entry.rows
            if keep(entry):
                taken.append(entry)
                room -= entry.rows
        del self.windows[bucket]
        if window.entries:  # what is left is younger now than what waits in other windows
            self.windows[bucket] = window
        return taken

    def prune(self, keep: Callable[[Entry], bool]) -> None:
        """Loses every entry that ``keep`` denies."""
        for bucket, window in list(self.windows.items()):
            window.entries = deque(entry for entry in window.entries if keep(entry))
            window.rows = sum(entry.rows for entry in window.entries)
            if not window.entries:
                del self.windows[bucket]
        self.rows = sum(window.rows for window in self.windows.values())

    def clear(self) -> list[Entry]:
        """Removes and returns everything."""
        entries = list(self)
        self.windows.clear()
        self.rows = 0
        return entries

    def __iter__(self) -> Iterator[Entry]:
        for window in self.windows.values():
            yield from window.entries
