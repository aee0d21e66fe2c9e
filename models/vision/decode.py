"""Encoded bytes to pixels, no larger than is needed."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from io import BytesIO
from types import MappingProxyType
from typing import Final

import numpy as np

# Each registers its format: Pillow looks for one that is missing by importing every plugin that it has.
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageChops,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    _imaging,
)
from PIL.Image import Transpose

from models.errors import BadImage
from models.vision import depth
from models.vision.bounds import TURNED, Header
from models.vision.pixels import Pixels
from models.vision.recipe import Recipe

_PLUGINS: Final = (BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)
#: A JPEG is scaled while it is decoded as long as its sides stay so many times what is needed: docs/images.md has the figures.
MARGIN: Final = 2

#: What makes an image upright, by EXIF's orientation.
_TURNS: Final = MappingProxyType(
    {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
)
#: Those that show what was stored from its end: from the right, and from below.
_FROM_RIGHT: Final = frozenset((2, 3, 6, 7))
_FROM_BELOW: Final = frozenset((3, 4, 7, 8))

# libtiff writes what it finds wrong to stderr, amid the log, as often as anybody sends a damaged file: not from here on.
with suppress(AttributeError, OSError):  # a Pillow that keeps its libtiff to itself
    _libtiff = ctypes.CDLL(_imaging.__file__)
    _libtiff.TIFFSetErrorHandler(None)
    _libtiff.TIFFSetWarningHandler(None)


def decode(data: bytes, header: Header, recipe: Recipe) -> Pixels:
    """The first frame, upright, in 8 bits: in RGB, or in L where the recipe wants grey.

    An image of Pillow's, as Pillow resamples it next, and an array would be copied there and back. A JPEG may come at a fraction of
    its size that is still no smaller than the recipe needs. Raises BadImage where it is damaged.
    """
    shrunk = 1
    try:
        with Image.open(BytesIO(b"".join(header.kept) or data), formats=(header.format,)) as image:
            if image.size != (header.width, header.height):
                raise BadImage(f"the {header.format} is damaged: its parts tell different sizes")
            if header.format == "JPEG":
                drafted = image.draft("L" if recipe.channels == "L" else "RGB", _least(header, recipe))
                shrunk = 1 if drafted is None else round(header.width / drafted[1][2])
            image.load()
            flat = _flat(image, header, recipe)
        return _upright(flat, header, shrunk)
    except BadImage:
        raise
    except Exception as error:  # decoders raise whatever their reading of nonsense leads to
        cut = isinstance(error, OSError) and "truncated" in str(error)
        raise BadImage(f"the {header.format} {'ends before its last pixel' if cut else 'is damaged'}") from error


def _least(header: Header, recipe: Recipe) -> tuple[int, int]:
    """Width and height, as stored, that the recipe still does not make larger, with the margin."""
    wide, high = header.upright
    if recipe.height is None or recipe.width is None or recipe.resize == "short_side":
        across = down = recipe.short_side / min(wide, high)
    else:
        across, down = recipe.width / wide, recipe.height / high
        if recipe.resize == "letterbox":
            across = down = min(across, down)
    least = (max(1, round(wide * across * MARGIN)), max(1, round(high * down * MARGIN)))
    return least[::-1] if header.orientation in TURNED else least


def _upright(image: Image.Image, header: Header, shrunk: int) -> Pixels:
    """As it is looked at. libjpeg adds to a side that it cannot divide at its end, which may come to be its beginning."""
    right, bottom = image.width - header.width / shrunk, image.height - header.height / shrunk
    if header.orientation != 1:
        image = image.transpose(_TURNS[header.orientation])
    across, down = (bottom, right) if header.orientation in TURNED else (right, bottom)
    left = across if header.orientation in _FROM_RIGHT else 0.0
    top = down if header.orientation in _FROM_BELOW else 0.0
    return Pixels(image, *header.upright, shrunk, left, top)


def _flat(image: Image.Image, header: Header, recipe: Recipe) -> Image.Image:
    """In grey or RGB, with the recipe's background under what is transparent, and where the first frame is not."""
    flat = _opaque(image, header, recipe)
    if header.place is None:
        return flat
    whole = Image.new("RGB", flat.size, recipe.background).convert(flat.mode)
    whole.paste(flat.crop(header.place), header.place)
    return whole


def _opaque(image: Image.Image, header: Header, recipe: Recipe) -> Image.Image:
    mode = "L" if recipe.channels == "L" else "RGB"
    if header.samples is not None:
        shown, beside = depth.grey(image, header.samples)
        flat = _grey(shown).convert(mode)
        return flat if beside is None else _over(flat, _grey(beside), recipe)
    if header.clear:
        alpha = depth.opaque(image, b"".join(header.kept), header.clear)
        return _over(image.convert(mode), alpha, recipe)
    clear = image.info.pop("transparency", None)
    if image.mode.startswith("I;16"):
        return _deep(image, clear, mode, recipe)
    if clear is not None:
        image.info["transparency"] = clear
        image = image.convert("RGBA")
    elif image.mode == "La":
        image = image.convert("LA")
    elif image.mode == "RGBa" or (image.mode in ("P", "PA") and image.has_transparency_data):
        image = image.convert("RGBA")
    if image.mode in ("LA", "RGBA"):
        return _over(image.convert(mode), image.getchannel("A"), recipe)
    if image.mode == "LAB":
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _deep(image: Image.Image, clear: object, mode: str, recipe: Recipe) -> Image.Image:
    """16-bit grey, of which ``clear`` is transparent."""
    values = np.asarray(image)
    flat = _grey(depth.in_8_bits(values)).convert(mode)
    return _over(flat, _grey(np.where(values == clear, 0, 255).astype(np.uint8)), recipe) if isinstance(clear, int) else flat


def _grey(values: depth.Levels) -> Image.Image:
    return Image.fromarray(values)


def _over(image: Image.Image, alpha: Image.Image, recipe: Recipe) -> Image.Image:
    """On the recipe's background; ``image`` becomes it."""
    under = tuple(Image.new("RGB", (1, 1), recipe.background).convert(image.mode).tobytes())
    image.paste(under, mask=ImageChops.invert(alpha))
    return image
