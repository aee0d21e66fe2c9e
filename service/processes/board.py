"""What the workers of one server tell each other and their supervisor: a line each, in shared memory.

Each worker writes its own line and reads all; the supervisor writes who has started and who is gone. A number is eight
aligned bytes, written at once, so no reader needs a lock.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from service.processes.memory import SharedMemory

#: Bytes of a line; its numbers come first, then a text.
LINE: Final = 1024
_NUMBERS: Final = 16
_TEXT: Final = _NUMBERS * 8


class Phase(IntEnum):
    """Where a worker is in its life."""

    NONE = 0
    STARTING = 1
    SERVING = 2
    DRAINING = 3
    GONE = 4


class Line:
    """One worker's line. Times are ``time.monotonic()``'s, which all processes of a machine share."""

    __slots__ = ("_memory", "_numbers", "slot")

    def __init__(self, memory: SharedMemory, slot: int) -> None:
        self._memory = memory
        self.slot = slot
        self._numbers = memoryview(memory.map)[slot * LINE : slot * LINE + _TEXT].cast("q")

    @property
    def pid(self) -> int:
        """The worker's process; 0 before the first."""
        return self._numbers[0]

    @pid.setter
    def pid(self, pid: int) -> None:
        self._numbers[0] = pid

    @property
    def phase(self) -> Phase:
        """Where the worker is in its life."""
        return Phase(self._numbers[1])

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._numbers[1] = phase

    @property
    def ready(self) -> bool:
        """Whether all that it should serve is loaded and warm, and its batchers work."""
        return bool(self._numbers[2])

    @ready.setter
    def ready(self, ready: bool) -> None:
        self._numbers[2] = ready

    @property
    def followed(self) -> int:
        """The generation of the control store that the worker has brought about."""
        return self._numbers[3]

    @followed.setter
    def followed(self, generation: int) -> None:
        self._numbers[3] = generation

    @property
    def connections(self) -> int:
        """Open connections."""
        return self._numbers[4]

    @connections.setter
    def connections(self, connections: int) -> None:
        self._numbers[4] = connections

    @property
    def beat(self) -> float:
        """When the worker's event loop was last seen to turn (seconds)."""
        return self._numbers[5] / 1e9

    @beat.setter
    def beat(self, now: float) -> None:
        self._numbers[5] = int(now * 1e9)

    @property
    def starts(self) -> int:
        """How many workers have been started in this slot."""
        return self._numbers[6]

    @starts.setter
    def starts(self, starts: int) -> None:
        self._numbers[6] = starts

    @property
    def text(self) -> str:
        """Why the worker could not follow the control store; empty when it could."""
        start = self.slot * LINE + _TEXT
        (length,) = struct.unpack_from("H", self._memory.map, start)
        return self._memory.map[start + 2 : start + 2 + length].decode("utf-8", "replace")

    @text.setter
    def text(self, text: str) -> None:
        start = self.slot * LINE + _TEXT
        octets = text.encode()[: LINE - _TEXT - 2]
        self._memory.map[start + 2 : start + 2 + len(octets)] = octets
        struct.pack_into("H", self._memory.map, start, len(octets))


class Board:
    """The lines of all slots, in order."""

    def __init__(self, memory: SharedMemory) -> None:
        self.memory = memory
        self.lines = tuple(Line(memory, slot) for slot in range(memory.size // LINE))

    @classmethod
    def create(cls, slots: int) -> Board:
        """A new board for so many workers."""
        return cls(SharedMemory.create(slots * LINE))

    @classmethod
    def attach(cls, fd: int, slots: int) -> Board:
        """The board behind an inherited descriptor."""
        return cls(SharedMemory(fd, slots * LINE))

    def __getitem__(self, slot: int) -> Line:
        return self.lines[slot]

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)
