"""JSON arrays become the tensors that they say, or an error that names the place."""

from __future__ import annotations

import json
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import Array, InferenceError, InvalidInput
from models.tensor import DTYPES, FLOATS, INTEGERS
from service.errors import BadRequest, NotFinite
from service.protocol.json_data import encode_array, to_array

PATH = "inputs[0].data"


def values(datatype: str) -> st.SearchStrategy[Any]:
    """Values that JSON can say of a datatype."""
    if datatype == "BOOL":
        return st.booleans()
    if datatype == "BYTES":
        return st.text()
    if datatype in INTEGERS:
        return st.integers(int(np.iinfo(DTYPES[datatype]).min), int(np.iinfo(DTYPES[datatype]).max))
    if datatype == "BF16":
        return st.floats(width=16, allow_nan=False, allow_infinity=False)
    width: Any = DTYPES[datatype].itemsize * 8  # 32 or 64
    return st.floats(width=width, allow_nan=False, allow_infinity=False)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, list[int], list[Any]]:
    datatype = draw(st.sampled_from(sorted(DTYPES)))
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    return datatype, shape, draw(st.lists(values(datatype), min_size=prod(shape), max_size=prod(shape)))


def nested(flat: list[Any], shape: list[int]) -> Any:
    """The list cut into lists of lists, as the shape says."""
    if not shape:
        return flat[0]
    step = prod(shape[1:])
    return [nested(flat[index * step : (index + 1) * step], shape[1:]) for index in range(shape[0])]


def expected(datatype: str, shape: list[int], flat: list[Any]) -> Array:
    array = np.empty(len(flat), DTYPES[datatype])
    array[:] = [value.encode() for value in flat] if datatype == "BYTES" else flat
    return array.reshape(shape)


def same(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and repr(one.tolist()) == repr(other.tolist())


def problem(raw: bytes, datatype: str, shape: list[int] | None, **options: bool) -> tuple[str, str, str]:
    with pytest.raises(InvalidInput) as caught:
        to_array(raw, datatype, shape, PATH, **options)
    (found,) = caught.value.problems
    return found.path, found.expected, found.got


@given(tensors())
def test_flat_data_is_the_tensor(tensor: tuple[str, list[int], list[Any]]) -> None:
    datatype, shape, flat = tensor
    assert same(to_array(json.dumps(flat).encode(), datatype, shape, PATH), expected(datatype, shape, flat))


@given(tensors())
def test_nested_data_is_the_same_tensor(tensor: tuple[str, list[int], list[Any]]) -> None:
    datatype, shape, flat = tensor
    if not shape or 0 in shape[:-1]:
        return  # nesting cannot say what lies within a dim of 0
    assert same(to_array(json.dumps(nested(flat, shape)).encode(), datatype, shape, PATH), expected(datatype, shape, flat))


@given(tensors())
def test_a_shape_is_read_from_the_nesting(tensor: tuple[str, list[int], list[Any]]) -> None:
    datatype, shape, flat = tensor
    if 0 in shape[:-1]:
        return
    assert same(to_array(json.dumps(nested(flat, shape)).encode(), datatype, None, PATH), expected(datatype, shape, flat))


@given(tensors())
def test_what_is_written_reads_back_as_the_same_tensor(tensor: tuple[str, list[int], list[Any]]) -> None:
    datatype, shape, flat = tensor
    if 0 in shape[:-1]:
        return
    array = expected(datatype, shape, flat)
    assert same(to_array(encode_array(array, "x"), datatype, None, PATH), array)
    assert same(to_array(encode_array(array.copy(order="F"), "x"), datatype, None, PATH), array)


@given(st.binary(), st.sampled_from(sorted(DTYPES)), st.none() | st.lists(st.integers(0, 2**70), max_size=3), st.booleans())
def test_arbitrary_bytes_are_a_tensor_or_refused(raw: bytes, datatype: str, shape: list[int] | None, spelled: bool) -> None:
    with suppress(BadRequest, InvalidInput):
        to_array(raw, datatype, shape, PATH, non_finite=spelled)


@given(tensors(), st.data())
def test_null_is_nan_in_floats_that_may_be_missing_flat_or_nested(
    tensor: tuple[str, list[int], list[Any]], data: st.DataObject
) -> None:
    datatype, shape, flat = tensor
    if datatype not in FLOATS or not flat or not shape:
        return
    sent = [None if data.draw(st.booleans()) else value for value in flat]
    array = expected(datatype, shape, [float("nan") if value is None else value for value in sent])
    for text, told in ((sent, shape), (nested(sent, shape), shape), (nested(sent, shape), None)):
        for spelled in (False, True):
            assert same(to_array(json.dumps(text).encode(), datatype, told, PATH, missing=True, non_finite=spelled), array)


@pytest.mark.parametrize("datatype", sorted(set(DTYPES) - FLOATS))
def test_null_is_no_value_of_what_has_no_nan(datatype: str) -> None:
    assert problem(b"[null]", datatype, [1], missing=True) == (f"{PATH}[0]", problem(b"[null]", datatype, [1])[1], "null")


def test_null_stands_for_a_value_and_not_for_a_row() -> None:
    assert problem(b"[[1], null]", "FP64", None, missing=True) == (f"{PATH}[1]", "an array", "null")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, st.sampled_from(sorted(DTYPES)), st.none() | st.lists(st.integers(0, 3), max_size=3), st.booleans())
