"""Between ONNX Runtime's values and the protocol's tensors.

Numbers and booleans pass as they are. Three kinds do not: strings (ours are ``bytes``, its are ``str``), bfloat16 (numpy has
none, so it goes by address), and the list of maps that scikit-learn's converters append to a classifier (ZipMap).
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from math import prod
from operator import itemgetter
from typing import Any

import ml_dtypes
import numpy as np

from models.errors import InferenceError, InvalidInput, LoadError, Problem
from models.tensor import Array

_DATATYPES: Mapping[str, str] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float": "FP32",
    "double": "FP64",
    "bfloat16": "BF16",
    "string": "BYTES",
}
_TENSOR = re.compile(r"tensor\((\w+)\)")
_MAPS = re.compile(r"seq\(map\((?:int64|string),tensor\(float\)\)\)")
BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16

_decode = np.frompyfunc(bytes.decode, 1, 1)
_encode = np.frompyfunc(str.encode, 1, 1)


def datatype(kind: str, name: str, type_name: str) -> str:
    """The protocol's name of a type that ONNX Runtime calls ``tensor(float)``. Raises LoadError for what is no such tensor."""
    tensor = _TENSOR.fullmatch(type_name)
    if tensor is None:
        raise LoadError(
            f"{kind} {name!r} is {type_name}, and only plain tensors can be served: export the model with a tensor there"
        )
    if tensor[1] not in _DATATYPES:
        known = "FP16 or FP32" if "float" in tensor[1] else "a whole number of bytes"
        raise LoadError(f"{kind} {name!r} holds {tensor[1]} numbers, which the protocol has not: cast it to {known} in the graph")
    return _DATATYPES[tensor[1]]


def is_maps(type_name: str) -> bool:
    """Whether it is ZipMap's: one map from class to score for each row."""
    return _MAPS.fullmatch(type_name) is not None


def decode_strings(name: str, array: Array) -> Array:
    """Elements of bytes to elements of text, shape kept. Raises InvalidInput, naming the input and the element."""
    try:
        return _shaped(_decode(array), array.shape)
    except (UnicodeDecodeError, TypeError):
        for index, element in enumerate(array.flat):
            if not isinstance(element, bytes):
                problem = Problem(f"inputs.{name}.data", f"element {index} is not bytes", "bytes", type(element).__name__)
                raise InvalidInput(problem) from None
            if (at := _first_wrong_byte(element)) >= 0:
                problem = Problem(f"inputs.{name}.data", f"element {index} is not UTF-8", "UTF-8 text", f"byte {element[at]:#04x}")
                raise InvalidInput(problem) from None
        raise


def encode_strings(array: Array) -> Array:
    """Elements of text to elements of bytes, shape kept."""
    return _shaped(_encode(array), array.shape)


def from_maps(rows: Sequence[Mapping[Any, float]]) -> Array:
    """ZipMap's rows as FP32 [rows, classes], the classes ascending. Raises InferenceError if rows differ in their classes."""
    if not rows:
        return np.empty((0, 0), np.float32)
    classes = sorted(rows[0])
    pick: Callable[[Mapping[Any, float]], Sequence[float]] = (
        itemgetter(*classes) if len(classes) > 1 else lambda row: [row[name] for name in classes]
    )
    try:
        scores = np.fromiter(chain.from_iterable(map(pick, rows)), np.float32, len(rows) * len(classes))
    except KeyError as error:
        raise InferenceError("the model gave rows that differ in their classes") from error
    return scores.reshape(len(rows), len(classes))


def bfloat16_value(ort_value: Any, array: Array) -> Any:
    """An OrtValue that shares the array's memory, which must outlive it. ``ort_value``: onnxruntime.OrtValue."""
    return ort_value.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), BFLOAT16)


def from_ort_value(value: Any) -> Array:
    """A copy of an OrtValue on the CPU; ``numpy()`` knows every datatype but bfloat16."""
    if value.data_type() != "tensor(bfloat16)":
        return np.asarray(value.numpy())
    shape = value.shape()
    size = prod(shape)
    raw = ctypes.string_at(value.data_ptr(), 2 * size) if size else b""
    return np.frombuffer(bytearray(raw), ml_dtypes.bfloat16).reshape(shape)


def _shaped(elements: Any, shape: tuple[int, ...]) -> Array:
    if isinstance(elements, np.ndarray):
        return elements
    scalar = np.empty((), object)  # frompyfunc answers a 0-d array with its bare element
    scalar[()] = elements
    return scalar.reshape(shape)


def _first_wrong_byte(element: bytes) -> int:
    try:
        element.decode()
    except UnicodeDecodeError as error:
        return error.start
    return -1
