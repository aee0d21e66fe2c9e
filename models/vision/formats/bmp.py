"""BMP: the header that precedes its pixels."""

from __future__ import annotations

import struct
from typing import Final

from models.errors import BadImage, NotAnImage
from models.vision.bounds import Bounds, Header

_OS2: Final = 12
_PLAIN, _BITFIELDS = 0, 3
_MOST_COLOURS: Final = 256
_COMPRESSIONS: Final = {1: "run lengths", 2: "run lengths", 4: "a JPEG", 5: "a PNG"}


def read(data: bytes, bounds: Bounds) -> Header:
    """Raises BadImage, ImageTooLarge, NotAnImage for one that is compressed: its pixels cost far more than its bytes."""
    (length,) = struct.unpack_from("<I", data, 14)
    if length == _OS2:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression, colours = _PLAIN, 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<IiHHI", data, 18)
        (colours,) = struct.unpack_from("<I", data, 46)
    bounds.hold(width, abs(height))
    if bits <= 8 and colours > _MOST_COLOURS:
        raise BadImage(f"the BMP is damaged: it has a palette of {colours:,} colours for {bits} bits a pixel")
    if compression not in (_PLAIN, _BITFIELDS):
        kind = _COMPRESSIONS.get(compression, f"compression {compression}")
        raise NotAnImage(f"this is a BMP of {kind}: one that is not compressed is taken, or a PNG")
    (pixels,) = struct.unpack_from("<I", data, 10)
    needed = pixels + (width * bits + 31) // 32 * 4 * abs(height)
    if needed > len(data):
        raise BadImage(f"the BMP ends after {len(data):,} bytes: its pixels need {needed:,}")
    return Header("BMP", width, abs(height), 1)
