"""What waits, by bucket, in the order of its places. State only: when a window closes is decided in ``window``."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from itertools import islice
from operator import attrgetter

from batching.entry import Entry

_place = attrgetter("place")


class Window:
    """The entries waiting in one bucket, the first to go first.

    ``oldest`` is when the first of them came, ``deadline`` the earliest of theirs; each that, or earlier.
    """

    __slots__ = ("deadline", "entries", "oldest", "rows")

    def __init__(self, oldest: float) -> None:
        self.entries: deque[Entry] = deque()
        self.rows = 0
        self.oldest = oldest
        self.deadline = math.inf

    def insert(self, entry: Entry) -> None:
        """The entry joins behind those whose places are not later than its own."""
        entries = self.entries
        if entries and entry.place < entries[-1].place:
            entries.insert(bisect_right(entries, entry.place, key=_place), entry)
        else:
            entries.append(entry)

    def ahead(self, place: float) -> int:
        """Rows of those whose places are not later."""
        entries = self.entries
        if entries[-1].place <= place:
            return self.rows
        return sum([entry.rows for entry in islice(entries, bisect_right(entries, place, key=_place))])

    def spare_s(self, call_s: float, now: float) -> float:
        """The time that an entry has to have left for a call of that length not to be in vain. 0 where not even the last has so
        much: then the measured length may be wrong, and only another call can tell."""
        return call_s if self.entries[-1].deadline > now + call_s else 0.0

    def replace(self, entries: deque[Entry]) -> None:
        """These wait now, and no others."""
        self.entries = entries
        self.rows = sum([entry.rows for entry in entries])
        self.deadline = min([entry.deadline for entry in entries], default=math.inf)
        self.oldest = min([entry.enqueued for entry in entries], default=math.inf)


class Queue:
    """Windows by bucket: what may share a call waits together.

    ``mixed``: places may differ from arrivals, since an entry of another than normal priority came, until it is empty. While all
    are normal, which is the usual case, none is compared with another.
    """

    __slots__ = ("mixed", "rows", "windows")

    def __init__(self) -> None:
        self.mixed = False
        self.rows = 0
        self.windows: dict[Hashable, Window] = {}

    def put(self, entry: Entry) -> None:
        """The entry, which comes now, joins the window of its bucket."""
        bucket = (entry.group, entry.outputs)
        window = self.windows.get(bucket)
        if window is None:
            window = self.windows[bucket] = Window(entry.enqueued)
        if self.mixed or entry.place != entry.enqueued:
            self.mixed = True
            window.insert(entry)
        else:
            window.entries.append(entry)
        rows = entry.rows
        window.rows += rows
        self.rows += rows
        if entry.deadline < window.deadline:
            window.deadline = entry.deadline

    @property
    def entries(self) -> int:
        """How many wait, of whatever rows."""
        return sum([len(window.entries) for window in self.windows.values()])

    @property
    def deadline(self) -> float:
        """The earliest of all, or earlier; infinite when none waits."""
        return min([window.deadline for window in self.windows.values()], default=math.inf)

    @property
    def deserted(self) -> bool:
        """Whether anybody's caller has left."""
        return any(True in [entry.future.done() for entry in window.entries] for window in self.windows.values())

    @property
    def oldest(self) -> float:
        """When the entry that waits longest came, or earlier; infinite when none waits."""
        return min([window.oldest for window in self.windows.values()], default=math.inf)

    @property
    def buckets(self) -> list[Hashable]:
        """Whose window may close first: in the order of their first places where these matter, else by turns."""
        windows = self.windows
        if self.mixed and len(windows) > 1:
            return sorted(windows, key=lambda bucket: windows[bucket].entries[0].place)
        return list(windows)

    def ahead(self, place: float) -> int:
        """Rows that go before an entry that comes now and has that place."""
        return sum([window.ahead(place) for window in self.windows.values()])

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
                window.oldest = min([entry.enqueued for entry in entries]) if self.mixed else entries[0].enqueued
        elif not self.rows:
            self.mixed = False
        return taken

    def prune(self, keep: Callable[[Entry], bool]) -> None:
        """Loses every entry that ``keep`` denies."""
        for bucket, window in list(self.windows.items()):
            window.replace(deque([entry for entry in window.entries if keep(entry)]))
            if not window.entries:
                del self.windows[bucket]
        self.rows = sum([window.rows for window in self.windows.values()])
        self.mixed = self.mixed and self.rows > 0

    def clear(self) -> list[Entry]:
        """Removes and returns everything."""
        entries = list(self)
        self.windows.clear()
        self.rows = 0
        self.mixed = False
        return entries

    def __iter__(self) -> Iterator[Entry]:
        for window in self.windows.values():
            yield from window.entries
