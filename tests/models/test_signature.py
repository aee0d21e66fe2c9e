from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.signature import Signature
from models.tensor import DTYPES, Array, TensorSpec

ANSWER = (TensorSpec("y", "FP32", [-1]),)
VALUES: Mapping[str, list[object]] = {"BYTES": [b"", b"a", b"a\0"], "BOOL": [False, True], "": [0, 1, 2]}

datatypes = st.sampled_from(sorted(DTYPES))
trailing = st.lists(st.integers(-1, 2), max_size=2)


@st.composite
def specs(draw: st.DrawFn, name: str) -> TensorSpec:
    shape = [-1, *draw(trailing)]
    return TensorSpec(name, draw(datatypes), shape, draw(st.booleans()), draw(st.booleans()), draw(st.booleans()))


@st.composite
def arrays(draw: st.DrawFn, spec: TensorSpec, rows: int) -> Array:
    """An array that fits the spec, or very nearly."""
    datatype = spec.datatype if draw(st.integers(0, 3)) else draw(datatypes)
    shape = [rows if draw(st.integers(0, 9)) else rows + 1]
    shape += [draw(st.integers(0, 2)) if dim == -1 or not draw(st.integers(0, 9)) else dim for dim in spec.shape[1:]]
    if not draw(st.integers(0, 9)):
        shape = shape[1:]
    few = VALUES.get(datatype, VALUES[""])
    array = np.full(shape, draw(st.sampled_from(few)), DTYPES[datatype])
    if array.size and not draw(st.integers(0, 2)):
        array.flat[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from(few))
    return array


@st.composite
def requests(draw: st.DrawFn, signature: Signature) -> dict[str, Array]:
    rows = draw(st.integers(0, 3))
    chosen = [spec for spec in signature.inputs if draw(st.integers(0, 9)) and not (spec.optional and draw(st.booleans()))]
    return {spec.name: draw(arrays(spec, rows)) for spec in chosen}


@st.composite
def fitting(draw: st.DrawFn, signature: Signature) -> dict[str, Array]:
    """A request that fits by the way it is made."""
    rows = draw(st.integers(1, 3))
    chosen = [spec for spec in signature.inputs if not (spec.optional and draw(st.booleans()))] or list(signature.inputs[:1])
    inputs = {}
    for spec in chosen:
        castable = [name for name, dtype in DTYPES.items() if name != "BYTES" and np.can_cast(dtype, spec.dtype)]
        wide = spec.widens and spec.datatype != "BYTES"
        datatype = draw(st.sampled_from(castable)) if wide and draw(st.booleans()) else spec.datatype
        few = VALUES.get(datatype, VALUES[""])
        shape = [draw(st.integers(0, 2)) if dim == -1 else dim for dim in spec.shape[1:]]
        row = np.full([1, *shape], draw(st.sampled_from(few)), DTYPES[datatype])
        inputs[spec.name] = np.repeat(row, rows, axis=0)
        if row.size and not spec.uniform:
            inputs[spec.name].flat[-1] = few[-1]
    return inputs


signatures = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True).flatmap(
    lambda names: st.tuples(*(specs(name) for name in names)).map(lambda inputs: Signature(inputs, ANSWER))
)


def agree(array: Array) -> bool:
    parts = [array[index : index + 1] for index in range(len(array))]
    rows = [tuple(part.flat) if part.dtype == object else part.tobytes() for part in parts]
    return len(set(rows)) <= 1


def fits(signature: Signature, inputs: Mapping[str, Array]) -> bool:
    """The rules, written as plainly as can be."""
    lengths = set()
    for spec in signature.inputs:
        if spec.name not in inputs:
            if spec.optional:
                continue
            return False
        array = inputs[spec.name]
        widened = spec.widens and array.dtype != object and spec.datatype != "BYTES" and np.can_cast(array.dtype, spec.dtype)
        if array.dtype != spec.dtype and not widened:
            return False
        if array.ndim != len(spec.shape) or any(want not in (-1, dim) for want, dim in zip(spec.shape, array.shape, strict=True)):
            return False
        if spec.uniform and not agree(array):
            return False
        lengths.add(len(array))
    return len(lengths) == 1 and lengths != {0}


@given(st.data())
def test_check_takes_exactly_what_fits(data: st.DataObject) -> None:
    signature = data.draw(signatures)
    inputs = data.draw(requests(signature))
    if fits(signature, inputs):
        assert signature.check(inputs) == len(next(iter(inputs.values())))
    else:
        with pytest.raises(InvalidInput) as caught:
            signature.check(inputs)
        assert caught.value.problems[0].path.startswith("inputs")


@given(st.data())
def test_two_requests_are_of_one_group_just_when_stacked_they_are_a_request_without_conversion(data: st.DataObject) -> None:
    signature = data.draw(signatures)
    one, other = data.draw(fitting(signature)), data.draw(fitting(signature))
    assert fits(signature, one)
    assert fits(signature, other)
    stackable = one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and one[name].shape[1:] == other[name].shape[1:] for name in one
    )
    shares = stackable and fits(signature, {name: np.concatenate([one[name], other[name]]) for name in one})
    assert (signature.group(one) == signature.group(other)) == shares
    assert signature.group(one) == signature.group({name: one[name].copy() for name in reversed(one)})
    hash(signature.group(one))


