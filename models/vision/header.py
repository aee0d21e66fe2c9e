"""An image's header, held against what may be decoded."""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from models.errors import BadImage, NotAnImage
from models.vision.bounds import Bounds, Header
from models.vision.formats import bmp, gif, jpeg, png, tiff, webp
from models.vision.looks import appearance, image_format, is_cut_short

__all__ = ["FORMATS", "Bounds", "Header", "look"]

_READERS: Final = MappingProxyType[str, Callable[[bytes, Bounds], Header]](
    {"JPEG": jpeg.read, "PNG": png.read, "WEBP": webp.read, "GIF": gif.read, "BMP": bmp.read, "TIFF": tiff.read}
)
#: The formats that are decoded, as Pillow names them.
FORMATS: Final = tuple(_READERS)


def look(data: bytes, bounds: Bounds) -> Header:
    """Reads what stands around the pixels; decodes nothing. Raises NotAnImage naming what it looks like, ImageTooLarge, BadImage.

    The format is what the bytes say, whatever name or type came with them. Each reader holds a size or a count to the bounds as
    soon as it has read it, so what a header claims costs nothing, and what is there is walked once.
    """
    if not data:
        raise BadImage("the image is empty (0 bytes)")
    name = image_format(data)
    if name is None:
        if is_cut_short(data):
            raise BadImage(f"the image ends after {len(data)} bytes, within its first mark")
        raise NotAnImage(f"this looks like {appearance(data)}: JPEG, PNG, WebP, GIF, BMP and TIFF are taken")
    try:
        return _READERS[name](data, bounds)
    except (struct.error, IndexError) as error:
        raise BadImage(f"the {name} ends after {len(data)} bytes, within its header") from error
