"""How deep a body's JSON may be nested, how many rows a request may have, and how many elements a tensor.

All is judged on bytes and shapes, before anything is made of them: a list of Python's numbers takes ten times the memory of its
text. Bodies within their limits, which nearly all are, are told by counting characters; only others are looked at mark by mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import msgspec
import numpy as np

from models.errors import Problem
from models.tensor import Array
from service.errors import BadRequest, TensorTooLarge, TooManyImages, TooManyRows
from service.sections import Limits

_SAME: Final = bytes.maketrans(b"{}", b"[]")
_BRACKETS: Final = bytes(sorted(set(range(256)) - set(b'[]{}"')))
_LISTS: Final = bytes(sorted(set(range(256)) - set(b'[]{}",')))
_STRING: Final = re.compile(rb'"[^"]*"')
_OPEN, _COMMA = b"[,"
#: Levels that are taken off a text's marks before they are counted one by one.
_PASSES: Final = 4
#: Marks that are counted at once.
_SLICE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """What one request may bring: levels of JSON, elements of a tensor, rows, images."""

    depth: int = Limits.model_fields["json_depth"].default
    elements: int = Limits.model_fields["tensor_elements"].default
    rows: int = Limits.model_fields["rows"].default
    images: int = Limits.model_fields["images"].default

    @classmethod
    def of(cls, limits: Limits) -> Content:
        """What `[limits]` says."""
        return cls(limits.json_depth, limits.tensor_elements, limits.rows, limits.images)

    def check_json(self, text: bytes) -> None:
        """Raises BadRequest for JSON that is nested too deep."""
        if text.count(b"[") + text.count(b"{") > self.depth and is_deeper(text, self.depth):
            raise too_deep(self.depth)

    def check_shape(self, shape: Sequence[int], path: str, *, batched: bool) -> None:
        """Raises TensorTooLarge, TooManyRows for a tensor of that shape."""
        size = prod(shape) if len(shape) <= 64 else 0  # of more no array can be, which is told elsewhere
        if size > self.elements:
            raise self.too_large(path, f"{size}" if size < 2**63 else "more than 2**63")
        if batched and shape and shape[0] > self.rows:
            raise self.too_many(shape[0])

    def check_data(self, text: bytes | msgspec.Raw, path: str) -> None:
        """Raises TensorTooLarge for a JSON array that has more elements than a tensor may. An element takes two characters."""
        if len(memoryview(text)) > 2 * self.elements and _is_longer(bytes(text), self.elements, nested=True):
            raise self.too_large(path, f"more than {self.elements}")

    def check_list(self, text: bytes | msgspec.Raw) -> None:
        """Raises TooManyRows for a JSON array of more rows than there may be."""
        if len(memoryview(text)) > 2 * self.rows and _is_longer(bytes(text), self.rows, nested=False):
            raise self.too_many(None)

    def check_images(self, text: bytes | msgspec.Raw) -> None:
        """Raises TooManyImages for a JSON array of more images than there may be."""
        if len(memoryview(text)) > 2 * self.images and _is_longer(bytes(text), self.images, nested=False):
            raise self.too_many_images(None)

    def too_large(self, path: str, size: str) -> TensorTooLarge:
        """The refusal of a tensor with too many elements."""
        problem = Problem(path, "the tensor has too many elements", f"at most {self.elements}", size)
        return TensorTooLarge(f"{problem}; send fewer rows a request", problem, limit="tensor_elements")

    def too_many(self, rows: int | None) -> TooManyRows:
        """The refusal of a request with too many rows."""
        many = "more rows than the limit" if rows is None else f"{rows} rows, over the limit"
        return TooManyRows(f"the request has {many} of {self.rows}; send it in several", limit="rows")

    def too_many_images(self, images: int | None) -> TooManyImages:
        """The refusal of a request with too many images."""
        many = "more images than the limit" if images is None else f"{images} images, over the limit"
        return TooManyImages(f"the request has {many} of {self.images}; send them in several", limit="images")


def too_deep(most: int) -> BadRequest:
    """The refusal of JSON with more than so many levels."""
    return BadRequest(f"the body's JSON is nested too deep, over the limit of {most} levels; send it flatter", limit="json_depth")


def is_deeper(text: bytes, most: int) -> bool:
    """Whether a JSON text has more than so many levels of lists and objects."""
    if len(text) > _SLICE and is_deeper(text[:_SLICE], most):
        return True
    marks = _unquoted(text, _BRACKETS)
    passes = min(_PASSES, most)
    run = b"[" * (most + 1)
    for taken in range(passes):
        if marks.count(b"[") + taken <= most:
            return False
        if run in marks:  # what is made to be deep mostly is so at once, and is told without looking at each mark
            return True
        marks = marks.replace(b"[]", b"")
    return any(int(levels.max()) + passes > most for _, levels in _levels(marks))


def _is_longer(text: bytes, most: int, *, nested: bool) -> bool:
    """Whether a JSON array has more than so many elements, or, where ``nested``, so many commas at all."""
    if text.count(b",") < most:
        return False
    marks = _unquoted(text, _LISTS)
    if nested:
        return marks.count(b",") >= most
    return sum(int(((part == _COMMA) & (levels == 1)).sum()) for part, levels in _levels(marks)) >= most


def _unquoted(text: bytes, others: bytes) -> bytes:
    """A text's marks, all brackets square, without those that stand in strings."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = text.translate(_SAME, others).replace(b'""', b"")  # two quotes side by side change nobody's being in a string
    return _STRING.sub(b"", marks) if b'"' in marks else marks


def _levels(marks: bytes) -> Iterator[tuple[Array, Array]]:
    """The marks in parts, and at which level each stands; an opening bracket at the level that it opens."""
    carry = 0
    for start in range(0, len(marks), _SLICE):
        part = np.frombuffer(marks, np.uint8, min(_SLICE, len(marks) - start), start)
        steps = np.where(part == _OPEN, 1, np.where(part == _COMMA, 0, -1))
        levels = carry + np.cumsum(steps)
        carry = int(levels[-1])
        yield part, levels


DEFAULT: Final = Content()
