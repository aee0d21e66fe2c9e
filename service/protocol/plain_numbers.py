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
_LONG_ROW: Final = 128  # where the brackets are farther apart, on average, they are quickest found one by one
_MOST_COUNTED: Final = 0xFFFFFF  # simdjson counts an array's elements no further
_MOST_DIMS: Final = 64  # what numpy can hold
_BLANK: Final = b" \t\r\n"
_OPEN, _CLOSE, _COMMA = b"[],"
#: As what simdjson gives numbers, by the datatype that is made of them. None for what JSON has no numbers for, or not all of them.
_WIDE: Final[dict[str, tuple[Literal["d", "i", "u"], type]]] = {
    "FP32": ("d", np.float64),
    "FP64": ("d", np.float64),
    **dict.fromkeys(INTEGERS, ("i", np.int64)),
    "UINT64": ("u", np.uint64),
}


class NotPlain(Exception):
    """The text may be a tensor or none; it has to be read number by number."""


def read(text: bytes, datatype: str, shape: Sequence[int], start: int = 0, end: int | None = None) -> Array:
    """The tensor that a JSON array says which lies between ``start`` and ``end`` and is nested as ``shape``; a first dim of -1 is
    free. Raises NotPlain."""
    end = len(text) if end is None else end
    wide = _WIDE.get(datatype)
    if wide is None or not 1 <= len(shape) <= _MOST_DIMS or shape[0] < -1 or min(shape[1:], default=1) < 1:
        raise NotPlain
    if end - start < 2 or text[start] != _OPEN or text[end - 1] != _CLOSE:
        raise NotPlain
    kind, dtype = wide
    pieces = _pieces_of_list(text, start, end) if len(shape) == 1 else _pieces(text, start, end, shape, _closes(text, start, end))
    parser = simdjson.Parser()
    parts: list[Array] = []
    try:
        for piece, dims in pieces:
            array = cast(simdjson.Array, parser.parse(piece))
            if dims:
                _check(array, dims)
            elif not len(array):  # it would hide a comma too many
                raise NotPlain
            parts.append(_narrowed(np.frombuffer(array.as_buffer(of_type=kind), dtype), datatype))
            del array  # the parser takes no other text while one of its arrays is alive
    except (ValueError, TypeError, RuntimeError):  # not JSON, not a number, not one of that kind, an integer beyond 64 bits
        raise NotPlain from None
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
    row = prod(shape[1:])
    rows = whole.size // row if shape[0] < 0 else shape[0]
    if rows * row != whole.size:
        raise NotPlain
    return whole.reshape(rows, *shape[1:])


# The pieces are shorter arrays that hold the same numbers in order. Where each is JSON, and those with dims are nested so, the text
# is JSON too: what lies between them is checked here, and no bracket is left that could be within a row, since a list has none but
# its own two, and a list of lists has as many as its rows need.


def _pieces_of_list(text: bytes, start: int, end: int) -> Iterator[tuple[bytes, Sequence[int]]]:
    """A list, cut at commas."""
    if text.find(b"[", start + 1, end) >= 0:
        raise NotPlain
    view = memoryview(text)
    start, end = start + 1, end - 1
    while start <= end:
        stop = text.find(b",", start + PIECE, end)
        stop = end if stop < 0 else stop
        yield b"".join((b"[", view[start:stop], b"]")), ()
        start = stop + 1


def _pieces(
    text: bytes, start: int, end: int, shape: Sequence[int], closes: Sequence[int] | Array
) -> Iterator[tuple[bytes, Sequence[int]]]:
    """A list of lists, cut between its elements, and within those that are long."""
    each = sum(accumulate(shape[1:-1], mul, initial=1))  # arrays in an outermost element, itself one of them
    count = shape[0] if shape[0] >= 0 else (len(closes) - 1) // each
    if not count or count * each != len(closes) - 1 or max(shape) >= _MOST_COUNTED:
        raise NotPlain
    step = PIECE * count // (end - start)
    between, at = b"", start + 1
    for first in range(0, count, step or 1):
        taken = min(step or 1, count - first)
        begin, last = text.find(b"[", at, end), int(closes[(first + taken) * each - 1]) + 1
        if text[at:begin].strip(_BLANK) != between or begin < 0:
            raise NotPlain
        if step:
            yield b"".join((b"[", memoryview(text)[begin:last], b"]")), (taken, *shape[1:])
        elif len(shape) > 2:
            yield from _pieces(text, begin, last, shape[1:], closes[first * each : (first + 1) * each])
        elif np.count_nonzero(np.frombuffer(text, np.uint8)[begin:last] == _COMMA) != shape[1] - 1:
            raise NotPlain
        else:
            yield from _pieces_of_list(text, begin, last)
        between, at = b",", last
    if text[at : end - 1].strip(_BLANK):
        raise NotPlain


def _closes(text: bytes, start: int, end: int) -> Sequence[int] | Array:
    """Where the closing brackets are. Raises NotPlain where there are many."""
    found: list[int] = []
    close = text.find(b"]", start, end)
    while close >= 0 and len(found) * _LONG_ROW <= close - start:
        found.append(close)
        close = text.find(b"]", close + 1, end)
    if close < 0:
        return found
    octets = np.frombuffer(text, np.uint8)
    parts: list[Array] = []
    left = (end - start) // _LEAST_ROW
    for at in range(start, end, PIECE):
        part = np.flatnonzero(octets[at : min(at + PIECE, end)] == _CLOSE)
        left -= len(part)
        if left < 0:
            raise NotPlain
        parts.append(part + at)
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
