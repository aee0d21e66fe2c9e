"""Pixels to a row of the model's input: resize, crop, channels, scale.

Sizes and crops are torchvision's, and the resampling Pillow's, which torchvision's transforms of Pillow's images use: antialiased,
across first, then down, kept in 8 bits after each. Only what the crop keeps is resampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Final

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from models.errors import ImageTooLarge
from models.tensor import Array
from models.vision.declaration import LONGEST, Interpolation
from models.vision.levels import levels
from models.vision.pixels import Pixels
from models.vision.recipe import Recipe

#: Pixels of a side. A filter's weights take memory by it: 50,000,000 x 1 pixels, squashed, would take gigabytes.
LONGEST_SEEN: Final = 65_535

#: Each with how many pixels it reaches to either side.
_FILTERS: Final[Mapping[Interpolation, tuple[Resampling, float]]] = {
    "nearest": (Resampling.NEAREST, 0.0),
    "bilinear": (Resampling.BILINEAR, 1.0),
    "bicubic": (Resampling.BICUBIC, 2.0),
    "lanczos": (Resampling.LANCZOS, 3.0),
}
#: Rows that the crop leaves out are cut off before the rest is resampled where no more than such a share remains: it takes a copy.
WORTH_CUTTING: Final = 0.75


@dataclass(frozen=True, slots=True)
class Span:
    """Along one axis: of ``frame`` pixels those from ``at`` on, ``length`` of them, show ``begin`` to ``end`` of the image."""

    frame: int
    at: int
    length: int
    begin: float
    end: float

    def within(self, side: int, start: float, shrunk: int) -> Span:
        """The same of an image that is a ``shrunk``-th as large, and lies in ``side`` pixels from ``start`` on."""
        return replace(self, begin=start + self.begin / shrunk, end=min(float(side), start + self.end / shrunk))


def preprocess(pixels: Pixels, recipe: Recipe, out: Array | None = None) -> Array:
    """One row of an image in RGB, or in L where the recipe wants grey.

    It is of ``recipe.shape`` where that is known, and written into ``out``, which is contiguous, where that is given. Raises
    ImageTooLarge for a side that is out of all proportion.
    """
    down, across = spans(pixels.height, pixels.width, recipe)
    if pixels.shrunk != 1:
        down = down.within(pixels.image.height, pixels.top, pixels.shrunk)
        across = across.within(pixels.image.width, pixels.left, pixels.shrunk)
    drawn = np.asarray(_resized(pixels.image, down, across, recipe.interpolation))
    if out is None:
        out = np.empty(recipe.shape_of(down.frame, across.frame), recipe.spec.dtype)
    elif not out.flags.c_contiguous:
        raise ValueError("the row to write into is not contiguous")
    depth = len(recipe.mean)
    by_axis = (depth, down.frame, across.frame) if recipe.layout == "NCHW" else (down.frame, across.frame, depth)
    whole = out.reshape(by_axis)
    planes = whole if recipe.layout == "NCHW" else whole.transpose(2, 0, 1)
    table = levels(recipe.spec.dtype, recipe.scale, recipe.mean, recipe.std)
    rows, columns = slice(down.at, down.at + down.length), slice(across.at, across.at + across.length)
    bordered = (down.length, across.length) != (down.frame, across.frame)
    fill = _grey(recipe.fill) if recipe.channels == "L" else recipe.fill
    for channel, plane in enumerate(planes):
        colour = depth - 1 - channel if recipe.channels == "BGR" else channel
        if bordered:
            plane[...] = table[channel, fill[colour]]
        # A level's value is looked up: one pass, whatever the datatype, and never an index that is out of range.
        np.take(table[channel], drawn if drawn.ndim == 2 else drawn[:, :, colour], out=plane[rows, columns], mode="clip")
    return out


def spans(height: int, width: int, recipe: Recipe) -> tuple[Span, Span]:
    """Down and across: what of an image is shown where. Raises ImageTooLarge."""
    if max(height, width) > LONGEST_SEEN:
        raise ImageTooLarge(f"The image is {width} x {height} pixels; expected at most {LONGEST_SEEN} on a side.")
    if recipe.height is None or recipe.width is None:
        tall, wide = _by_short_side(height, width, recipe.short_side)
        if max(tall, wide) > LONGEST:
            becomes = f"becomes {wide} x {tall} for this model"
            raise ImageTooLarge(f"The image of {width} x {height} pixels {becomes}; expected at most {LONGEST} on a side.")
        return _whole(height, tall, tall), _whole(width, wide, wide)
    if recipe.resize == "squash":
        return _whole(height, recipe.height, recipe.height), _whole(width, recipe.width, recipe.width)
    if recipe.resize == "letterbox":
        ratio = min(recipe.height / height, recipe.width / width)
        tall, wide = max(1, round(height * ratio)), max(1, round(width * ratio))
        return _whole(height, tall, recipe.height), _whole(width, wide, recipe.width)
    tall, wide = _by_short_side(height, width, recipe.short_side)
    return _middle(height, tall, recipe.height), _middle(width, wide, recipe.width)


def _by_short_side(height: int, width: int, short_side: int) -> tuple[int, int]:
    """torchvision's ``_compute_resized_output_size``: the long side is cut to a whole number, not rounded."""
    if width <= height:
        return int(short_side * height / width), short_side
    return short_side, int(short_side * width / height)


def _whole(side: int, length: int, frame: int) -> Span:
    """All of it, in the middle of the frame."""
    return Span(frame, (frame - length) // 2, length, 0, side)


def _middle(side: int, length: int, frame: int) -> Span:
    """What torchvision's ``center_crop`` keeps of a side that was resized to ``length``."""
    if length <= frame:
        return _whole(side, length, frame)
    begin = round((length - frame) / 2.0)
    return Span(frame, 0, frame, begin * side / length, min(side, (begin + frame) * side / length))


def _resized(image: Image.Image, down: Span, across: Span, interpolation: Interpolation) -> Image.Image:
    if down.length == down.end - down.begin and across.length == across.end - across.begin:  # as it is
        return image.crop((int(across.begin), int(down.begin), int(across.end), int(down.end)))
    kernel, reach = _FILTERS[interpolation]
    reach *= max(1.0, (down.end - down.begin) / down.length)
    first, last = max(0, floor(down.begin - reach)), min(image.height, ceil(down.end + reach))
    if last - first <= WORTH_CUTTING * image.height:
        image = image.crop((0, first, image.width, last))
    else:
        first, last = 0, image.height
    # In two calls: from 13 on Pillow goes down first where that is less work, and a bicubic edge is clipped otherwise then.
    image = image.resize((across.length, last - first), kernel, (across.begin, 0, across.end, last - first))
    return image.resize((across.length, down.length), kernel, (0, down.begin - first, across.length, down.end - first))


def _grey(colour: tuple[int, int, int]) -> tuple[int, ...]:
    red, green, blue = colour  # as Pillow makes grey of colours: ITU-R 601-2
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16,)
