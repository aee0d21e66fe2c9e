"""A JSON body without its long arrays of numbers, which are read apart.

Each such array is cut out and a short one stands in its place, nested as deep, so that the decoders of requests parse and check
what is left as they would the whole. Cutting knows nothing of JSON. What proves it right is that the outline is JSON, that each
array is, and that each stand-in, which is nowhere else in the outline, was met as a value. What is not proven is NotPlain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from typing import Final

import msgspec
import numpy as np

from models.tensor import Array
from service.protocol.plain_numbers import NotPlain, read

#: From this length on a text is looked through for arrays, and an array is cut out (bytes).
LONG: Final = 8 * 1024
#: So many colons are looked at, at most: a text with more before its arrays is not worth the search.
_MOST: Final = 128
_BLANK: Final = b" \t\r\n"
_ARRAY: Final = re.compile(rb":\s*(?=(\[[\[\s]*)[-0-9])")
_WORD: Final = b'"cut out '


class Outline:
    """``text`` is what is left of ``whole``; ``arrays`` are those that were cut out and not yet asked for, by their stand-ins: the
    start, the end, and how many levels there seem to be. ``most`` is how many elements a tensor may have."""

    __slots__ = ("arrays", "most", "text", "whole")

    def __init__(self, whole: bytes, text: bytes, arrays: dict[bytes, tuple[int, int, int]], most: int) -> None:
        self.whole = whole
        self.text = text
        self.arrays = arrays
        self.most = most

    @classmethod
    def of(cls, text: bytes, most: int) -> Outline | None:
        """None where there is nothing to cut out, or a stand-in could not be told from what is left."""
        parts: list[bytes] = []
        arrays: dict[bytes, tuple[int, int, int]] = {}
        done = at = 0
        for _ in range(_MOST):
            at = text.find(b":", at)
            if at < 0:
                break
            found = _ARRAY.match(text, at)
            at += 1
            if found is None:
                continue
            start = found.end()
            at = _behind(text, start)  # so that no part of a text is searched twice
            end = text.rfind(b"]", start, at) + 1
            if end - start < LONG:
                continue
            depth = found[1].count(b"[")
            stand_in = b"%b%b%d%b%b" % (b"[" * depth, _WORD, len(arrays), b'"', b"]" * depth)
            arrays[stand_in] = start, end, depth
            parts += (text[done:start], stand_in)
            done = end
        if not arrays:
            return None
        outline = b"".join((*parts, text[done:]))
        return cls(text, outline, arrays, most) if outline.count(_WORD) == len(arrays) else None

    def tensor(self, raw: msgspec.Raw | bytes, datatype: str, shape: Sequence[int], *, flat: bool = False) -> Array | None:
        """The tensor for which ``raw`` stands, None where it is no stand-in. It is nested as ``shape``, of which a first dim of -1
        is free; ``flat`` takes one that is not nested too. Raises NotPlain."""
        found = self.arrays.pop(bytes(raw), None) if len(memoryview(raw)) < LONG else None
        if found is None:
            return None
        start, end, depth = found
        nested = depth == len(shape)
        if not nested and (depth > 1 or not flat or len(shape) > 64):
            raise NotPlain
        values = read(self.whole, datatype, shape if nested else (-1,), start, end)
        if values.size > self.most or (not nested and values.size != prod(shape)):
            raise NotPlain
        return values if nested else values.reshape(shape)

    def column(self, raws: Sequence[msgspec.Raw], datatype: str, shape: Sequence[int]) -> Array | None:
        """The tensor whose rows these stand for, each nested as ``shape``; None where none does. Raises NotPlain."""
        if len(raws) > len(self.arrays):
            return None
        rows = [row for raw in raws if (row := self.tensor(raw, datatype, shape)) is not None]
        if not rows:
            return None
        if len(rows) < len(raws) or any(row.shape != rows[0].shape for row in rows) or sum(row.size for row in rows) > self.most:
            raise NotPlain
        return np.stack(rows) if len(rows) > 1 else rows[0][np.newaxis]

    def check_used(self) -> None:
        """Raises NotPlain where one of the arrays was not asked for: nobody has looked whether it is JSON."""
        if self.arrays:
            raise NotPlain


def _behind(text: bytes, start: int) -> int:
    """What is behind an array of numbers that starts there: the next member's quote, or the end of the object."""
    quote = text.find(b'"', start)
    quote = len(text) if quote < 0 else quote
    brace = text.find(b"}", start, quote)
    return quote if brace < 0 else brace
