"""Whether first dims are rows: found out, noted, and held to in batches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import helper
from onnx_graphs import Dim, answer, echo, load, mlp, model, node, non_zero, tensor, texts, weight

from models.runtimes.onnx import OnnxRuntime
from models.tensor import Array


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> OnnxRuntime:
    return load(mlp(), tmp_path_factory.mktemp("dense"))


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 17), st.just(8)), elements=st.floats(-8, 8, width=32)))
def test_rows_answer_in_a_batch_as_they_do_alone(dense: OnnxRuntime, x: Array) -> None:
    # Not bit for bit: a product of one row may run another kernel than one of many, which adds up in another order.
    alone = np.concatenate([answer(dense, x=x[row : row + 1])["y"] for row in range(len(x))])
    np.testing.assert_allclose(answer(dense, x=x)["y"], alone, rtol=1e-4, atol=1e-4)


def test_free_first_dims_of_every_name_are_rows_if_the_trial_shows_it(tmp_path: Path) -> None:
    for first in ("batch", None, "seq"):
        runtime = load(mlp(rows=first), tmp_path)
        assert (runtime.signature.batched, runtime.notes) == (True, ())


def _softmax(axis: int) -> Any:
    shape: list[Dim] = ["batch", 4]
    return model([node("Softmax", ["x"], ["y"], axis=axis)], [tensor("x", "FP32", shape)], [tensor("y", "FP32", shape)])


def _of_x(*nodes: Any, y: tuple[Any, ...] = ("batch", 4), weights: tuple[Any, ...] = ()) -> Any:
    return model(nodes, [tensor("x", "FP32", ["batch", 4])], [tensor("y", "FP32", y)], weights)


_NOT_ROWS: Mapping[str, tuple[Any, str]] = {
    "as many detections as there are": (non_zero(), "does not have the rows of the inputs"),
    "a softmax over the batch": (_softmax(0), "depends on the other rows of its call"),
    "a running sum": (_of_x(node("CumSum", ["x", "axis"], ["y"]), weights=(weight("axis", np.array(0)),)), "depends on the other"),
    "a running sum from the end": (
        _of_x(node("CumSum", ["x", "axis"], ["y"], reverse=1), weights=(weight("axis", np.array(0)),)),
        "depends on the other rows",
    ),
    "each row against each": (
        _of_x(node("Transpose", ["x"], ["t"]), node("MatMul", ["x", "t"], ["y"]), y=("batch", "batch")),
        "the shape of a row of output 'y' depends on how many rows there are",
    ),
    "one row loses its dim": (_of_x(node("Squeeze", ["x"], ["y"]), y=(None, None)), "does not have the rows of the inputs"),
    "a mean over the batch": (_of_x(node("ReduceMean", ["x"], ["y"], keepdims=0), y=()), "does not have the rows"),
    "one row only": (
        _of_x(node("Reshape", ["x", "s"], ["y"]), y=(None, None), weights=(weight("s", np.array([1, 4])),)),
        "it answered one made-up row, but not three",
    ),
}


@pytest.mark.parametrize("case", _NOT_ROWS)
def test_free_first_dims_that_are_no_rows_are_found_out(case: str, tmp_path: Path) -> None:
    proto, why = _NOT_ROWS[case]
    runtime = load(proto, tmp_path)
    assert not runtime.signature.batched
    assert len(runtime.notes) == 1
    assert why in runtime.notes[0]


def test_two_inputs_whose_first_dims_differ_in_meaning_are_not_batched(tmp_path: Path) -> None:
    nodes = [node("Concat", ["x", "s"], ["y"], axis=0)]
    inputs = [tensor("x", "FP32", ["batch", 2]), tensor("s", "FP32", ["seq", 2])]
    runtime = load(model(nodes, inputs, [tensor("y", "FP32", ["both", 2])]), tmp_path)
    assert not runtime.signature.batched
    one, two = np.ones((1, 2), np.float32), np.ones((2, 2), np.float32)
    assert answer(runtime, x=one, s=two)["y"].shape == (3, 2)


def test_random_numbers_do_not_count_as_mixed_rows(tmp_path: Path) -> None:
    nodes = [node("RandomUniformLike", ["x"], ["r"]), node("Add", ["x", "r"], ["y"])]
    assert load(_of_x(*nodes), tmp_path).signature.batched


@pytest.mark.parametrize(("shape", "why"), [([1, 2], "input 'x' has the fixed first dim 1"), ([], "input 'x' is a scalar")])
def test_a_fixed_first_dim_is_served_unbatched_with_a_note(shape: list[Dim], why: str, tmp_path: Path) -> None:
    runtime = load(echo("FP32", shape), tmp_path)
    assert (runtime.signature.batched, tuple(runtime.signature.inputs[0].shape)) == (False, tuple(shape))
    assert why in runtime.notes[0]
    x = np.ones([dim for dim in shape if isinstance(dim, int)], np.float32)
    assert runtime.signature.check({"x": x}) == 1
    assert answer(runtime, x=x)["y"].shape == x.shape


def test_free_dims_are_tried_until_the_model_takes_them(tmp_path: Path) -> None:
    kernel = weight("k", np.ones((1, 3, 5, 5), np.float32))
    nodes = [node("Conv", ["x", "k"], ["c"]), node("GlobalAveragePool", ["c"], ["y"])]
    inputs = [tensor("x", "FP32", ["batch", 3, "height", "width"])]
    runtime = load(model(nodes, inputs, [tensor("y", "FP32", None)], [kernel]), tmp_path)
    assert (runtime.signature.batched, runtime.notes) == (True, ())
    assert answer(runtime, x=np.ones((2, 3, 9, 7), np.float32))["y"].shape == (2, 1, 1, 1)


def _unknown_category(first_out: str | None) -> Any:
    """Takes only the categories "red" and "blue", so that no made-up value will do."""
    one_hot = node("OneHotEncoder", ["x"], ["y"], domain="ai.onnx.ml", cats_strings=["red", "blue"], zeros=0)
    graph = helper.make_graph([one_hot], "g", [tensor("x", "BYTES", ["batch"])], [tensor("y", "FP32", [first_out, 2])])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


@pytest.mark.parametrize(("first_out", "batched"), [("batch", True), ("rows", False), (None, True)])
def test_where_the_trial_fails_names_decide_and_a_note_says_so(first_out: str | None, batched: bool, tmp_path: Path) -> None:
    # With None, ONNX Runtime's own shape inference finds the output's first dim to be the input's.
    runtime = load(_unknown_category(first_out), tmp_path)
    assert (runtime.signature.batched, len(runtime.notes)) == (batched, 1)
    assert "made-up rows" in runtime.notes[0]
    assert answer(runtime, x=texts(b"blue"))["y"].tolist() == [[0, 1]]


def test_an_output_of_unknown_rank_gets_its_shape_from_the_trial(tmp_path: Path) -> None:
    nodes = [node("Size", ["x"], ["n"]), node("Shape", ["x"], ["s"]), node("Reshape", ["x", "given"], ["y"])]
    given_shape = [node("Concat", ["rows", "rest"], ["given"], axis=0), node("Gather", ["s", "first"], ["rows"])]
    weights = [weight("first", np.array([0])), weight("rest", np.array([2, 3]))]
    proto = model(
        [nodes[1], given_shape[1], given_shape[0], nodes[2]], [tensor("x", "FP32", ["n", 6])], [tensor("y", "FP32", None)], weights
    )
    assert tuple(load(proto, tmp_path).signature.outputs[0].shape) == (-1, 2, 3)


def test_an_outputs_shape_that_the_graph_gets_wrong_is_mended(tmp_path: Path) -> None:
    nodes = [node("Scan", ["x"], ["y"], num_scan_inputs=1, body=_scan_body())]
    proto = model(nodes, [tensor("x", "FP32", ["batch", 4])], [tensor("y", "FP32", [None, 4])])
    runtime = load(proto, tmp_path)
    assert tuple(runtime.signature.outputs[0].shape) == (-1, 4)
    assert runtime.signature.batched


def _scan_body() -> Any:
    row = [tensor("row", "FP32", [4])]
    return helper.make_graph([node("Neg", ["row"], ["out"])], "body", row, [tensor("out", "FP32", [4])])


def test_dynamic_quantization_is_batched_with_a_note(tmp_path: Path) -> None:
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    runtime = load(_of_x(*nodes), tmp_path)
    assert runtime.signature.batched
    assert "quantizes dynamically" in runtime.notes[0]
