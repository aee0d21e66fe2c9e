"""What waits, by bucket, in the order it came. State only: when a window closes is decided in ``window``."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from batching.entry import Entry


@dataclass(slots=True)
class Window:
    """The entries waiting in one bucket, oldest first; ``deadline`` is the earliest of theirs, or earlier."""

    entries: deque[Entry] = field(default_factory=deque)
    rows: int = 0
    deadline: float = math.inf

    def replace(self, entries: deque[Entry]) -> None:
        """These wait now, and no others."""
        self.entries = entries
        self.rows = sum([entry.rows for entry in entries])
        self.deadline = min([entry.deadline for entry in entries], default=math.inf)


class Queue:
    """Windows by bucket: what may share a call waits together."""

    __slots__ = ("rows", "windows")

    def __init__(self) -> None:
        self.rows = 0
        self.windows: dict[Hashable, Window] = {}

    def put(self, entry: Entry) -> None:
        """The entry joins the window of its bucket."""
        bucket = (entry.group, entry.outputs)
        window = self.windows.get(bucket)
        if window is None:
            window = self.windows[bucket] = Window()
        window.entries.append(entry)
        window.rows += entry.rows
        self.rows += entry.rows
        if entry.deadline < window.deadline:
            window.deadline = entry.deadline

    @property
    def oldest(self) -> float:
        """When the entry that waits longest came; infinite when none waits."""
        return min([window.entries[0].enqueued for window in self.windows.values()], default=math.inf)

    def take(self, bucket: Hashable, rows: int, keep: Callable[[Entry], bool]) -> list[Entry]:
        """Removes entries of at most ``rows`` rows (but at least one entry) from a window; those that ``keep`` denies are lost."""
        window = self.windows.pop(bucket)
        entries = window.entries
        taken: list[Entry] = []
        room, gone = rows, 0
        while entries:
            entry = entries[0]
            if taken and entry.rows > room:
                break
            entries.popleft()
            gone += entry.rows
            if keep(entry):
                taken.append(entry)
                room -= entry.rows
        window.rows -= gone
        self.rows -= gone
        if entries:  # it had its turn: the other windows come first now
            self.windows[bucket] = window
            if window.rows <= rows:  # a longer one is taken next without a look at its deadline, and is not gone through each time
                window.deadline = min([entry.deadline for entry in entries])
        return taken

    def prune(self, keep: Callable[[Entry], bool]) -> None:
        """Loses every entry that ``keep`` denies."""
        for bucket, window in list(self.windows.items()):
            window.replace(deque([entry for entry in window.entries if keep(entry)]))
            if not window.entries:
                del self.windows[bucket]
        self.rows = sum([window.rows for window in self.windows.values()])

    def clear(self) -> list[Entry]:
        """Removes and returns everything."""
        entries = list(self)
        self.windows.clear()
        self.rows = 0
        return entries

    def __iter__(self) -> Iterator[Entry]:
        for window in self.windows.values():
            yield from window.entries
