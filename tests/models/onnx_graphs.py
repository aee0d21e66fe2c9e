"""Small ONNX graphs made by hand, each the least that shows one trait; and how tests load and call them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.runtimes.onnx import OnnxRuntime
from models.tensor import Array

Dim = int | str | None
ELEMENTS = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}


def tensor(name: str, datatype: str, shape: Sequence[Dim] | None) -> Any:
    """A graph's input or output; a shape of None leaves the rank unknown."""
    return helper.make_tensor_value_info(name, ELEMENTS[datatype], shape)


def weight(name: str, values: Any) -> Any:
    """An initializer."""
    return numpy_helper.from_array(np.asarray(values), name)


def strings(name: str, *values: bytes) -> Any:
    """An initializer of strings, which need not be UTF-8."""
    proto = TensorProto(name=name, data_type=TensorProto.STRING, dims=[len(values)])
    proto.string_data.extend(values)
    return proto


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attributes: Any) -> Any:
    """One operator."""
    return helper.make_node(op, list(inputs), list(outputs), domain=domain, **attributes)


def model(
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    weights: Sequence[Any] = (),
    *,
    opset: int = 21,
    ir: int = 10,
) -> Any:
    """A whole model, a ModelProto."""
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def write(proto: Any, folder: Path) -> Path:
    """The model as ``model.onnx`` in the folder."""
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def write_external(proto: Any, folder: Path, location: str = "weights.bin") -> Path:
    """The model as ``model.onnx``, its weights in a file beside it."""
    path = folder / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location=location, size_threshold=0)
    return path


def echo(datatype: str, shape: Sequence[Dim] = ("batch", 2)) -> Any:
    """``y`` is ``x``, of any datatype."""
    return model([node("Identity", ["x"], ["y"])], [tensor("x", datatype, shape)], [tensor("y", datatype, shape)])


def mlp(features: int = 8, hidden: int = 16, classes: int = 3, rows: Dim = "batch", seed: int = 0) -> Any:
    """Two dense layers: FP32 x [rows, features] -> FP32 y [rows, classes]."""
    random = np.random.default_rng(seed)
    weights = [
        weight("w1", random.normal(size=(features, hidden)).astype(np.float32)),
        weight("b1", random.normal(size=hidden).astype(np.float32)),
        weight("w2", random.normal(size=(hidden, classes)).astype(np.float32)),
        weight("b2", random.normal(size=classes).astype(np.float32)),
    ]
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("Gemm", ["r", "w2", "b2"], ["y"]),
    ]
    return model(nodes, [tensor("x", "FP32", [rows, features])], [tensor("y", "FP32", [rows, classes])], weights)


def sum_and_difference() -> Any:
    """FP32 a, b [batch, 2] -> FP32 sum, difference [batch, 2]."""
    nodes = [node("Add", ["a", "b"], ["sum"]), node("Sub", ["a", "b"], ["difference"])]
    shape: Sequence[Dim] = ["batch", 2]
    return model(
        nodes,
        [tensor("a", "FP32", shape), tensor("b", "FP32", shape)],
        [tensor("sum", "FP32", shape), tensor("difference", "FP32", shape)],
    )


def non_zero() -> Any:
    """Detections: FP32 x [batch, 2] -> INT64 found [n, 2], the places that are not 0, however many."""
    nodes = [node("NonZero", ["x"], ["columns"]), node("Transpose", ["columns"], ["found"], perm=[1, 0])]
    return model(nodes, [tensor("x", "FP32", ["batch", 2])], [tensor("found", "INT64", ["batch", 2])])


def lookup(rows: Dim = "batch") -> Any:
    """INT64 index [rows] -> FP32 y [rows, 2], of a table of 5."""
    table = weight("table", np.arange(10, dtype=np.float32).reshape(5, 2))
    nodes = [node("Gather", ["table", "index"], ["y"], axis=0)]
    return model(nodes, [tensor("index", "INT64", [rows])], [tensor("y", "FP32", [rows, 2])], [table])


def load(proto: Any, folder: Path) -> OnnxRuntime:
    """The model, written to the folder and loaded from there."""
    return OnnxRuntime.load(write(proto, folder))


def answer(runtime: OnnxRuntime, **inputs: Array) -> dict[str, Array]:
    """All outputs for inputs that pass the signature's check."""
    runtime.signature.check(inputs)
    return runtime.infer(inputs, runtime.signature.output_names)


def texts(*values: bytes) -> Array:
    """A BYTES tensor of one dim."""
    return np.array(values, dtype=object)
