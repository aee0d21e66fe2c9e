"""Raw tensors are read and written byte for byte, and every byte is accounted for."""

from __future__ import annotations

import struct
from contextlib import suppress
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import Array, InferenceError, InvalidInput, TensorSpec
from models.tensor import DTYPES
from service.errors import BadRequest
from service.protocol.binary import from_binary, from_body, to_binary

PATH = "inputs[0]"
SHAPES = st.lists(st.integers(0, 4), max_size=4)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, list[int], bytes]:
    """A datatype, a shape and the bytes of such a tensor, which may hold any pattern."""
    datatype, shape = draw(st.sampled_from(sorted(DTYPES))), draw(SHAPES)
    count = prod(shape)
    if datatype == "BYTES":
        parts = draw(st.lists(st.binary(max_size=20), min_size=count, max_size=count))
        return datatype, shape, b"".join(struct.pack("<I", len(part)) + part for part in parts)
    size = count * DTYPES[datatype].itemsize
    if datatype == "BOOL":
        return datatype, shape, bytes(draw(st.lists(st.sampled_from([0, 1]), min_size=size, max_size=size)))
    return datatype, shape, draw(st.binary(min_size=size, max_size=size))


def read(data: bytes, datatype: str, shape: list[int]) -> Array:
    return from_binary(memoryview(data), datatype, shape, PATH)


def problem(data: bytes, datatype: str, shape: list[int]) -> tuple[str, str, str]:
    with pytest.raises(InvalidInput) as caught:
        read(data, datatype, shape)
    (found,) = caught.value.problems
    return found.path, found.expected, found.got


@given(tensors())
def test_what_is_read_is_written_back_byte_for_byte(tensor: tuple[str, list[int], bytes]) -> None:
    datatype, shape, data = tensor
    array = read(data, datatype, shape)
    assert (array.dtype, list(array.shape)) == (DTYPES[datatype], shape)
    assert to_binary(array, "x") == data


@given(tensors())
def test_the_place_within_the_body_does_not_matter(tensor: tuple[str, list[int], bytes]) -> None:
    datatype, shape, data = tensor
    for offset in range(1, 9):
        array = from_binary(memoryview(bytes(offset) + data)[offset:], datatype, shape, PATH)
        assert to_binary(array, "x") == data


@given(tensors(), st.binary(min_size=1, max_size=9))
def test_bytes_too_many_or_too_few_are_refused(tensor: tuple[str, list[int], bytes], extra: bytes) -> None:
    datatype, shape, data = tensor
    with pytest.raises(InvalidInput):
        read(data + extra, datatype, shape)
    if data:
        with pytest.raises(InvalidInput):
            read(data[:-1], datatype, shape)


@given(st.binary(), st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 2**63 - 1), max_size=3))
def test_arbitrary_bytes_are_a_tensor_or_refused(data: bytes, datatype: str, shape: list[int]) -> None:
    with suppress(InvalidInput):
        read(data, datatype, shape)


def test_elements_are_little_endian() -> None:
    assert read(b"\x01\x00\x00\x00\x00\x01\x00\x00", "INT32", [2]).tolist() == [1, 256]
    assert to_binary(np.array([1, 256], ">i4"), "x") == b"\x01\x00\x00\x00\x00\x01\x00\x00"


def test_rows_come_first_whatever_the_order_in_memory() -> None:
    assert to_binary(np.array([[1, 2], [3, 4]], np.uint8).T, "x") == b"\x01\x03\x02\x04"


@pytest.mark.parametrize("offset", [0, 1, 4])
def test_the_tensor_is_the_bodys_own_bytes_aligned_or_not(offset: int) -> None:
    body = memoryview(bytes(offset) + np.arange(8, dtype=np.float32).tobytes())
    array = from_binary(body[offset:], "FP32", [2, 4], PATH)
    assert np.shares_memory(array, np.frombuffer(body, np.uint8))
    assert array.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_wrong_size_names_both_numbers() -> None:
    assert problem(bytes(12), "FP32", [2, 2]) == (f"{PATH}.parameters.binary_data_size", "16 for FP32 [2, 2]", "12")


def test_a_bool_is_a_byte_of_0_or_1() -> None:
    assert problem(b"\x00\x01\x02", "BOOL", [3]) == (f"{PATH}.data[2]", "a byte of 0 or 1", "2")


def test_an_element_that_runs_past_the_data_is_named() -> None:
    element = struct.pack("<I", 1) + b"a"
    assert problem(element + b"\x01\x00", "BYTES", [2]) == (f"{PATH}.data[1]", "4 bytes", "2 bytes")
    assert problem(element + struct.pack("<I", 9) + b"a", "BYTES", [2]) == (f"{PATH}.data[1]", "9 bytes", "1 bytes")
    assert problem(element, "BYTES", [2]) == (f"{PATH}.data", "2", "1")


@pytest.mark.parametrize("shape", [[0, 2**62, 2**62], [1] * 65])
def test_a_shape_that_no_array_has_is_refused(shape: list[int]) -> None:
    assert problem(b"", "FP32", shape)[0] == f"{PATH}.shape"


def test_objects_other_than_bytes_are_the_models_fault() -> None:
    with pytest.raises(InferenceError, match="Output x holds int where bytes are expected"):
        to_binary(np.array([3], object), "x")


@given(st.integers(0, 4))
def test_a_raw_body_fills_the_free_dim(rows: int) -> None:
    data = np.arange(rows * 6, dtype=np.int16)
    array = from_body(data.tobytes(), TensorSpec("x", "INT16", [2, -1, 3] if rows % 2 == 0 else [-1, 6]))
    assert array.ravel().tolist() == data.tolist()


def test_a_raw_body_is_one_element_of_bytes() -> None:
    array = from_body(b"\x89PNG", TensorSpec("x", "BYTES", [-1, 1]))
    assert array.tolist() == [[b"\x89PNG"]]


@pytest.mark.parametrize("spec", [TensorSpec("x", "FP32", [-1, -1]), TensorSpec("x", "BYTES", [-1, 2])])
def test_a_raw_body_cannot_say_the_shape_of_every_tensor(spec: TensorSpec) -> None:
    with pytest.raises(BadRequest, match="send the JSON form"):
        from_body(bytes(8), spec)


@pytest.mark.parametrize("shape", [[-1, 3], [2, 3], [-1, 0]])
def test_a_raw_body_must_be_whole_rows(shape: list[int]) -> None:
    with pytest.raises(InvalidInput, match="bytes"):
        from_body(bytes(16), TensorSpec("x", "FP32", shape))
