"""WebP (RFC 9649): RIFF chunks."""

from __future__ import annotations

import struct
from typing import Final

from models.errors import BadImage
from models.vision.bounds import Bounds, Header
from models.vision.formats.exif import orientation

_ANIMATED: Final = 0x02
#: A flag of 0x08 says that EXIF is there: it is looked for whatever the flag says.
_MOST_CHUNKS: Final = 100_000


def read(data: bytes, bounds: Bounds) -> Header:
    """Raises BadImage, ImageTooLarge."""
    end = 8 + int.from_bytes(data[4:8], "little")
    width, height = _size(data)
    bounds.hold(width, height)
    if end > len(data):
        raise BadImage(f"the WebP ends after {len(data):,} bytes: it says that it has {end:,}")
    animated = data[12:16] == b"VP8X" and bool(data[20] & _ANIMATED)
    frames, turned, at, place = 0, 1, 12, (0, 0, width, height)
    for _ in range(_MOST_CHUNKS):
        if at + 8 > end:
            if animated and not frames:
                raise BadImage("the WebP says that it is animated, and has no frame")
            return Header("WEBP", width, height, max(frames, 1), turned, place=None if place == (0, 0, width, height) else place)
        kind, length = struct.unpack_from("<4sI", data, at)
        if at + 8 + length > end:
            raise BadImage("the WebP is damaged: a chunk is longer than the file")
        if kind == b"ANMF":
            frames += 1
            bounds.hold_frames(frames)
            if frames == 1 and animated:
                place = _place(data, at + 8)
        elif kind == b"EXIF":
            turned = orientation(memoryview(data)[at + 8 : at + 8 + length])
        at += 8 + length + (length & 1)
    raise BadImage(f"the WebP has more than {_MOST_CHUNKS:,} chunks")


def _size(data: bytes) -> tuple[int, int]:
    """Of the canvas."""
    match data[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        case b"VP8L" if data[20] == 0x2F:
            (bits,) = struct.unpack_from("<I", data, 21)
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 " if data[23:26] == b"\x9d\x01\x2a":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
    raise BadImage("the WebP does not begin with its header")


def _place(data: bytes, at: int) -> tuple[int, int, int, int]:
    """Of a frame, whose left and top are told by halves, and its sides less 1."""
    left, top, wide, high = (int.from_bytes(data[start : start + 3], "little") for start in range(at, at + 12, 3))
    return left * 2, top * 2, left * 2 + wide + 1, top * 2 + high + 1
