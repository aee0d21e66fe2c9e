"""A model's tensors, and the one place where a caller's arrays are held against them.

``check`` and ``fits`` are called once a request, before the request may enter a batch, so that one caller's mistake never
reaches another's call.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.errors import InvalidInput, Problem
from models.tensor import DATATYPES, Array, TensorSpec


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs of a model. Batched: every tensor's first dim is free and counts the rows."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batched: bool = True
    by_name: Mapping[str, TensorSpec] = field(init=False, repr=False, compare=False)
    output_names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _plain: TensorSpec | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {spec.name: spec for spec in self.inputs})
        object.__setattr__(self, "output_names", tuple(spec.name for spec in self.outputs))
        # One input whose only free dim is the rows: all its requests can share a call, so there is nothing to group by.
        only = self.inputs[0] if len(self.inputs) == 1 and self.batched else None
        if only is not None and (only.optional or only.uniform or only.widens or -1 in only.shape[1:]):
            only = None
        object.__setattr__(self, "_plain", only)

    def input(self, name: str, path: str) -> TensorSpec:
        """The input of that name; InvalidInput, speaking of ``path``, where the model has none."""
        spec = self.by_name.get(name)
        if spec is None:
            raise InvalidInput(Problem(path, "the model has no such input", " or ".join(sorted(self.by_name)), name))
        return spec

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
        for name in inputs:
            if name not in self.by_name:
                self.input(name, "inputs")
        rows = -1 if self.batched else 1
        for spec in self.inputs:
            array = inputs.get(spec.name)
            if array is None:
                if spec.optional:
                    continue
                missing = [other.name for other in self.inputs if not other.optional and other.name not in inputs]
                raise InvalidInput(Problem("inputs", "an input is missing", ", ".join(missing), ", ".join(inputs) or "none"))
            _check_datatype(spec, array)
            _check_shape(spec, array)
            if self.batched:
                if rows == -1:
                    rows = array.shape[0]
                elif array.shape[0] != rows:
                    raise InvalidInput(
                        Problem(
                            f"inputs.{spec.name}.shape",
                            "the inputs differ in rows",
                            f"{rows} rows",
                            f"{array.shape[0]} rows",
                        )
                    )
            if spec.uniform and array.size and not (array == array.flat[0]).all():
                raise InvalidInput(
                    Problem(
                        f"inputs.{spec.name}.data",
                        "the rows of one request must agree in this input",
                        "one value",
                        "several",
                    )
                )
        if rows == 0:
            raise InvalidInput(Problem("inputs", "the request has no rows", "at least 1 row", "0 rows"))
        return rows

    def group(self, inputs: Mapping[str, Array]) -> Hashable:
        """What two checked requests must agree in to share a call: datatypes, trailing shapes, uniform values."""
        if self._plain is not None:
            return None
        return tuple(
            (
                spec.name,
                array.dtype.char,
                array.shape[1:],
                array.flat[0].item() if spec.uniform and spec.datatype != "BYTES" else array.flat[0] if spec.uniform else None,
            )
            for spec in self.inputs
            if (array := inputs.get(spec.name)) is not None
        )


def _check_datatype(spec: TensorSpec, array: Array) -> None:
    if array.dtype == spec.dtype:
        return
    given = DATATYPES.get(array.dtype, str(array.dtype))
    if spec.widens and given != "BYTES" and np.can_cast(array.dtype, spec.dtype, "safe"):
        return
    raise InvalidInput(Problem(f"inputs.{spec.name}.datatype", "the datatype is not the model's", spec.datatype, given))


def _check_shape(spec: TensorSpec, array: Array) -> None:
    if len(array.shape) == len(spec.shape) and all(
        want in (-1, dim) for want, dim in zip(spec.shape, array.shape, strict=True)
    ):
        return
    raise InvalidInput(
        Problem(
            f"inputs.{spec.name}.shape",
            "the shape does not fit the model",
            str(list(spec.shape)),
            str(list(array.shape)),
        )
    )
