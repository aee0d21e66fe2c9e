"""Memory that a burst took and nobody uses any more, given back to the system.

The allocator of glibc keeps for itself what is freed between other things: after a few large requests a worker would stay as large
as it was at its worst. To give it back takes some milliseconds per 10 MiB, during which the event loop may have to wait for
memory of its own: it is done once the worker has grown, and has little else to do.
"""

from __future__ import annotations

import asyncio
import ctypes
import time
from collections.abc import Callable
from typing import Final

from models.footprint import resident_bytes

#: How often it is looked (seconds), by how much the worker has to have grown (bytes), and what share of a core is little.
LOOK_S: Final = 10.0
GROWN: Final = 8 << 20
LITTLE: Final = 0.2
#: One that has not grown may have freed what it held the last time: when to try again, after how much work (seconds).
WORKED_S: Final = 1.0
AGAIN_S: Final = 60.0

#: ``malloc_trim``: takes how many bytes to leave at the top.
Trim = Callable[[int], int]


class Growth:
    """How small the worker has been since memory was last given back, and what it has done since."""

    __slots__ = ("_gave_at", "_gave_cpu_s", "_least", "_looked_at", "_looked_cpu_s")

    def __init__(self, now: float) -> None:
        self._least: int | None = None
        self._looked_at = self._gave_at = now
        self._looked_cpu_s = self._gave_cpu_s = 0.0

    def due(self, resident: int, cpu_s: float, now: float) -> bool:
        """Whether to give back, now that it is of that size (bytes) and has used so much of its cores since it began (seconds)."""
        busy = (cpu_s - self._looked_cpu_s) / max(now - self._looked_at, 1e-9)
        self._looked_at, self._looked_cpu_s = now, cpu_s
        self._least = resident if self._least is None else min(self._least, resident)
        if busy >= LITTLE:
            return False
        return resident >= self._least + GROWN or (cpu_s >= self._gave_cpu_s + WORKED_S and now >= self._gave_at + AGAIN_S)

    def gave_back(self, resident: int) -> None:
        """It was given back when it was looked last, and that is the size since."""
        self._least, self._gave_at, self._gave_cpu_s = resident, self._looked_at, self._looked_cpu_s


async def keep_giving_back(trim: Trim | None) -> None:
    """Gives back whenever it is due, until cancelled; ends at once where the allocator is another."""
    if trim is None:
        return
    growth = Growth(time.monotonic())
    while True:
        await asyncio.sleep(LOOK_S)
        if growth.due(resident_bytes(), time.process_time(), time.monotonic()):
            await asyncio.to_thread(trim, 0)
            growth.gave_back(resident_bytes())


def malloc_trim() -> Trim | None:
    """glibc's; None where the C library has none."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    trim.argtypes, trim.restype = (ctypes.c_size_t,), ctypes.c_int
    return lambda kept: int(trim(kept))