def test_arbitrary_json_is_a_tensor_or_refused(value: object, datatype: str, shape: list[int] | None, spelled: bool) -> None:
    with suppress(BadRequest, InvalidInput):
        to_array(json.dumps(value).encode(), datatype, shape, PATH, non_finite=spelled)


@pytest.mark.parametrize("datatype", sorted(INTEGERS))
def test_an_integer_out_of_range_is_named_with_its_range(datatype: str) -> None:
    least, most = int(np.iinfo(DTYPES[datatype]).min), int(np.iinfo(DTYPES[datatype]).max)
    for value in (least - 1, most + 1):
        found = problem(json.dumps([0, value]).encode(), datatype, [2])
        assert found == (f"{PATH}[1]", f"an integer from {least} to {most}", str(value))


@pytest.mark.parametrize("datatype", sorted(INTEGERS))
@pytest.mark.parametrize("value", [b"2.0", b"1e2", b"true", b"null", b'"1"', b"9" * 5000])
def test_only_integers_are_integers(datatype: str, value: bytes) -> None:
    assert problem(b"[1,%b]" % value, datatype, [2])[0] == f"{PATH}[1]"


@pytest.mark.parametrize("datatype", sorted(FLOATS))
@pytest.mark.parametrize("value", [b"true", b"null", b'"1"', b'"NaN"', b"1e400", b"-1e400", b"{}"])
def test_only_finite_numbers_are_floats(datatype: str, value: bytes) -> None:
    assert problem(b"[1,%b]" % value, datatype, [2])[0] == f"{PATH}[1]"


@pytest.mark.parametrize(("datatype", "value"), [("FP32", 3.4028236e38), ("FP32", 1e39), ("FP16", 65520.0), ("BF16", 3.4e38)])
def test_a_number_that_the_datatype_would_round_to_infinity_is_refused(datatype: str, value: float) -> None:
    for number in (value, -value):
        assert problem(json.dumps([0, number]).encode(), datatype, [2])[0] == f"{PATH}[1]"


@pytest.mark.parametrize(("datatype", "value"), [("FP32", 3.4028235e38), ("FP16", 65519.0), ("BF16", 3.38e38)])
def test_a_number_that_rounds_to_the_largest_is_taken(datatype: str, value: float) -> None:
    assert np.isfinite(to_array(json.dumps([value]).encode(), datatype, [1], PATH)).all()


def test_integers_are_floats_too() -> None:
    assert to_array(b"[1,-2]", "FP32", [2], PATH).tolist() == [1.0, -2.0]


def test_only_true_and_false_are_bool() -> None:
    assert problem(b"[true,1]", "BOOL", [2]) == (f"{PATH}[1]", "true or false", "1")


def test_only_strings_are_bytes() -> None:
    assert problem(b'["a",1]', "BYTES", [2]) == (f"{PATH}[1]", "a string", "1")


