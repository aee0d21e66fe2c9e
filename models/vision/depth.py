"""Samples of more than 8 bits: grey to its 256 levels, and what the lower half of a colour's bits says."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

from models.vision.bounds import Samples

Levels = npt.NDArray[np.uint8]

_WHITE: Final = 65_535


def in_8_bits(values: npt.NDArray[np.unsignedinteger[Any]]) -> Levels:
    """Of 16 bits."""
    scaled = values.astype(np.uint32)
    scaled += 128
    scaled //= 257  # 65,535 / 255: rounded, and never half way between two
    return scaled.astype(np.uint8)


def grey(image: Image.Image, samples: Samples) -> tuple[Levels, Levels | None]:
    """A decoded image's grey, and its alpha where it has one.

    Whole numbers of 0 to 65,535, and fractions of 0 to 1, are all levels; what lies outside is black or white, NaN black.
    """
    if samples.beside:
        return _with_alpha(np.asarray(image).view(samples.datatype), samples)
    values = np.asarray(image).view(samples.datatype)
    if values.dtype.kind == "u" and values.itemsize == 2:
        return in_8_bits(_WHITE - values if samples.inverted else values), None
    white = 1 if values.dtype.kind == "f" else _WHITE
    with np.errstate(all="ignore"):
        parts = values.astype(np.float32)
        parts /= white
        if samples.inverted:
            np.subtract(1, parts, out=parts)
        np.nan_to_num(parts, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
        parts.clip(0, 1, out=parts)
        parts *= 255
        return np.rint(parts, out=parts).astype(np.uint8), None


def _with_alpha(values: npt.NDArray[Any], samples: Samples) -> tuple[Levels, Levels | None]:
    """``values``: [height, width, 2], of 16 bits."""
    if samples.run:
        sums = np.empty(values.shape, np.uint16)
        for start in range(0, values.shape[1], samples.run):
            np.cumsum(values[:, start : start + samples.run], axis=1, dtype=np.uint16, out=sums[:, start : start + samples.run])
        values = sums
    shown, alpha = values[:, :, 0], values[:, :, 1]
    if samples.beside == "ignored":
        return in_8_bits(shown), None
    if samples.beside == "multiplied":
        shown = shown.astype(np.uint32)
        shown *= _WHITE
        shown //= np.maximum(alpha, 1)
        np.minimum(shown, _WHITE, out=shown)
    return in_8_bits(shown), in_8_bits(alpha)


def opaque(upper: Image.Image, data: bytes, colour: tuple[int, ...]) -> Image.Image:
    """In L: 0 where a PNG of 16-bit colours is of that colour, 255 elsewhere. ``upper``: its decoded pixels, the upper bytes.

    The lower ones are decoded for this alone, so only of an image that has a transparent colour.
    """
    with Image.open(BytesIO(data), formats=("PNG",)) as lower:
        lower.tile = [tile._replace(args="RGB;16L") for tile in lower.tile]
        lower.load()
        shown = Image.new("L", upper.size)
        for halves, values in ((upper, [value >> 8 for value in colour]), (lower, [value & 255 for value in colour])):
            for band, clear in zip(halves.split(), values, strict=True):
                shown = ImageChops.lighter(shown, band.point([0 if level == clear else 255 for level in range(256)]))
    return shown
