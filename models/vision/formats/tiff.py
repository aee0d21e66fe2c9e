"""TIFF (revision 6): directories. The decoder is given one that holds what the first page's pixels need, and no more."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from models.errors import BadImage, ImageTooLarge, NotAnImage
from models.vision.bounds import Bounds, Header, Samples
from models.vision.formats.tiff_samples import Kind, Told

Numbers = npt.NDArray[np.integer]

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS, _ORIENTATION, _SAMPLES, _ROWS, _PLANES = 256, 257, 258, 259, 262, 274, 277, 278, 284
_FILL_ORDER, _PREDICTOR, _EXTRA, _NUMBERS, _SUBSAMPLING = 266, 317, 338, 339, 530
_STRIPS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 273, 279, 322, 323, 324, 325
_ONE: Final = frozenset((_WIDTH, _HEIGHT, _COMPRESSION, _COLOURS, _FILL_ORDER, _SAMPLES, _ROWS, _PLANES, _PREDICTOR)) | frozenset(
    (292, 293, _TILE_WIDTH, _TILE_HEIGHT, 531)
)
_FEW: Final = frozenset((_BITS, _EXTRA, _NUMBERS, _SUBSAMPLING))
_MANY: Final = frozenset((_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES, 320))
_OTHER: Final = MappingProxyType({347: (1, 7), 529: (5,), 532: (4, 5)})  # JPEG's tables, and YCbCr's numbers, by their types
_MOST_SAMPLES: Final = 8
#: Strips or tiles: each costs some 10 us, however few pixels it has.
_MOST_PARTS: Final = 65_536
_SHORT, _LONG = 3, 4
_LENGTHS: Final = MappingProxyType({1: 1, _SHORT: 2, _LONG: 4, 5: 8, 7: 1})
_NO_COMPRESSION, _JPEG = 1, 7
#: Of a JPEG within, which has one or, plane by plane, a few.
_MOST_SCANS: Final = 20
_TAKEN: Final = frozenset((_NO_COMPRESSION, 2, 3, 4, 5, _JPEG, 8, 32773, 32946))
_NAMES: Final = MappingProxyType({6: "old JPEG", 34887: "LERC", 34925: "LZMA", 50000: "zstd", 50001: "WebP", 50002: "JPEG XL"})


@dataclass(frozen=True, slots=True)
class _Entry:
    """``at``: where its values lie. ``raw``: its twelve bytes."""

    kind: int
    count: int
    at: int
    raw: bytes


def read(data: bytes, bounds: Bounds) -> Header:
    """Raises BadImage, ImageTooLarge, NotAnImage where it is compressed or its samples are as is not taken."""
    return _Directory(data, bounds).header()


class _Directory:
    """The first one: of the first page."""

    def __init__(self, data: bytes, bounds: Bounds) -> None:
        self._data, self._bounds = data, bounds
        self._order = "<" if data[:1] == b"I" else ">"
        (self._at,) = struct.unpack_from(self._order + "I", data, 4)
        self._entries = self._read()

    def header(self) -> Header:
        width, height = self._one(_WIDTH, 0), self._one(_HEIGHT, 0)
        self._bounds.hold(width, height)
        samples, told = self._samples(width)
        self._check_parts(width, height)
        turned = self._one(_ORIENTATION, 1)
        return Header("TIFF", width, height, self._pages(), turned if 1 <= turned <= 8 else 1, self._alone(told), samples)

    def _read(self) -> dict[int, _Entry]:
        """Those that pixels need; the first where a tag comes twice."""
        (count,) = struct.unpack_from(self._order + "H", self._data, self._at)
        found: dict[int, _Entry] = {}
        for start in range(self._at + 2, self._at + 2 + count * 12, 12):
            tag, kind, values, at = struct.unpack_from(self._order + "HHII", self._data, start)
            if tag in found or not (tag in _ONE or tag in _FEW or tag in _MANY or tag in _OTHER or tag == _ORIENTATION):
                continue
            length = values * _LENGTHS.get(kind, 0)
            at = start + 8 if length <= 4 else at
            if tag == _ORIENTATION:
                if kind not in (_SHORT, _LONG) or values != 1:
                    continue
            elif kind not in _OTHER.get(tag, (_SHORT, _LONG)) or not values or at + length > len(self._data):
                raise BadImage(f"the TIFF is damaged: its tag {tag} has no values that can be read")
            elif (tag in _ONE and values != 1) or (tag in _FEW and values > _MOST_SAMPLES):
                raise BadImage(f"the TIFF is damaged: its tag {tag} has {values} values")
            found[tag] = _Entry(kind, values, at, self._data[start : start + 12])
        return found

    def _many(self, tag: int) -> Numbers:
        entry = self._entries.get(tag)
        if entry is None:
            return np.empty(0, np.int64)
        letter = self._order + ("u2" if entry.kind == _SHORT else "u4")
        return np.frombuffer(self._data, letter, entry.count, entry.at).astype(np.int64)

    def _one(self, tag: int, default: int) -> int:
        found = self._many(tag)
        return int(found[0]) if len(found) else default

    def _samples(self, width: int) -> tuple[Samples | None, Told]:
        compression = self._one(_COMPRESSION, _NO_COMPRESSION)
        if compression not in _TAKEN:
            kind = _NAMES.get(compression, f"code {compression}")
            raise NotAnImage(f"this is a TIFF compressed by {kind}: none, LZW, Deflate, PackBits, JPEG and CCITT's are taken")
        bits = self._many(_BITS)
        if len(bits) and (bits != bits[0]).any():
            raise NotAnImage("this is a TIFF whose samples differ in their bits: all of one length are taken")
        if len(bits) and bits[0] not in (1, 2, 4, 8, 16, 32):
            raise NotAnImage(f"this is a TIFF of {bits[0]} bits a sample: 1, 2, 4, 8, 16 and 32 are taken")
        if self._one(_SAMPLES, 1) > _MOST_SAMPLES:
            raise NotAnImage(f"this is a TIFF of more than {_MOST_SAMPLES} samples a pixel")
        told = Kind(
            self._order,
            compression,
            self._one(_COLOURS, 0),
            self._one(_BITS, 1),
            frozenset(self._many(_NUMBERS).tolist()) or frozenset((1,)),
            self._one(_SAMPLES, 1),
            tuple(self._many(_EXTRA).tolist()),
            planes=self._one(_PLANES, 1) == 2,
            bits_turned=self._one(_FILL_ORDER, 1) != 1,
            predictor=self._one(_PREDICTOR, 1),
            subsampled=self._many(_SUBSAMPLING).tolist() != [1, 1],
            run=self._one(_TILE_WIDTH, 0) if _TILES in self._entries else width,
        )
        return told.read()

    def _check_parts(self, width: int, height: int) -> None:
        """Strips or tiles: as many as the size needs, and all of them there."""
        tiled = _TILES in self._entries
        wide = self._one(_TILE_WIDTH, 0) if tiled else width
        high = self._one(_TILE_HEIGHT, 0) if tiled else min(self._one(_ROWS, height), height)
        if not wide or not high:
            raise BadImage("the TIFF is damaged: its strips or tiles are of no size")
        across, down = -(-width // wide), -(-height // high)
        if tiled and across * wide * down * high > 2 * self._bounds.pixels:
            raise ImageTooLarge(f"the TIFF's tiles have {across * wide} x {down * high} pixels: {2 * self._bounds.pixels:,} may be")
        planes = self._one(_SAMPLES, 1) if self._one(_PLANES, 1) == 2 else 1
        starts = self._many(_TILES if tiled else _STRIPS)
        lengths = self._many(_TILE_BYTES if tiled else _STRIP_BYTES)
        if len(starts) != across * down * planes or (len(lengths) and len(lengths) != len(starts)):
            raise BadImage(f"the TIFF is damaged: {across * down * planes} strips or tiles are needed, {len(starts)} are told")
        if len(starts) > _MOST_PARTS:
            raise NotAnImage(f"this is a TIFF of {len(starts):,} strips or tiles: {_MOST_PARTS:,} are taken, or a PNG")
        ends = starts + lengths if len(lengths) else starts + 1
        if (ends > len(self._data)).any():
            raise BadImage(f"the TIFF ends after {len(self._data):,} bytes: its pixels go on to {int(ends.max()):,}")
        compression = self._one(_COMPRESSION, _NO_COMPRESSION)
        if lengths.sum() > len(self._data) or (not len(lengths) and compression != _NO_COMPRESSION):
            raise BadImage("the TIFF is damaged: its strips or tiles lie over each other, or tell no length")
        if compression == _JPEG:
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
                if self._data.count(b"\xff\xda", start, end) > _MOST_SCANS:
                    raise BadImage(f"the TIFF has a JPEG of more than {_MOST_SCANS} scans")

    def _pages(self) -> int:
        at, seen = self._at, set[int]()
        while at:
            if at in seen:
                raise BadImage("the TIFF is damaged: its pages go round in a circle")
            seen.add(at)
            self._bounds.hold_frames(len(seen))
            (count,) = struct.unpack_from(self._order + "H", self._data, at)
            (at,) = struct.unpack_from(self._order + "I", self._data, at + 2 + count * 12)
        return len(seen)

    def _alone(self, told: Told) -> tuple[bytes | memoryview, ...]:
        """The file with a directory at its end in the place of all others, and in it what is told; what lies where stays there."""
        at = len(self._data) + (len(self._data) & 1)
        entries = {tag: entry.raw for tag, entry in self._entries.items() if tag != _ORIENTATION and tag not in told}
        for tag, value in told.items():
            if value is not None:
                entries[tag] = struct.pack(self._order + "HHIHH", tag, _SHORT, 1, value, 0)
        directory = struct.pack(self._order + "H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
        start = self._data[:4] + struct.pack(self._order + "I", at)
        return start, memoryview(self._data)[8:], bytes(at - len(self._data)), directory
