from __future__ import annotations

import numpy as np
import pytest

from models.tensor import DATATYPES, DTYPES, FLOATS, INTEGERS, TensorSpec


def test_every_datatype_has_its_own_dtype_and_leads_back() -> None:
    assert {DATATYPES[dtype] for dtype in DTYPES.values()} == set(DTYPES)
    assert len(DATATYPES) == len(DTYPES)


def test_integers_and_floats_are_known_datatypes() -> None:
    assert set(DTYPES) - INTEGERS - FLOATS == {"BOOL", "BYTES"}


def test_a_spec_keeps_its_shape_as_a_tuple_of_plain_ints() -> None:
    shape = TensorSpec("x", "FP32", np.array([-1, 3])).shape  # type: ignore[arg-type]  # as a runtime may give it
    assert shape == (-1, 3)
    assert {type(dim) for dim in shape} == {int}


def test_features_have_as_many_names_as_there_are_each_its_own() -> None:
    assert TensorSpec("x", "FP64", [-1, 2], feature_names=["a", "b"]).feature_names == ("a", "b")
    for names, told in (
        (["a"], r"1 feature_names and shape \[-1, 2\]"),
        (["a", "a"], "two features named 'a'"),
        (["a", ""], "expected a list of strings"),
        ("ab", "expected a list of strings"),
    ):
        with pytest.raises(ValueError, match=told):
            TensorSpec("x", "FP64", [-1, 2], feature_names=names)


def test_only_a_tensor_of_floats_can_say_that_a_value_is_missing() -> None:
    assert TensorSpec("x", "FP32", [-1], missing=True).missing
    with pytest.raises(ValueError, match="INT64, which has no NaN"):
        TensorSpec("x", "INT64", [-1], missing=True)


@pytest.mark.parametrize(
    ("name", "datatype", "shape", "told"),
    [
        ("x", "FLOAT", [-1], "datatype 'FLOAT'; expected one of BOOL"),
        ("x", "FP32", [-2], r"shape \[-2\]; a dim is at least 0"),
        ("x", "FP32", ["n"], "expected whole numbers"),
        ("x", "FP32", [1.5], "expected whole numbers"),
        ("x", "FP32", 3, "expected whole numbers"),
        ("", "FP32", [-1], "at least one character"),
        (None, "FP32", [-1], "at least one character"),
    ],
)
def test_a_spec_that_makes_no_sense_says_why(name: str, datatype: str, shape: list[int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TensorSpec(name, datatype, shape)
