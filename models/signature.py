"""A model's tensors, and the one place where a caller's arrays are held against them.

``check`` and ``group`` are called once a request, before the request may enter a batch, so that one caller's mistake never
reaches another's call. Most models take one dense input: for those both are a handful of comparisons.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.errors import InvalidInput, Problem
from models.tensor import DATATYPES, DTYPES, Array, TensorSpec, listed


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs of a model. Batched: every tensor's first dim is free and counts the rows.

    Raises ValueError where the tensors contradict that, or two share a name.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batched: bool = True
    by_name: Mapping[str, TensorSpec] = field(init=False, repr=False, compare=False)
    output_names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    #: What a protocol has worked out for this signature once, by the protocol's own key.
    prepared: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _taken: Mapping[str, frozenset[np.dtype[Any]]] = field(init=False, repr=False, compare=False)
    _quick: _Quick | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for kind, specs in (("inputs", self.inputs), ("outputs", self.outputs)):
            names = [spec.name for spec in specs]
            if twice := [name for index, name in enumerate(names) if name in names[:index]]:
                raise ValueError(f"two {kind} share the name {twice[0]!r}")
            for spec in specs:
                if self.batched and tuple(spec.shape[:1]) != (-1,):
                    raise ValueError(f"{spec.name!r} has shape {list(spec.shape)}; a batched tensor's first dim is -1, its rows")
        object.__setattr__(self, "by_name", {spec.name: spec for spec in self.inputs})
        object.__setattr__(self, "output_names", tuple(spec.name for spec in self.outputs))
        object.__setattr__(self, "_taken", {spec.name: _dtypes_taken(spec) for spec in self.inputs})
        object.__setattr__(self, "_quick", _Quick.of(self.inputs) if self.batched else None)

    def input(self, name: str, path: str) -> TensorSpec:
        """The input of that name; InvalidInput, speaking of ``path``, where the model has none."""
        spec = self.by_name.get(name)
        if spec is None:
            raise InvalidInput(Problem(path, self._no_such_input(), " or ".join(sorted(self.by_name)), name))
        return spec

    def _no_such_input(self) -> str:
        told = "the model has no such input"
        if len(self.inputs) > 1 or not self.inputs or not (names := self.inputs[0].feature_names):
            return told  # a caller who names the features of the only one is told how they are sent
        values = "the value" if len(names) == 1 else f"the {len(names)} values"
        return f"{told}; send {values} as one list, in the order {listed(names)}"

    def check_told(self, name: str, datatype: str, shape: Sequence[int]) -> None:
        """Raises InvalidInput where an input that is told to be such does not fit: what is told costs nothing, its data may."""
        spec = self.by_name[name]
        if DTYPES[datatype] not in self._taken[name]:
            raise _mismatch(spec, "datatype", "the datatype is not the model's", spec.datatype, datatype)
        _check_shape(spec, shape)

    def select(self, names: Sequence[str]) -> tuple[str, ...]:
        """The outputs to compute: those asked for, in the order asked, or all of them when none is named."""
        if not names:
            return self.output_names
        for index, name in enumerate(names):
            path = f"outputs[{index}].name"
            if name not in self.output_names:
                raise InvalidInput(Problem(path, "the model has no such output", " or ".join(self.output_names), name))
            if name in names[:index]:
                raise InvalidInput(Problem(path, "the output is asked for twice", "each output once", name))
        return tuple(names)

    def check(self, inputs: Mapping[str, Array]) -> int:
        """Rows of a request whose tensors fit (1 where the model does not batch). Raises InvalidInput."""
        quick = self._quick
        if quick is not None and len(inputs) == 1:
            array = inputs.get(quick.name)
            if array is not None and array.dtype in quick.dtypes:
                shape = array.shape
                if shape[1:] == quick.trailing and shape and shape[0]:
                    return int(shape[0])
        return self._check_each(inputs)

    def _check_each(self, inputs: Mapping[str, Array]) -> int:
        for name in inputs:
            if name not in self.by_name:
                self.input(name, "inputs")
        rows: int | None = None
        for spec in self.inputs:
            array = inputs.get(spec.name)
            if array is None:
                if spec.optional:
                    continue
                missing = [other.name for other in self.inputs if not other.optional and other.name not in inputs]
                raise InvalidInput(Problem("inputs", "an input is missing", ", ".join(missing), ", ".join(inputs) or "none"))
            if array.dtype not in self._taken[spec.name]:
                given = DATATYPES.get(array.dtype, str(array.dtype))
                raise _mismatch(spec, "datatype", "the datatype is not the model's", spec.datatype, given)
            _check_shape(spec, array.shape)
            if spec.datatype == "BYTES":
                _check_bytes(spec, array)
            if not self.batched:
                continue
            if rows is not None and array.shape[0] != rows:
                raise _mismatch(spec, "shape", "the inputs differ in rows", f"{rows} rows", f"{array.shape[0]} rows")
            rows = array.shape[0]
            if spec.uniform and rows > 1 and _row(spec, array) * rows != _rows(spec, array):
                raise _mismatch(spec, "data", "the rows of one request must agree in this input", "one value", "several")
        if not self.batched:
            return 1
        if rows is None:
            raise InvalidInput(Problem("inputs", "an input is missing", "at least one of " + ", ".join(self.by_name), "none"))
        if rows == 0:
            raise InvalidInput(Problem("inputs", "the request has no rows", "at least 1 row", "0 rows"))
        return int(rows)

    def group(self, inputs: Mapping[str, Array]) -> Hashable:
        """What two checked requests must agree in to share a call: datatypes, trailing shapes, uniform values."""
        quick = self._quick
        if quick is not None:
            return inputs[quick.name].dtype.char if quick.widens else None
        return tuple(
            [
                (spec.name, array.dtype.char, array.shape[1:], _row(spec, array) if spec.uniform and array.ndim else None)
                for spec in self.inputs
                if (array := inputs.get(spec.name)) is not None
            ]
        )


@dataclass(frozen=True, slots=True)
class _Quick:
    """A batched model's only input, where rows alone are free: its requests can all share a call, but for their datatype."""

    name: str
    dtypes: frozenset[np.dtype[Any]]
    trailing: tuple[int, ...]
    widens: bool

    @classmethod
    def of(cls, inputs: Sequence[TensorSpec]) -> _Quick | None:
        if len(inputs) != 1:
            return None
        (spec,) = inputs
        if spec.optional or spec.uniform or spec.datatype == "BYTES" or -1 in spec.shape[1:]:
            return None
        return cls(spec.name, _dtypes_taken(spec), tuple(spec.shape[1:]), spec.widens)


