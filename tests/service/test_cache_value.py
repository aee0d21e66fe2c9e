"""What is kept of an answer."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models import Array
from models.tensor import DTYPES
from service.cache.value import Damaged, pack, unpack

NUMBERS = st.sampled_from([dtype for name, dtype in DTYPES.items() if name not in ("BYTES", "BF16")]).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(max_dims=3, max_side=4, min_side=0))
)
TEXTS = st.lists(st.binary(max_size=8), max_size=5).map(lambda items: np.array([*items, None], object)[:-1])
OUTPUTS = st.dictionaries(st.text(max_size=5), NUMBERS | TEXTS, max_size=3)


@given(OUTPUTS)
def test_what_was_kept_comes_back_as_it_was(outputs: dict[str, Array]) -> None:
    again = unpack(pack(outputs))
    assert list(again) == list(outputs)
    for name, array in outputs.items():
        assert (again[name].dtype, again[name].shape) == (array.dtype, array.shape)
        assert again[name].tolist() == array.tolist() or again[name].tobytes() == array.tobytes()


@given(OUTPUTS, st.data())
def test_a_value_that_is_damaged_anywhere_is_found_out(outputs: dict[str, Array], data: st.DataObject) -> None:
    value = bytearray(pack(outputs))
    at = data.draw(st.integers(0, len(value) - 1))
    value[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Damaged):
        unpack(bytes(value))


@given(st.binary(max_size=60))
def test_what_never_was_a_value_is_damaged(value: bytes) -> None:
    with pytest.raises(Damaged):
        unpack(value)


@given(
    st.lists(
        st.tuples(
            st.text(max_size=3),
            st.sampled_from(sorted(DTYPES)) | st.text(max_size=5),
            st.lists(st.integers(-(2**63), 2**64 - 1), max_size=4),
            st.integers(-(2**63), 2**64 - 1),
        ),
        max_size=3,
    ),
    st.binary(max_size=16),
)
@example([("y", "FP32", [2**64 - 1], 4)], bytes(4))
@example([("y", "UINT8", [1], 2**64 - 1)], bytes(4))
@example([("y", "FP32", [1], -4)], bytes(4))
def test_a_value_that_was_forged_raises_nothing_but_that_it_is_damaged(parts: list[object], data: bytes) -> None:
    head = msgspec.msgpack.encode(parts)
    body = head + data
    with suppress(Damaged):
        unpack(struct.pack("<II", zlib.crc32(body), len(head)) + body)


def test_bfloat16_comes_back_as_bfloat16() -> None:
    array = np.array([1.5, -2.0], DTYPES["BF16"])
    assert unpack(pack({"y": array}))["y"].dtype == DTYPES["BF16"]


def test_numbers_that_were_kept_cannot_be_written_to_and_do_not_hold_their_batch() -> None:
    batch = np.zeros((1000, 4), np.float32)
    (array,) = unpack(pack({"y": batch[:1]})).values()
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1.0
