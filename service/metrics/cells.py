"""Numbers that the workers of one server count in shared memory: a region for each line of the board, written by that line's worker
alone, read by whichever worker is asked.

A region is a directory of series, which only ever grows, and cells of eight aligned bytes. A worker adds to its cells without a
lock; a reader adds the regions up. What replaces a worker of the same line finds the series where they were and goes on counting,
so no sum ever falls. A full region takes no further series: what is added to those is lost, and that there are any is counted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from service.processes.memory import SharedMemory

#: Cells of a region, and the bytes of its directory; pages that nobody has touched take no memory.
CELLS: Final = 1 << 16
DIRECTORY: Final = 3 * (1 << 19)
#: The most cells of one series, and the longest key (bytes).
WIDEST: Final = 64
LONGEST: Final = 1024

_HEAD: Final = 64
_NUMBERS: Final = CELLS * 8
REGION: Final = _NUMBERS + _HEAD + DIRECTORY
_ENTRY: Final = struct.Struct("<HH")
# Cell 0 counts the series that found no room; the next ones take what is added to those, and are never read.
_DROPPED: Final = 0
_NOWHERE: Final = 1
_FIRST: Final = _NOWHERE + WIDEST

Key = tuple[str, ...]


class Series(NamedTuple):
    """One series: what it is called, its first cell, and how many it has."""

    key: Key
    start: int
    width: int


class Directory:
    """The series of one region, as far as they have been read: ``series()`` reads on."""

    __slots__ = ("_known", "_used", "cells", "next", "octets")

    def __init__(self, memory: SharedMemory, slot: int) -> None:
        whole = memoryview(memory.map)[slot * REGION : (slot + 1) * REGION]
        self.cells = whole[:_NUMBERS].cast("d")
        self._used = whole[_NUMBERS : _NUMBERS + _HEAD].cast("q")
        self.octets = whole[_NUMBERS + _HEAD :]
        self._known: list[Series] = []
        #: Where the first entry that was not read yet begins, and the first cell that no series has.
        self.next = (0, _FIRST)

    def series(self) -> list[Series]:
        """All series, in the order in which they were added."""
        at, cell = self.next
        published = self._used[0]
        while at < published:
            width, length = _ENTRY.unpack_from(self.octets, at)
            at += _ENTRY.size
            key = bytes(self.octets[at : at + length]).decode()
            self._known.append(Series(tuple(key.split("\0")), cell, width))
            at += length
            cell += width
        self.next = (at, cell)
        return self._known

    def add(self, key: Key, width: int) -> Series | None:
        """One series more, all zero; None where it has no room."""
        self.series()
        at, cell = self.next
        octets = _octets(key)
        end = at + _ENTRY.size + len(octets)
        if end > DIRECTORY or cell + width > CELLS or len(octets) > LONGEST:
            return None
        _ENTRY.pack_into(self.octets, at, width, len(octets))
        self.octets[at + _ENTRY.size : end] = octets
        self._used[0] = end  # last: whoever dies before it has added nothing
        return self.series()[-1]


class Region:
    """One worker's own numbers. ``cells[i] += x`` is how they are added to, on the worker's event loop alone."""

    __slots__ = ("_directory", "_index", "cells")

    def __init__(self, memory: SharedMemory, slot: int) -> None:
        self._directory = Directory(memory, slot)
        self.cells = self._directory.cells
        self._index = {(series.key, series.width): series.start for series in self._directory.series()}

    def cell(self, key: Key, width: int = 1) -> int:
        """The first of a series' cells; it is added where there is none of that key and width. Raises ValueError past WIDEST."""
        if not 0 < width <= WIDEST:
            raise ValueError(f"a series has 1 to {WIDEST} cells, not {width}")
        key = tuple([part.replace("\0", "") for part in key])
        start = self._index.get((key, width))
        if start is None:
            added = self._directory.add(key, width)
            if added is None:
                self.cells[_DROPPED] += 1
                start = _NOWHERE
            else:
                start = added.start
            if added is not None or len(self._index) < CELLS:
                self._index[key, width] = start
        return start

    def series(self) -> list[Series]:
        """What has been added so far, by this worker and those that it replaces."""
        return list(self._directory.series())


class Cells:
    """The regions of all lines."""

    def __init__(self, memory: SharedMemory, slots: int) -> None:
        self.memory = memory
        self.slots = slots
        self._regions: dict[int, Region] = {}
        self._directories = [Directory(memory, slot) for slot in range(slots)]

    @classmethod
    def create(cls, slots: int) -> Cells:
        """New cells for so many lines of a board, all zero."""
        return cls(SharedMemory.create(slots * REGION), slots)

    @classmethod
    def attach(cls, fd: int, slots: int) -> Cells:
        """The cells behind an inherited descriptor."""
        return cls(SharedMemory(fd, slots * REGION), slots)

    @property
    def fd(self) -> int:
        """The descriptor to hand to a worker."""
        return self.memory.fd

    def region(self, slot: int) -> Region:
        """The region that the worker of a line writes; one object however often it is asked for."""
        found = self._regions.get(slot)
        if found is None:
            found = self._regions[slot] = Region(self.memory, slot)
        return found

    def read(self, slot: int) -> Iterator[tuple[Key, list[float]]]:
        """Every series of a line with its cells' values now. One reader at a time."""
        directory = self._directories[slot]
        series = directory.series()
        values = list(directory.cells[: directory.next[1]])
        for key, start, width in series:
            yield key, values[start : start + width]

    def dropped(self) -> int:
        """The series that found no room, over all lines."""
        return int(sum([directory.cells[_DROPPED] for directory in self._directories]))


def _octets(key: Key) -> bytes:
    return "\0".join(key).encode("utf-8", "replace")
