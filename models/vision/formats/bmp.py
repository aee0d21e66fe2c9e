"""BMP: the header that precedes its pixels."""

from __future__ import annotations

import struct
from types import MappingProxyType
from typing import Final

from models.errors import BadImage, NotAnImage
from models.vision.bounds import Bounds, Header

_CORE, _OS2_SHORT, _OS2 = 12, 16, 64
#: From so many bytes on a header has a mask of alpha.
_WITH_ALPHA: Final = 56
_PLAIN, _BITFIELDS = 0, 3
_MOST_COLOURS: Final = 256
_COMPRESSIONS: Final = {1: "run lengths", 2: "run lengths", 4: "a JPEG", 5: "a PNG"}
_BITS: Final = (1, 4, 8, 16, 24, 32)
_BGR: Final = (0xFF0000, 0xFF00, 0xFF)
#: The bits of red, green, blue and alpha that the decoder knows, by the bits of a pixel; of fewer than 32 alpha is left out.
_MASKS: Final = MappingProxyType(
    {
        16: frozenset(((0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F))),
        24: frozenset((_BGR,)),
        32: frozenset(
            (
                (*_BGR, 0),
                (*_BGR, 0xFF000000),
                (0xFF000000, 0xFF0000, 0xFF00, 0),
                (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
                (0xFF000000, 0xFF00, 0xFF, 0),
                (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
                (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
                (0, 0, 0, 0),
            )
        ),
    }
)


def read(data: bytes, bounds: Bounds) -> Header:
    """Raises BadImage, ImageTooLarge, NotAnImage for one that is compressed, which may be of very many pixels, or of rare bits."""
    (length,) = struct.unpack_from("<I", data, 14)
    if length == _OS2_SHORT:
        raise NotAnImage("this is a BMP with OS/2's header of 16 bytes: one of 40 or more is taken, or a PNG")
    if length == _CORE:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression, colours = _PLAIN, 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        (colours,) = struct.unpack_from("<I", data, 46)
    bounds.hold(width, abs(height))
    if compression not in (_PLAIN, _BITFIELDS):
        kind = _COMPRESSIONS.get(compression, f"compression {compression}")
        raise NotAnImage(f"this is a BMP of {kind}: one that is not compressed is taken, or a PNG")
    if bits not in _BITS:
        raise NotAnImage(f"this is a BMP of {bits} bits a pixel: 1, 4, 8, 16, 24 and 32 are taken")
    if bits <= 8 and colours > _MOST_COLOURS:
        raise BadImage(f"the BMP is damaged: it has a palette of {colours:,} colours for {bits} bits a pixel")
    if compression == _BITFIELDS:
        _check_masks(data, length, bits)
    (pixels,) = struct.unpack_from("<I", data, 10)
    row = width * bits
    needed = pixels + (row + 31) // 32 * 4 * (abs(height) - 1) + (row + 7) // 8  # some leave out what fills up the last row
    if needed > len(data):
        raise BadImage(f"the BMP ends after {len(data):,} bytes: its pixels need {needed:,}")
    return Header("BMP", width, abs(height), 1)


def _check_masks(data: bytes, length: int, bits: int) -> None:
    """Where a pixel's bits are told apart by masks, behind a header of 40 bytes or in a longer one."""
    if length == _OS2:
        raise NotAnImage("this is a BMP of Huffman's code: one that is not compressed is taken, or a PNG")
    masks = struct.unpack_from("<IIII", data, 54) if length >= _WITH_ALPHA else (*struct.unpack_from("<III", data, 54), 0)
    if (masks if bits == 32 else masks[:3]) not in _MASKS.get(bits, ()):
        told = ", ".join(f"{mask:x}" for mask in masks)
        raise NotAnImage(f"this is a BMP of {bits} bits a pixel by the masks {told}: 5-5-5, 5-6-5 and whole bytes as BGR are taken")
