"""When two answers say the same."""

from __future__ import annotations

import gzip
import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.capture.comparison import Body, differences

trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


def told(expected: Any, got: Any, tolerance: float = 1e-6) -> list[str]:
    return [str(found) for found in differences(expected, got, tolerance)]


@settings(deadline=None)
@given(trees)
def test_an_answer_is_equal_to_itself(tree: Any) -> None:
    assert told(tree, tree) == []


@settings(deadline=None)
@given(trees, trees)
def test_a_difference_is_one_both_ways(one: Any, other: Any) -> None:
    assert bool(told(one, other)) == bool(told(other, one))


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (1.0, 1.0 + 5e-7),
        (1e9, 1e9 + 100.0),
        (0.0, 9e-7),
        (1, 1.0),
        ({"request_id": "a", "model_version": "1"}, {"request_id": "b"}),
    ],
)
def test_within_the_tolerance_and_but_for_names_they_are_equal(expected: Any, got: Any) -> None:
    assert told(expected, got) == []


@pytest.mark.parametrize(
    ("expected", "got", "difference"),
    [
        (1.0, 1.00001, "the body: 1.0 then, 1.00001 now"),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, "a[0].b: 1 then, 2 now"),
        ({"a": 1}, {"b": 1}, "a: 1 then, nothing now"),
        ([1, 2], [1], "the body: 2 values then, 1 values now"),
        (1, True, "the body: 1 then, true now"),
        (float("nan"), 1.0, "the body: NaN then, 1.0 now"),
        (10**12, 10**12 + 1, f"the body: {10**12} then, {10**12 + 1} now"),
        ("x" * 200, "y", f'the body: "{"x" * 79}… then, "y" now'),
        ({"parameters": {"model_version": "1"}}, {"parameters": {}}, 'parameters.model_version: "1" then, nothing now'),
    ],
)
def test_a_difference_is_told_with_its_place(expected: Any, got: Any, difference: str) -> None:
    assert told(expected, got)[0] == difference


def test_a_coded_body_is_read() -> None:
    assert Body(gzip.compress(b'{"a": 1}'), {"content-encoding": "gzip"}).read() == {"a": 1}


def binary(*values: float, datatype: str = "FP32", kind: str = "f") -> Body:
    octets = struct.pack(f"<{len(values)}{kind}", *values)
    output = {"name": "y", "datatype": datatype, "shape": [len(values)], "parameters": {"binary_data_size": len(octets)}}
    header = json.dumps({"outputs": [output]}).encode()
    return Body(header + octets, {"inference-header-content-length": str(len(header))})


@pytest.mark.parametrize(("datatype", "kind"), [("FP16", "e"), ("FP32", "f"), ("FP64", "d")])
def test_binary_numbers_are_compared_as_numbers(datatype: str, kind: str) -> None:
    one, other = (binary(1.0, value, datatype=datatype, kind=kind).read() for value in (2.0, 3.0))
    assert told(one, other) == ["outputs[0].data[1]: 2.0 then, 3.0 now"]
    assert told(one, other, tolerance=0.5) == []


def test_other_binary_tensors_are_compared_as_bytes() -> None:
    one, other = (binary(value, datatype="INT32", kind="i").read() for value in (1, 2))
    assert told(one, other) == ["outputs[0].data: b'\\x01\\x00\\x00\\x00' then, b'\\x02\\x00\\x00\\x00' now"]


@settings(deadline=None)
@given(st.binary(max_size=60), st.sampled_from([{}, {"content-encoding": "gzip"}, {"inference-header-content-length": "2"}]))
def test_any_body_can_be_read(data: bytes, headers: dict[str, str]) -> None:
    Body(data, headers).read()
