"""JPEG (ITU-T T.81): segments up to the first scan."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from models.errors import BadImage, NotAnImage
from models.vision.bounds import Bounds, Header
from models.vision.formats.exif import orientation

_MARKER: Final = re.compile(rb"\xff[^\x00\xff]")  # any number of 0xFF may precede it
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Bits that a block of 8 x 8 takes at least by Huffman's codes: one tells its mean, and one that there is no more, which of a
#: progressive one later scans tell of many at once. What is coded otherwise may take none.
_LEAST: Final = MappingProxyType({0xC0: 2, 0xC1: 2, 0xC2: 1})
_END, _SCAN, _APP1, _LS = 0xD9, 0xDA, 0xE1, 0xF7
_ALONE: Final = frozenset((0x01, *range(0xD0, 0xD9)))  # markers that no length follows
#: What pixels are made of: tables, the frame, restarts, and the two segments that tell the colours (JFIF's and Adobe's).
_NEEDED: Final = _FRAMES | {0xC4, 0xCC, 0xDB, 0xDD, 0xE0, 0xEE}
#: Far above what is made, and little enough to walk.
_MOST_SEGMENTS: Final = 10_000
#: Each scan of a progressive JPEG goes over every pixel, whatever few bytes it has; encoders make about ten, of CMYK 18.
_MOST_SCANS: Final = 100
#: The largest images that may be have no more.
_MOST_OF_THE_LARGEST: Final = 20


@dataclass(frozen=True, slots=True)
class _Frame:
    """``least``: the bits that its pixels take at least."""

    width: int
    height: int
    components: int
    progressive: bool
    least: int


def read(data: bytes, bounds: Bounds) -> Header:
    """Raises BadImage, ImageTooLarge, NotAnImage for one of more than 8 bits, and JPEG-LS."""
    view, at, turned, frame = memoryview(data), 2, 1, None
    kept: list[tuple[int, int]] = [(0, 2)]
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None or (marker := data[found.end() - 1]) == _END:
            raise BadImage(f"the JPEG ends after {len(data)} bytes, before its pixels begin")
        start, at = found.span()
        if marker in _ALONE:
            continue
        if marker == _LS:
            raise NotAnImage("this is a JPEG-LS image: JPEG is taken")
        if marker == _SCAN:
            if frame is None:
                raise BadImage("the JPEG's pixels begin before its size is told")
            if frame.least > 8 * (len(data) - at):
                raise BadImage("the JPEG ends before its last pixel")
            if frame.progressive or data[at + 2] < frame.components:  # of any other the first scan is the last that is read
                _hold_scans(data, start, min(_MOST_SCANS, _MOST_OF_THE_LARGEST * bounds.pixels // (frame.width * frame.height)))
            _join(kept, start, len(data))
            parts = () if len(kept) == 1 else tuple(view[a:b] for a, b in kept)
            return Header("JPEG", frame.width, frame.height, 1, turned, parts)
        (length,) = struct.unpack_from(">H", data, at)
        if length < 2 or at + length > len(data):
            raise BadImage(f"the JPEG ends after {len(data)} bytes, within a segment of its header")
        if marker in _FRAMES:
            if frame is not None:
                raise BadImage("the JPEG tells its size twice")
            frame = _frame(data, at, bounds)
        elif marker == _APP1 and turned == 1 and data.startswith(b"Exif\0\0", at + 2):
            turned = orientation(view[at + 2 : at + length])
        if marker in _NEEDED:
            _join(kept, start, at + length)
        at += length
    raise BadImage(f"the JPEG has more than {_MOST_SEGMENTS:,} segments before its pixels")


def _frame(data: bytes, at: int, bounds: Bounds) -> _Frame:
    bits, height, width, components = struct.unpack_from(">BHHB", data, at + 2)
    bounds.hold(width, height)
    if bits != 8:
        raise NotAnImage(f"this is a JPEG of {bits} bits a sample: one of 8 is taken")
    sampled = [(max(pair >> 4, 1), max(pair & 15, 1)) for pair in data[at + 9 : at + 8 + 3 * components : 3]]
    across, down = max([wide for wide, _ in sampled], default=1), max([high for _, high in sampled], default=1)
    blocks = max([-(-width * wide // (8 * across)) * -(-height * high // (8 * down)) for wide, high in sampled], default=0)
    return _Frame(width, height, components, data[at - 1] & 3 == 2, blocks * _LEAST.get(data[at - 1], 0))


def _hold_scans(data: bytes, at: int, most: int) -> None:
    if data.count(b"\xff\xda", at) <= most:  # they may also be what follows the image: a film, a second view
        return
    scans = 0
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None or (marker := data[found.end() - 1]) == _END:
            return
        at = found.end()
        if marker in _ALONE:
            continue
        scans += marker == _SCAN
        if scans > most:
            break
        at += struct.unpack_from(">H", data, at)[0]
    raise BadImage(f"the JPEG has more than {most} scans")


def _join(kept: list[tuple[int, int]], start: int, end: int) -> None:
    if kept[-1][1] == start:
        kept[-1] = (kept[-1][0], end)
    else:
        kept.append((start, end))