def _dtypes_taken(spec: TensorSpec) -> frozenset[np.dtype[Any]]:
    if not spec.widens or spec.datatype == "BYTES":
        return frozenset({spec.dtype})
    return frozenset(dtype for name, dtype in DTYPES.items() if name != "BYTES" and np.can_cast(dtype, spec.dtype, "safe")) | {
        spec.dtype
    }


def _mismatch(spec: TensorSpec, what: str, problem: str, expected: str, got: str) -> InvalidInput:
    return InvalidInput(Problem(f"inputs.{spec.name}.{what}", problem, expected, got))


def _check_shape(spec: TensorSpec, shape: Sequence[int]) -> None:
    if len(shape) == len(spec.shape) and all(want in (-1, dim) for want, dim in zip(spec.shape, shape, strict=True)):
        return
    raise _mismatch(spec, "shape", "the shape does not fit the model", str(list(spec.shape)), str(list(shape)))


def _check_bytes(spec: TensorSpec, array: Array) -> None:
    for element in array.flat:
        if type(element) is not bytes:
            raise _mismatch(spec, "data", "an element is not bytes", "BYTES", type(element).__name__)


def _row(spec: TensorSpec, array: Array) -> bytes | tuple[bytes, ...]:
    # Compared as bytes: exact for NaN and for -0.0, where == is not.
    return _rows(spec, array[:1])


def _rows(spec: TensorSpec, array: Array) -> bytes | tuple[bytes, ...]:
    return tuple(array.flat) if spec.datatype == "BYTES" else array.tobytes()
