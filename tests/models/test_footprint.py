"""What the process holds."""

from __future__ import annotations

import mmap

from models.footprint import resident_bytes

LARGE = 64 * 1024**2


def test_memory_that_is_touched_is_resident() -> None:
    before = resident_bytes()
    with mmap.mmap(-1, LARGE) as memory:
        for page in range(0, LARGE, mmap.PAGESIZE):
            memory[page] = 1
        assert resident_bytes() >= before + LARGE // 2
