"""GIF (89a): frames are counted by walking over their blocks."""

from __future__ import annotations

import struct
from typing import Final

from models.errors import BadImage
from models.vision.bounds import Bounds, Header

_EXTENSION, _IMAGE, _TRAILER, _CONTROL = 0x21, 0x2C, 0x3B, 0xF9
#: Blocks have up to 255 bytes: so many may have fewer, more must have 64 on average.
_FREE_BLOCKS: Final = 100_000


def read(data: bytes, bounds: Bounds) -> Header:
    """Raises BadImage, ImageTooLarge. The screen is as large as the first frame needs."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    if width and height:
        bounds.hold(width, height)
    at = 13 + _table(flags)
    colours, control, first, place, frames, left = data[10:at], b"", (0, 0), (0, 0, 0, 0), 0, _FREE_BLOCKS + len(data) // 64
    try:
        while left > 0 and at < len(data) and data[at] != _TRAILER:
            start, left = at, left - 1
            match data[at]:
                case 0:  # a terminator too many
                    at += 1
                case _ if data[at] == _EXTENSION:
                    if data[at + 1] == _CONTROL and not frames:
                        control = _control(data, at)
                    at, left = _past(data, at + 2, left)
                case _ if data[at] == _IMAGE:
                    x, y, wide, high, flags = struct.unpack_from("<HHHHB", data, at + 1)
                    at, left = _past(data, at + 11 + _table(flags), left)
                    frames += 1
                    bounds.hold_frames(frames)
                    if frames == 1:
                        if not wide or not high:
                            raise BadImage(f"the GIF's first frame is {wide} x {high} pixels")
                        width, height = max(width, x + wide), max(height, y + high)
                        bounds.hold(width, height)
                        first = (start, at)
                        place = (x, y, x + wide, y + high)
                case _ if frames:
                    break  # what follows the frames is none
                case _:
                    raise BadImage("the GIF is damaged: no frame begins where one should")
    except (IndexError, struct.error) as error:
        raise BadImage(f"the GIF ends after {len(data)} bytes, within {'a later' if frames else 'its first'} frame") from error
    if left <= 0:
        raise BadImage("the GIF lies in more blocks than such an image needs")
    if not frames:
        raise BadImage(f"the GIF ends after {len(data)} bytes, before its first frame")
    screen = data[:6] + struct.pack("<HH", width, height) + colours + control
    parts = (screen, memoryview(data)[first[0] : first[1]], bytes([_TRAILER]))
    return Header("GIF", width, height, frames, 1, parts, place=None if place == (0, 0, width, height) else place)


def _table(flags: int) -> int:
    """Bytes of the colours that follow."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _past(data: bytes, at: int, most: int) -> tuple[int, int]:
    """Where a chain of blocks ends, and how many may still follow."""
    for used in range(most):
        size = data[at]
        at += size + 1
        if not size:
            return at, most - used
    return at, 0


def _control(data: bytes, at: int) -> bytes:
    """Of a graphic control extension the colour that is transparent; what is shown how long and what comes after it is left out."""
    length, flags, _, colour = struct.unpack_from("<BBHB", data, at + 2)
    return bytes((_EXTENSION, _CONTROL, 4, 1, 0, 0, colour, 0)) if length >= 4 and flags & 1 else b""
