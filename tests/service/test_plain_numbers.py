"""Long arrays of numbers are the tensors that the decoder of every form makes of them, to the bit, or are left to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import Array, InvalidInput
from models.tensor import DTYPES, INTEGERS
from service.errors import BadRequest
from service.protocol import plain_numbers
from service.protocol.json_data import encode_array, to_array
from service.protocol.plain_numbers import NotPlain, read

READ = sorted(INTEGERS | {"FP32", "FP64"})
INTEGER = (
    st.integers(-(2**66), 2**66)
    | st.sampled_from([2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), 2**53 + 1, 255, 256])
    | st.integers(-9, 300)
)
FLOAT = st.floats(allow_nan=False, allow_infinity=False) | st.floats(width=32, allow_nan=False, allow_infinity=False)
DIGITS = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
NUMBER = INTEGER.map(str) | FLOAT.map(repr) | DIGITS
ODD = st.sampled_from(
    [
        "",
        "null",
        "true",
        '"1"',
        "NaN",
        "Infinity",
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "[]",
        "[1]",
        "[1",
        "1]",
        "{}",
        "1 2",
        "1,",
        "\v1",
        "\x00",
        "\ufeff1",
        "-0",
        "-0.0",
        "1e400",
        "9" * 400,
    ]
)
BLANK = st.sampled_from(["", "", "", " ", "\n  ", "\t", "\r\n"])


@pytest.fixture(autouse=True, params=[7, 256 * 1024], ids=["many pieces", "one piece"])
def _piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_numbers, "PIECE", request.param)


def judged(text: bytes, datatype: str, shape: Sequence[int] | None) -> Array | None:
    """What the decoder of every form makes of it; None where it refuses."""
    with suppress(InvalidInput, BadRequest):
        return to_array(text, datatype, shape, "data")
    return None


def same(one: Array, other: Array | None) -> bool:
    return other is not None and one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def nested(numbers: Iterator[str], shape: Sequence[int], blank: str, comma: str = ",") -> str:
    inner = (
        [nested(numbers, shape[1:], blank, comma) for _ in range(shape[0])]
        if shape[1:]
        else [next(numbers) for _ in range(shape[0])]
    )
    return f"[{blank}{(comma + blank).join(inner)}{blank}]"


@st.composite
def texts(draw: st.DrawFn, number: st.SearchStrategy[str]) -> tuple[bytes, list[int]]:
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    numbers = draw(st.lists(number, min_size=prod(shape), max_size=prod(shape)))
    return nested(iter(numbers), shape, draw(BLANK)).encode(), shape


@settings(deadline=None)
@given(texts(NUMBER | INTEGER.map(str) | FLOAT.map(repr)), st.sampled_from(READ), st.booleans())
def test_a_text_of_numbers_is_the_same_tensor_to_the_bit(case: tuple[bytes, list[int]], datatype: str, free: bool) -> None:
    text, shape = case
    with suppress(NotPlain):
        assert same(read(text, datatype, [-1, *shape[1:]] if free else shape), judged(text, datatype, shape))


@settings(deadline=None)
@given(texts(NUMBER | ODD), st.sampled_from(READ), st.lists(st.integers(-1, 4), min_size=1, max_size=4), st.booleans())
def test_what_is_no_such_tensor_is_never_taken(
    case: tuple[bytes, list[int]], datatype: str, other: list[int], its_own: bool
) -> None:
    text, shape = case
    asked = shape if its_own else other
    with suppress(NotPlain):
        array = read(text, datatype, asked)
        assert same(array, judged(text, datatype, None))
        assert list(array.shape) == asked or (asked[0] == -1 and list(array.shape[1:]) == asked[1:])


@settings(deadline=None)
@given(texts(NUMBER), st.data(), st.sampled_from(READ))
def test_a_text_with_pieces_moved_about_is_never_taken_for_another(
    case: tuple[bytes, list[int]], data: st.DataObject, datatype: str
) -> None:
    text, shape = case
    for _ in range(data.draw(st.integers(1, 3))):
        at, end = sorted((data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))))
        put = data.draw(
            st.sampled_from([b"", b"[", b"]", b",", b"],[", b"[]", b"1", b",1", b"],", b"[[", b"]]", b"[],"])
            | st.just(text[at:end])
        )
        text = text[:at] + put + text[data.draw(st.sampled_from([at, end])) :]
    with suppress(NotPlain):
        assert same(read(text, datatype, shape), judged(text, datatype, None))


@pytest.mark.parametrize("datatype", READ)
@pytest.mark.parametrize("shape", [[64], [8, 8], [1, 64], [1, 1, 64], [2, 4, 8], [1, 3, 5, 8], [3, 1, 8]])
@pytest.mark.parametrize("free", [False, True])
def test_what_is_plain_is_read(datatype: str, shape: list[int], free: bool) -> None:
    whole = np.arange(prod(shape)).reshape(shape) % 100 + 0.25 * (datatype[0] == "F")
    array = whole.astype(DTYPES[datatype])
    asked = [-1, *shape[1:]] if free else shape
    for text in (encode_array(array, "x"), json.dumps(array.tolist()).encode(), json.dumps(array.tolist(), indent=1).encode()):
        assert same(read(text, datatype, asked), array)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("[1,2]", [3]),
        ("[1,2]", [2, 1]),
        ("[1,[2],3]", [3]),
        ("[[[],1000],[[2000,3000],4000]]", [2, 2]),
        ("[[[],1000000],[[2000000,3000000],4000000],[5000000,6000000]]", [3, 2]),
        ("[[1000000,2000000],[3000000]]", [2, 2]),
        ("[[1000000,2000000,3000000],[4000000]]", [2, 2]),
        ("[[1000000,2000000] [3000000,4000000]]", [2, 2]),
        ("[[1000000,2000000]1,[3000000,4000000]]", [2, 2]),
        ("[1[1000000,2000000],[3000000,4000000]]", [2, 2]),
        ("[[1000000,2000000],[3000000,4000000]1]", [2, 2]),
        ("[[1000000,2000000],[3000000,4000000],]", [2, 2]),
        ("[[1000000,2000000]]", [1, 2, 1]),
        ("[1,2,]", [2]),
        ("[,1,2]", [2]),
        ("[1,,2]", [2]),
        ("[]", [-1]),
        ("[", [-1]),
        ("1", [1]),
        ("[1]", []),
        ("[1]", [0]),
        ("[[1]]", [1] * 65),
    ],
)
def test_what_is_not_plain_is_left(text: str, shape: list[int]) -> None:
    with pytest.raises(NotPlain):
        read(text.encode(), "FP64", shape)


@pytest.mark.parametrize("datatype", sorted(set(DTYPES) - set(READ)))
def test_other_datatypes_are_left(datatype: str) -> None:
    with pytest.raises(NotPlain):
        read(b"[1,2]", datatype, [2])


@pytest.mark.parametrize(
    ("datatype", "value"), [("INT64", 2**63 - 1), ("INT64", -(2**63)), ("UINT64", 2**64 - 1), ("INT64", 2**53 + 1)]
)
def test_large_integers_are_exact(datatype: str, value: Any) -> None:
    assert read(b"[1,%d]" % value, datatype, [2])[1] == value
