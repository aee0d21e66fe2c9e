"""Grey of more than 8 bits to its 256 levels."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

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
    values = np.asarray(image).view(samples.datatype)
    if samples.beside:
        return _with_alpha(values, samples)
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
        shown = np.minimum(shown.astype(np.uint32) * _WHITE // np.maximum(alpha, 1), _WHITE)
    return in_8_bits(shown), in_8_bits(alpha)
