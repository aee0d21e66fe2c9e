"""The C library's allocator, told to give back what a worker has done with.

glibc learns from each large block that is freed to keep the next ones, up to 32 MiB each, and gives every thread that computes or
decodes a heap of its own. A worker that has seen large bodies then holds, for good, more than it will need again. Blocks of a
mebibyte or more are mapped, and unmapped when they are freed: some 50 us a mebibyte, where such a body takes milliseconds to read.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

#: glibc's numbers (malloc.h), and what they are set to (bytes, and a number of heaps).
_MMAP_THRESHOLD, _TRIM_THRESHOLD, _ARENA_MAX = -3, -1, -8
SETTINGS: Final = {_MMAP_THRESHOLD: 1 << 20, _TRIM_THRESHOLD: 1 << 20, _ARENA_MAX: 2}


def give_back() -> bool:
    """Sets it, before there are threads; not where whoever started us has set it himself, or another C library is used."""
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and min(mallopt(name, value) for name, value in SETTINGS.items()) == 1
