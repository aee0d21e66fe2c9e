"""EXIF's orientation: the one thing in it that changes what is seen."""

from __future__ import annotations

import struct
from typing import Final

_ORIENTATION: Final = 0x0112
_SHORT: Final = 3
#: Entries that are looked through; the tags are in order, and this one is among the first.
_MOST_ENTRIES: Final = 200


def orientation(block: bytes | memoryview) -> int:
    """1 to 8, of a TIFF structure with or without ``Exif\\0\\0`` before it; 1, upright, where it says nothing or nonsense."""
    start = 6 if bytes(block[:6]) == b"Exif\0\0" else 0
    order = {b"II": "<", b"MM": ">"}.get(bytes(block[start : start + 2]))
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", block, start + 4)
        (entries,) = struct.unpack_from(order + "H", block, start + at)
        for entry in range(min(entries, _MOST_ENTRIES)):
            tag, kind, count, value = struct.unpack_from(order + "HHIH", block, start + at + 2 + entry * 12)
            if tag == _ORIENTATION:
                return value if kind == _SHORT and count == 1 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
