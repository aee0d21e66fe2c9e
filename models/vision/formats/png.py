"""PNG and APNG: chunks. Those that pixels are not made of are left out, so no text or profile in them is ever unpacked."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from models.errors import BadImage, NotAnImage
from models.vision.bounds import Bounds, Header
from models.vision.formats.exif import orientation

_NEEDED: Final = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND"))
_GREY, _RGB, _PALETTE = 0, 2, 3
#: So many chunks may be of any length; more must be of 64 bytes each on average.
_FREE_CHUNKS: Final = 100_000


def read(data: bytes, bounds: Bounds) -> Header:
    """Raises BadImage, also where a checksum is not that of its bytes, ImageTooLarge, and NotAnImage."""
    view, at, turned, claimed, frames = memoryview(data), 8, 1, 1, 0
    kept: list[bytes | tuple[int, int]] = [(0, 8)]
    width, height, depth, colour = _size(data, bounds)
    clear: tuple[int, ...] = ()
    for _ in range(_FREE_CHUNKS + len(data) // 64):
        if at + 12 > len(data):
            raise BadImage(f"the PNG ends after {len(data)} bytes, before its last chunk")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise BadImage(f"the PNG ends after {len(data)} bytes, within a chunk of {length:,}")
        if kind in _NEEDED:
            _check(view, at, end)
            _join(kept, at, end)
        elif kind == b"tRNS":
            _check(view, at, end)
            if (depth, colour) == (16, _RGB):
                clear = _colour(data[at + 8 : end - 4])
            else:
                kept += _transparency(data[at + 8 : end - 4], depth, colour)
        elif kind == b"eXIf":
            turned = orientation(view[at + 8 : end - 4])
        elif kind == b"acTL" and length >= 4:
            claimed = int.from_bytes(view[at + 8 : at + 12], "big")
            bounds.hold_frames(claimed)
        elif kind == b"fcTL":
            frames += 1
            bounds.hold_frames(frames)
        if kind == b"IEND":
            whole = kept == [(0, len(data))]
            parts = () if whole else tuple(part if isinstance(part, bytes) else view[part[0] : part[1]] for part in kept)
            return Header("PNG", width, height, max(claimed, frames, 1), turned, parts, clear=clear)
        at = end
    raise BadImage("the PNG lies in more chunks than such an image needs")


def _size(data: bytes, bounds: Bounds) -> tuple[int, int, int, int]:
    """Width, height, bits a sample, and the type of its colours."""
    length, kind, width, height, depth, colour = struct.unpack_from(">I4sIIBB", data, 8)
    if kind == b"CgBI":
        raise NotAnImage("this is a PNG as Apple's tools make it for their devices (CgBI): one as others read it is taken")
    if kind != b"IHDR" or length != 13:
        raise BadImage("the PNG does not begin with its header")
    bounds.hold(width, height)
    return width, height, depth, colour


def _check(view: memoryview, at: int, end: int) -> None:
    if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
        raise BadImage("the PNG is damaged: a checksum is not that of its bytes")


def _transparency(told: bytes, depth: int, colour: int) -> list[bytes | tuple[int, int]]:
    """``tRNS`` in the 8 bits that Pillow decodes to; of 16-bit grey it keeps all."""
    if colour == _PALETTE:
        return [_chunk(b"tRNS", told[:256])]
    values = 1 if colour == _GREY else 3 if colour == _RGB else 0
    if not values or len(told) < 2 * values:
        return []
    numbers = struct.unpack_from(f">{values}H", told)
    if colour == _GREY and depth in (2, 4):
        numbers = tuple((number & (1 << depth) - 1) * 255 // ((1 << depth) - 1) for number in numbers)
    return [_chunk(b"tRNS", struct.pack(f">{values}H", *numbers))]


def _colour(told: bytes) -> tuple[int, ...]:
    """``tRNS`` of 16-bit colours, of which Pillow keeps the upper bytes, where many colours are alike."""
    return struct.unpack_from(">3H", told) if len(told) >= 6 else ()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _join(kept: list[bytes | tuple[int, int]], start: int, end: int) -> None:
    last = kept[-1]
    if isinstance(last, tuple) and last[1] == start:
        kept[-1] = (last[0], end)
    else:
        kept.append((start, end))
