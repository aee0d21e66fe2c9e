"""What answers are kept under: all that they depend on, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models import Array
from service.cache.key import Keys

KEYS = Keys("m", "1", "files")
NUMBERS = arrays.arrays(
    st.sampled_from([np.dtype(name) for name in ("?", "i1", "u1", "<i4", "<i8", "<f4", "<f8")]),
    arrays.array_shapes(max_dims=3, max_side=3, min_side=0),
)


def same(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@given(NUMBERS, NUMBERS)
def test_two_inputs_share_a_key_where_datatype_shape_and_bytes_are_the_same_and_nowhere_else(one: Array, other: Array) -> None:
    assert (KEYS.key({"x": one}, ()) == KEYS.key({"x": other}, ())) == same(one, other)


@given(st.lists(st.binary(max_size=3), max_size=4), st.lists(st.binary(max_size=3), max_size=4))
def test_texts_share_a_key_where_they_are_divided_alike(one: list[bytes], other: list[bytes]) -> None:
    first, second = np.array([*one, None], object)[:-1], np.array([*other, None], object)[:-1]
    assert (KEYS.key({"x": first}, ()) == KEYS.key({"x": second}, ())) == (one == other)


def test_ten_thousand_elements_that_differ_in_the_middle_have_two_keys() -> None:
    one = np.zeros((1, 10_000), np.float32)
    other = one.copy()
    other[0, 5_000] = 1.0
    assert KEYS.key({"x": one}, ()) != KEYS.key({"x": other}, ())


def test_a_missing_value_is_neither_0_nor_any_other() -> None:
    rows = [np.array([[1.0, value]]) for value in (np.nan, 0.0, -0.0, np.inf)]
    assert len({KEYS.key({"x": row}, ()) for row in rows}) == 4
    assert KEYS.key({"x": rows[0]}, ()) == KEYS.key({"x": np.array([[1.0, None]], np.float64)}, ())


@pytest.mark.parametrize(
    "keys", [Keys("n", "1", "files"), Keys("m", "2", "files"), Keys("m", "1", "others"), Keys("m1", "", "files")]
)
def test_another_model_version_or_file_has_other_keys(keys: Keys) -> None:
    assert keys.key({"x": np.zeros(1)}, ()) != KEYS.key({"x": np.zeros(1)}, ())


def test_which_outputs_are_asked_for_counts_and_the_order_of_inputs_does_not() -> None:
    a, b = np.zeros(1), np.ones(1)
    assert KEYS.key({"a": a, "b": b}, ("y",)) == KEYS.key({"b": b, "a": a}, ("y",))
    assert len({KEYS.key({"a": a}, outputs) for outputs in ((), ("y",), ("y", "z"), ("z", "y"), ("yz",))}) == 5
    assert KEYS.key({"a": a, "b": b}, ()) != KEYS.key({"a": b, "b": a}, ())


def test_a_view_has_the_key_of_what_it_shows() -> None:
    whole = np.arange(12.0).reshape(3, 4)
    assert KEYS.key({"x": whole[:, ::2]}, ()) == KEYS.key({"x": whole[:, ::2].copy()}, ())