@pytest.mark.parametrize("datatype", sorted(DTYPES))
def test_a_widening_fp64_takes_every_datatype_but_bytes(datatype: str) -> None:
    signature = Signature((TensorSpec("x", "FP64", [-1, 2], widens=True),), ANSWER)
    inputs = {"x": np.zeros((3, 2), DTYPES[datatype])}
    if datatype == "BYTES":
        with pytest.raises(InvalidInput, match=r"inputs.x.datatype: the datatype is not the model's \(expected FP64, got BYTES\)"):
            signature.check(inputs)
    else:
        assert signature.check(inputs) == 3


def test_requests_of_one_dense_input_share_a_group_and_widened_ones_do_by_datatype() -> None:
    plain = Signature((TensorSpec("x", "FP64", [-1, 2]),), ANSWER)
    wide = Signature((TensorSpec("x", "FP64", [-1, 2], widens=True),), ANSWER)
    double, single = {"x": np.zeros((1, 2))}, {"x": np.zeros((1, 2), np.float32)}
    assert plain.group(double) == plain.group({"x": np.ones((5, 2))})
    assert wide.group(double) == wide.group({"x": np.ones((5, 2))})
    assert wide.group(double) != wide.group(single)


def test_an_element_that_is_not_bytes_is_refused() -> None:
    signature = Signature((TensorSpec("x", "BYTES", [-1]),), ANSWER)
    assert signature.check({"x": np.array([b"a"], object)}) == 1
    with pytest.raises(InvalidInput, match=r"inputs.x.data: an element is not bytes \(expected BYTES, got str\)"):
        signature.check({"x": np.array([b"a", "b"], object)})


def test_foreign_byte_order_is_another_datatype() -> None:
    signature = Signature((TensorSpec("x", "FP64", [-1]),), ANSWER)
    with pytest.raises(InvalidInput, match="datatype"):
        signature.check({"x": np.zeros(1, np.dtype(np.float64).newbyteorder())})


def test_a_uniform_input_tells_zero_from_minus_zero_and_takes_nan() -> None:
    signature = Signature((TensorSpec("x", "FP32", [-1], uniform=True),), ANSWER)
    assert signature.check({"x": np.array([np.nan, np.nan], np.float32)}) == 2
    with pytest.raises(InvalidInput, match="the rows of one request must agree in this input"):
        signature.check({"x": np.array([0.0, -0.0], np.float32)})


def test_a_request_that_leaves_out_every_optional_input_has_no_rows() -> None:
    signature = Signature((TensorSpec("a", "FP32", [-1], optional=True), TensorSpec("b", "FP32", [-1], optional=True)), ANSWER)
    with pytest.raises(InvalidInput, match=r"an input is missing \(expected at least one of a, b, got none\)"):
        signature.check({})


def test_what_is_wrong_is_named_with_what_was_expected_and_what_came() -> None:
    signature = Signature((TensorSpec("a", "FP32", [-1, 2]), TensorSpec("b", "INT64", [-1])), ANSWER)
    a, b = np.zeros((1, 2), np.float32), np.zeros(1, np.int64)
    told: dict[str, dict[str, Array]] = {
        "inputs: the model has no such input (expected a or b, got c)": {"a": a, "b": b, "c": b},
        "inputs: an input is missing (expected b, got a)": {"a": a},
        "inputs.b.datatype: the datatype is not the model's (expected INT64, got FP32)": {"a": a, "b": a[:, 0]},
        "inputs.a.shape: the shape does not fit the model (expected [-1, 2], got [1, 3])": {"a": np.zeros((1, 3), "f4"), "b": b},
        "inputs.b.shape: the inputs differ in rows (expected 1 rows, got 2 rows)": {"a": a, "b": np.zeros(2, np.int64)},
        "inputs: the request has no rows (expected at least 1 row, got 0 rows)": {"a": a[:0], "b": b[:0]},
    }
    for sentence, inputs in told.items():
        with pytest.raises(InvalidInput) as caught:
            signature.check(inputs)
        assert str(caught.value) == sentence


def test_a_model_that_does_not_batch_counts_one_row_whatever_its_shapes() -> None:
    signature = Signature((TensorSpec("a", "FP32", [2, -1]), TensorSpec("b", "FP32", [])), ANSWER, batched=False)
    assert signature.check({"a": np.zeros((2, 5), np.float32), "b": np.zeros((), np.float32)}) == 1
    with pytest.raises(InvalidInput, match="shape"):
        signature.check({"a": np.zeros((3, 5), np.float32), "b": np.zeros((), np.float32)})


def test_select_gives_what_was_asked_in_that_order_and_all_for_nothing() -> None:
    signature = Signature(ANSWER, (TensorSpec("p", "FP32", [-1]), TensorSpec("q", "FP32", [-1])))
    assert signature.select(()) == ("p", "q")
    assert signature.select(["q"]) == ("q",)
    assert signature.select(["q", "p"]) == ("q", "p")
    with pytest.raises(InvalidInput, match=r"outputs\[1\].name: the model has no such output \(expected p or q, got r\)"):
        signature.select(["p", "r"])
    with pytest.raises(InvalidInput, match=r"outputs\[1\].name: the output is asked for twice"):
        signature.select(["p", "p"])


def test_a_signature_that_contradicts_itself_is_refused() -> None:
    spec = TensorSpec("x", "FP32", [-1])
    with pytest.raises(ValueError, match="two inputs share the name 'x'"):
        Signature((spec, spec), ANSWER)
    with pytest.raises(ValueError, match="two outputs share the name 'y'"):
        Signature((spec,), ANSWER * 2)
    with pytest.raises(ValueError, match="a batched tensor's first dim is -1"):
        Signature((replace(spec, shape=[3]),), ANSWER)
