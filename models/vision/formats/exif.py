"""EXIF's orientation: the one thing in it that changes what is seen."""

from __future__ import annotations

import struct
from typing import Final

_ORIENTATION: Final = 0x0112
_SHORT, _LONG = 3, 4
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
            place = start + at + 2 + entry * 12
            tag, kind, count, value = struct.unpack_from(order + "HHIH", block, place)
            if tag == _ORIENTATION:
                if kind == _LONG:  # which it should not be, and is read as by others
                    (value,) = struct.unpack_from(order + "I", block, place + 8)
                return value if kind in (_SHORT, _LONG) and count == 1 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
