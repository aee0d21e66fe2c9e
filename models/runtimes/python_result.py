"""A Python model's answer, held against the outputs that it declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from models.blame import told
from models.errors import BrokenDescription
from models.tensor import DATATYPES, INTEGERS, Array, TensorSpec


def checked(result: object, declared: Sequence[TensorSpec], asked: Sequence[str], rows: int | None) -> dict[str, Array]:
    """The asked outputs as arrays of the declared datatypes and shapes, with as many rows as came in (None: not batched).

    Raises BrokenDescription where the model breaks its own description, in an output that nobody asked for too: whether a model
    is right must not depend on the caller.
    """
    if not isinstance(result, Mapping):
        raise BrokenDescription(f"the model returned {_kind(result)}; expected a mapping from output names to arrays")
    arrays: dict[str, Array] = {}
    for spec in declared:
        if spec.name not in result:
            given = ", ".join(sorted(map(str, result))) or "none"
            raise BrokenDescription(f"the model left out its output {spec.name!r}; it returned {given}")
        array = _converted(spec, result[spec.name])
        if len(array.shape) != len(spec.shape):
            raise BrokenDescription(
                f"the model's output {spec.name!r} has shape {list(array.shape)}; "
                f"expected {len(spec.shape)} dims, {list(spec.shape)}"
            )
        if rows is not None and array.shape[0] != rows:
            raise BrokenDescription(
                f"the model's output {spec.name!r} has {array.shape[0]} rows; expected {rows}, as many as came in"
            )
        if any(want not in (-1, dim) for want, dim in zip(spec.shape, array.shape, strict=True)):
            raise BrokenDescription(f"the model's output {spec.name!r} has shape {list(array.shape)}; expected {list(spec.shape)}")
        arrays[spec.name] = array
    return {name: arrays[name] for name in asked}


def _converted(spec: TensorSpec, value: object) -> Array:
    try:
        array: Array = np.asarray(value)
    except Exception as error:
        # Ragged lists, and whatever an object's own __array__ raises.
        raise BrokenDescription(f"the model's output {spec.name!r} is no array: {told(error)}") from error
    if spec.datatype == "BYTES":
        return _as_bytes(spec, value, array)
    if array.dtype == spec.dtype:
        return array
    if spec.datatype in INTEGERS and array.dtype.kind in "iu":
        cast = array.astype(spec.dtype)
        if not (cast == array).all():
            raise BrokenDescription(f"the model's output {spec.name!r} holds whole numbers that {spec.datatype} cannot")
        return cast
    if array.dtype.hasobject or not np.can_cast(array.dtype, spec.dtype, "same_kind"):
        given = {"O": "objects", "U": "text", "S": "text"}.get(array.dtype.kind) or DATATYPES.get(array.dtype, str(array.dtype))
        raise BrokenDescription(f"the model's output {spec.name!r} is {given}; expected {spec.datatype}")
    try:
        with np.errstate(over="raise"):
            return array.astype(spec.dtype)
    except FloatingPointError as error:
        raise BrokenDescription(f"the model's output {spec.name!r} holds numbers too large for {spec.datatype}") from error


def _as_bytes(spec: TensorSpec, value: object, array: Array) -> Array:
    if not isinstance(value, np.ndarray) or array.dtype.kind in "SU":
        # By way of objects: numpy's own strings lose the zero bytes at their end.
        array = np.asarray(value, dtype=object) if not isinstance(value, np.ndarray) else array.astype(object)
    if array.dtype != spec.dtype:
        given = DATATYPES.get(array.dtype, str(array.dtype))
        raise BrokenDescription(f"the model's output {spec.name!r} is {given}; expected BYTES, an array of bytes or str")
    out = np.empty(array.shape, dtype=object)
    for index, element in enumerate(array.flat):
        if isinstance(element, str):
            out.flat[index] = element.encode()
        elif isinstance(element, bytes):
            out.flat[index] = bytes(element)
        else:
            raise BrokenDescription(f"the model's output {spec.name!r} holds {_kind(element)}; expected bytes or str")
    return out


def _kind(value: object) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
