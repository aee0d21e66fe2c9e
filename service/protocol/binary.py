"""Raw tensors as the protocol's binary extension lays them out: little-endian, row-major, without padding.

A BOOL is one byte, 0 or 1; a BYTES element is its length as a uint32, then its bytes. Source: triton-inference-server/server
`docs/protocol/extension_binary_data.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import prod
from struct import Struct

import numpy as np

from models.errors import InferenceError, InvalidInput, Problem
from models.tensor import DTYPES, Array, TensorSpec
from service.errors import BadRequest
from service.protocol.json_data import clip, shaped

_LENGTH = Struct("<I")

if sys.byteorder != "little":
    raise ImportError("Tureen reads the protocol's little-endian tensors in place, so it needs a little-endian machine.")


def from_binary(data: memoryview, datatype: str, shape: Sequence[int], path: str) -> Array:
    """The tensor in ``data``, read-only, where it lies, aligned or not; only BYTES are copied. Raises InvalidInput."""
    if len(shape) > 64:
        raise InvalidInput(Problem(f"{path}.shape", "the tensor has too many dims", "at most 64", str(len(shape))))
    count = prod(shape)
    if datatype == "BYTES":
        elements = _elements(data, count, path)
        return shaped(np.array(elements, object), shape, f"{path}.shape")
    dtype = DTYPES[datatype]
    if count * dtype.itemsize != len(data):
        raise InvalidInput(
            Problem(
                f"{path}.parameters.binary_data_size",
                "the shape needs another number of bytes",
                f"{clip(count * dtype.itemsize)} for {datatype} {clip(list(shape))}",
                str(len(data)),
            )
        )
    if not count:
        return shaped(np.empty(0, dtype), shape, f"{path}.shape")
    if datatype == "BOOL":
        octets = np.frombuffer(data, np.uint8)
        # numpy trusts a bool to be 0 or 1, and computes nonsense with any other.
        if octets.max() > 1:
            at = int((octets > 1).argmax())
            raise InvalidInput(Problem(f"{path}.data[{at}]", "not a value of BOOL", "a byte of 0 or 1", str(octets[at])))
        return shaped(octets.view(np.bool_), shape, f"{path}.shape")
    # It starts where the JSON happens to end. Stacking aligns it; a runtime that gets it alone and needs that does it itself.
    return shaped(np.frombuffer(data, dtype), shape, f"{path}.shape")


def from_body(body: bytes, spec: TensorSpec) -> Array:
    """The only input of a model, from a body that is nothing but its data: at most one free dim, found from the size.

    A BYTES tensor is one element, the whole body. Raises BadRequest and InvalidInput.
    """
    path = "inputs[0]"
    free = [axis for axis, dim in enumerate(spec.shape) if dim == -1]
    if spec.datatype == "BYTES":
        if any(dim not in (-1, 1) for dim in spec.shape):
            raise BadRequest(
                f"A raw body is one element of BYTES, but input {spec.name} has shape {list(spec.shape)}: send the JSON form."
            )
        return np.array([body], object).reshape([1] * len(spec.shape))
    if len(free) > 1:
        raise BadRequest(
            f"A raw body can fill one free dim, but input {spec.name} has shape {list(spec.shape)}: "
            "send the JSON form, which says the shape."
        )
    shape = list(spec.shape)
    row = DTYPES[spec.datatype].itemsize * prod(dim for dim in shape if dim != -1)
    if len(body) % row if free and row else len(body) != row:
        raise InvalidInput(
            Problem(path, "the raw body is not the tensor", f"{'a multiple of ' * bool(free)}{row} bytes", f"{len(body)} bytes")
        )
    if free:
        shape[free[0]] = len(body) // row if row else 0
    return from_binary(memoryview(body), spec.datatype, shape, path)


def to_binary(array: Array, name: str) -> bytes:
    """The bytes of the tensor ``name``. Raises InferenceError for objects other than bytes."""
    if array.dtype.kind != "O":
        return array.astype(array.dtype.newbyteorder("="), copy=False).tobytes()
    parts: list[bytes] = []
    for value in array.ravel():
        octets = value.encode() if isinstance(value, str) else value
        if not isinstance(octets, bytes):
            raise InferenceError(f"Output {clip(name)} holds {type(value).__name__} where bytes are expected.")
        parts += (_LENGTH.pack(len(octets)), octets)
    return b"".join(parts)


def _elements(data: memoryview, count: int, path: str) -> list[bytes]:
    """The elements of a BYTES tensor, which must be ``count`` and use up the data."""
    elements: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        if len(elements) == count:
            raise InvalidInput(
                Problem(f"{path}.data", "the shape has another number of elements", clip(count), f"more than {clip(count)}")
            )
        if at + 4 > end:
            raise InvalidInput(
                Problem(f"{path}.data[{len(elements)}]", "the data ends within a length", "4 bytes", f"{end - at} bytes")
            )
        (length,) = _LENGTH.unpack_from(data, at)
        at += 4
        if at + length > end:
            raise InvalidInput(
                Problem(f"{path}.data[{len(elements)}]", "the data ends within it", f"{length} bytes", f"{end - at} bytes")
            )
        elements.append(bytes(data[at : at + length]))
        at += length
    if len(elements) != count:
        raise InvalidInput(Problem(f"{path}.data", "the shape has another number of elements", clip(count), str(len(elements))))
    return elements
