"""Long JSON arrays of nothing but numbers, read into a tensor without a Python object for each number.

simdjson parses and numpy narrows, piece by piece: both hold the interpreter's lock, and between two pieces others may take it.
Nothing is judged here: what is not proven to be the tensor is NotPlain, and ``json_data`` takes or refuses it with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import prod
from operator import mul
from typing import Final, Literal, cast

import numpy as np
import simdjson

from models.tensor import DTYPES, INTEGERS, Array
from service.protocol.json_data import FP32_END

#: What is parsed at once (bytes of text): simdjson takes some 15 times as much for its tables, and the lock for half a millisecond.
PIECE: Final = 256 * 1024
#: So many characters an array has at least, on average; of shorter rows lists are made as fast.
_LEAST_ROW: Final = 8
_MOST_COUNTED: Final = 0xFFFFFF  # simdjson counts an array's elements no further
_MOST_DIMS: Final = 64  # what numpy can hold
_BLANK: Final = b" \t\r\n"
_CLOSE: Final = ord("]")
#: As what simdjson gives numbers, by the datatype that is made of them. None for what JSON has no numbers for, or not all of them.
_WIDE: Final[dict[str, tuple[Literal["d", "i", "u"], type]]] = {
    "FP32": ("d", np.float64),
    "FP64": ("d", np.float64),
    **dict.fromkeys(INTEGERS, ("i", np.int64)),
    "UINT64": ("u", np.uint64),
}


class NotPlain(Exception):
    """The text may be a tensor or none; it has to be read number by number."""


def read(text: bytes, datatype: str, shape: Sequence[int]) -> Array:
    """The tensor that a JSON array says which is nested as ``shape``; a first dim of -1 is free. Raises NotPlain."""
    wide = _WIDE.get(datatype)
    if wide is None or not 1 <= len(shape) <= _MOST_DIMS or shape[0] < -1 or min(shape[1:], default=1) < 1:
        raise NotPlain
    kind, dtype = wide
    parser = simdjson.Parser()
    parts: list[Array] = []
    try:
        for piece, dims in _pieces(text, shape):
            array = cast(simdjson.Array, parser.parse(piece))
            if dims:
                _check(array, dims)
            elif not len(array):  # it would hide a comma too many
                raise NotPlain
            parts.append(_narrowed(np.frombuffer(array.as_buffer(of_type=kind), dtype), datatype))
            del array  # the parser takes no other text while one of its arrays is alive
    except (ValueError, TypeError, RuntimeError):  # not JSON, not a number, not one of that kind, an integer beyond 64 bits
        raise NotPlain from None
    if not parts:
        raise NotPlain
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
    row = prod(shape[1:])
    rows = whole.size // row if shape[0] < 0 else shape[0]
    if rows * row != whole.size:
        raise NotPlain
    return whole.reshape(rows, *shape[1:])


def _pieces(text: bytes, shape: Sequence[int]) -> Iterator[tuple[bytes, Sequence[int]]]:
    """Shorter arrays that hold the same numbers in order, and, of those that have rows, the shape.

    Where they are JSON of these shapes, the text is JSON of its own: what is between them is told here, and no bracket is left that
    could be within a row, since a list has its own two alone, and a list of lists as many as its rows need.
    """
    if not (text.startswith(b"[") and text.endswith(b"]")):
        raise NotPlain
    view = memoryview(text)
    if len(shape) == 1:
        if text.find(b"[", 1) >= 0:
            raise NotPlain
        start, last = 1, len(text) - 1
        while start <= last:
            stop = text.find(b",", start + PIECE, last)
            stop = last if stop < 0 else stop
            yield b"".join((b"[", view[start:stop], b"]")), ()
            start = stop + 1
        return
    closes = None if shape[0] == 1 else _closes(text)
    # Arrays in an outermost element, itself one of them.
    each = sum(accumulate(shape[1:-1], mul, initial=1))
    count = shape[0] if closes is None else (len(closes) - 1) // each
    if closes is None or count == 1:  # cut within the only element
        yield from _pieces(text[1:-1].strip(_BLANK), shape[1:])
        return
    if shape[0] not in (-1, count) or count * each != len(closes) - 1 or max(shape) >= _MOST_COUNTED:
        raise NotPlain
    ends = closes[each - 1 : -1 : each]
    step = max(1, PIECE * count // len(text))
    start = 1
    for first in range(0, count, step):
        taken = min(step, count - first)
        end = int(ends[first + taken - 1]) + 1
        yield b"".join((b"[", view[start:end], b"]")), (taken, *shape[1:])
        start = len(text) if first + taken == count else text.find(b",", end) + 1
        if text[end : start - 1].strip(_BLANK) or not start:
            raise NotPlain


def _closes(text: bytes) -> Array:
    """Where the closing brackets are. Raises NotPlain where there are many."""
    octets = np.frombuffer(text, np.uint8)
    parts: list[Array] = []
    left = len(text) // _LEAST_ROW
    for start in range(0, len(text), PIECE):
        part = np.flatnonzero(octets[start : start + PIECE] == _CLOSE)
        left -= len(part)
        if left < 0:
            raise NotPlain
        parts.append(part + start)
    return np.concatenate(parts)


def _check(array: simdjson.Array, shape: Sequence[int]) -> None:
    """Raises NotPlain, or TypeError, where an array down to the rows has another length; what the rows hold is not looked at."""
    if len(array) != shape[0]:
        raise NotPlain
    inner = cast(Sequence[simdjson.Array], array)
    if len(shape) == 2:
        width = shape[1]
        for row in inner:
            if len(row) != width:
                raise NotPlain
    else:
        for part in inner:
            _check(part, shape[1:])


def _narrowed(wide: Array, datatype: str) -> Array:
    """The numbers in their own datatype. Raises NotPlain where one is beyond it."""
    dtype = DTYPES[datatype]
    if wide.dtype == dtype:
        return wide
    if datatype == "FP32":
        if not (wide.max() < FP32_END and wide.min() > -FP32_END):
            raise NotPlain
    else:
        bounds = np.iinfo(dtype)
        if wide.min() < bounds.min or wide.max() > bounds.max:
            raise NotPlain
    return wide.astype(dtype)
