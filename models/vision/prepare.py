"""An encoded image to a row of a model's input."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Final

from models.tensor import Array
from models.vision.decode import decode
from models.vision.header import Bounds, look
from models.vision.preprocess import preprocess, spans
from models.vision.recipe import Recipe

#: Images of more pixels than this are decoded one at a time: the largest takes the better part of a gigabyte, and that once.
LARGE: Final = 16_000_000

_large = Lock()


@dataclass(frozen=True, slots=True)
class Prepared:
    """``row``: of the model's input. ``width`` and ``height`` of the image as it is looked at, upright, in pixels."""

    row: Array
    width: int
    height: int


def prepare(data: bytes, recipe: Recipe, bounds: Bounds, out: Array | None = None) -> Prepared:
    """Raises NotAnImage, ImageTooLarge, BadImage."""
    header = look(data, bounds)
    width, height = header.upright
    spans(height, width, recipe)  # a shape that the model cannot be given is refused before it is decoded
    with _large if width * height > LARGE else nullcontext():
        image, _ = decode(data, header, recipe)
        return Prepared(preprocess(image, recipe, out), width, height)
