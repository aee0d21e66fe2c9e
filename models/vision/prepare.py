"""An encoded image to a row of a model's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from models.tensor import Array
from models.vision.bounds import Header
from models.vision.decode import decode
from models.vision.preprocess import preprocess, spans
from models.vision.recipe import Recipe

#: Images of more pixels than this are decoded one at a time: the largest takes the better part of a gigabyte, and that once.
LARGE: Final = 16_000_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """``row``: of the model's input. ``width`` and ``height`` of the image as it is looked at, upright, in pixels."""

    row: Array
    width: int
    height: int


def is_large(header: Header) -> bool:
    """Whether no two such images may be decoded at once."""
    return header.width * header.height > LARGE


def prepare(data: bytes, header: Header, recipe: Recipe, out: Array | None = None) -> Prepared:
    """``header``: what ``look`` has found. Raises ImageTooLarge, BadImage."""
    width, height = header.upright
    spans(height, width, recipe)  # a shape that the model cannot be given is refused before it is decoded
    return Prepared(preprocess(decode(data, header, recipe), recipe, out), width, height)