@pytest.mark.parametrize("raw", [b'["\xff"]', b'["\\ud800"]', b'["\xed\xa0\x80"]', b"[1,", b"", b"[NaN]", b"[01]"])
def test_what_is_not_json_in_utf8_is_a_bad_request(raw: bytes) -> None:
    with pytest.raises(BadRequest, match=r"inputs\[0\]\.data is not JSON"):
        to_array(raw, "BYTES" if b'"' in raw else "FP32", [1], PATH)


def test_a_shape_of_another_number_of_elements_is_refused_with_both_numbers() -> None:
    assert problem(b"[1,2,3]", "FP32", [2, 2]) == (PATH, "4 for [2, 2]", "3")


def test_nesting_that_is_not_the_shape_is_refused() -> None:
    assert problem(b"[[1,2,3],[4,5,6]]", "FP32", [3, 2]) == (PATH, "[3, 2]", "[2, 3]")
    assert problem(b"[[1,2]]", "FP32", [2]) == (PATH, "a flat list", "2 levels")
    assert problem(b"[[1,2]]", "FP32", [1, 1, 2])[2] == "2 levels"


def test_ragged_data_is_refused() -> None:
    assert problem(b"[[1],[2,3]]", "FP32", None) == (PATH, "rows of one length", "lengths 1 to 2")
    assert problem(b"[[1],2]", "FP32", [2, 1]) == (f"{PATH}[1]", "an array", "2")


def test_deep_nesting_is_refused() -> None:
    assert problem(b"[" * 200_000 + b"]" * 200_000, "FP32", None) == (PATH, "at most 64 levels", "200000 levels")


@pytest.mark.parametrize("shape", [[0, 2**62, 2**62], [0, 2**70], [2**40] * 3, [1] * 65, [3] * 100_000])
def test_a_shape_that_no_array_has_is_refused(shape: list[int]) -> None:
    assert problem(b"[]", "FP32", shape)[0] == PATH
    assert problem(b"[1]", "FP32", shape)[0] == PATH


def test_a_callers_text_is_repeated_in_part_only() -> None:
    assert len(problem(json.dumps(["x" * 10_000]).encode(), "FP32", [1])[2]) < 100


@pytest.mark.parametrize("datatype", sorted(FLOATS))
def test_non_finite_values_may_be_spelled_out_on_request(datatype: str) -> None:
    text = b'[["NaN","Infinity"],["-Infinity",1.0]]'
    array = to_array(text, datatype, [2, 2], PATH, non_finite=True)
    assert str(array.tolist()) == "[[nan, inf], [-inf, 1.0]]"
    assert encode_array(array, "x", non_finite=True) == text


def test_other_words_than_those_three_are_no_numbers() -> None:
    assert problem(b'["nan"]', "FP32", [1], non_finite=True)[0] == f"{PATH}[0]"
    assert problem(b'["NaN"]', "INT64", [1], non_finite=True)[0] == f"{PATH}[0]"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("datatype", sorted(FLOATS))
def test_json_cannot_say_nan_or_infinity(datatype: str, value: float) -> None:
    with pytest.raises(NotFinite, match=r"Output scores holds NaN or Infinity.*binary"):
        encode_array(np.array([1.0, value]).astype(DTYPES[datatype]), "scores")


def test_floats_are_written_as_short_as_they_read_back() -> None:
    assert encode_array(np.array([0.1, 1e-45], np.float32), "x") == b"[0.1,1e-45]"
    assert encode_array(np.array(0.1), "x") == b"0.1"


def test_the_other_byte_order_is_written_alike() -> None:
    assert encode_array(np.array([0.5, 2], ">f4"), "x") == b"[0.5,2.0]"


def test_bytes_that_are_not_utf8_must_be_asked_for_in_binary() -> None:
    with pytest.raises(BadRequest, match=r"Output raw holds bytes that are not UTF-8.*binary"):
        encode_array(np.array([b"\xff"], object), "raw")


@pytest.mark.parametrize("array", [np.array([1j]), np.array([3], object), np.array(["\ud800"], object)])
def test_what_no_datatype_is_counts_as_the_models_fault(array: Array) -> None:
    with pytest.raises(InferenceError, match=r"Output x"):
        encode_array(array, "x")
