"""Whether a graph's first dims are rows, found by trying it.

A free first dim is no promise: a detector's [boxes, 6], NonZero, a product of two inputs, a mean over all rows, a sequence
that comes before the batch. So the model answers the same made-up rows three times: three in one call, the last two of them,
the first alone. Rows are rows only if each answer has as many rows as it was given, every other dim stays, and each row
answers alike in any company.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod

import numpy as np

from models.tensor import FLOATS, INTEGERS, Array, TensorSpec

Answers = Mapping[str, Array]
Compute = Callable[[dict[str, Array]], Answers]

# What a free dim beyond the rows may be: anything; a sequence, or what is halved five times; an image's side.
_SIZES = (1, 32, 224)
_MOST_ELEMENTS = 1 << 24  # of one made-up input: 64 MB of FP32
# Of an output's largest magnitude. Kernels may sum in another order at another size, and dynamic quantization rounds by the
# largest value of a call; rows that truly mix are off by far more.
_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class Outcome:
    """``rows``: None where nothing could be tried. ``why_not`` says what speaks against it. ``shapes``: an output's, each seen."""

    rows: bool | None = None
    why_not: str = ""
    shapes: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)


def try_rows(inputs: Sequence[TensorSpec], compute: Compute) -> Outcome:
    """Tries a model whose inputs all have a free first dim."""
    alone: Answers | None = None
    for given in _made_up(inputs, 3):
        try:
            alone = compute({name: array[:1] for name, array in given.items()})
            two = compute({name: array[1:] for name, array in given.items()})
            three = compute(given)
            why_not = _mixes(three, two, alone, partial(compute, given))
        except Exception:  # made-up values may rightly be refused; others are tried
            continue
        shapes = {name: (three[name].shape, two[name].shape, alone[name].shape) for name in three}
        return Outcome(not why_not, why_not, shapes)
    if alone is not None:
        shapes_alone = {name: (array.shape,) for name, array in alone.items()}
        return Outcome(False, "it answered one made-up row, but not three", shapes_alone)
    return Outcome()


def try_once(inputs: Sequence[TensorSpec], compute: Compute) -> Outcome:
    """Tries a model whose first dims are no rows, to see the shapes of its outputs."""
    for given in _made_up(inputs, None):
        try:
            answers = compute(given)
        except Exception:  # as above
            continue
        return Outcome(None, "", {name: (array.shape,) for name, array in answers.items()})
    return Outcome()


def _mixes(three: Answers, two: Answers, one: Answers, again: Callable[[], Answers]) -> str:
    for name, array in three.items():
        seen = [other[name].shape for other in (one, two, three)]
        if any(shape[:1] != (rows,) for rows, shape in enumerate(seen, start=1)):
            given = ", ".join(str(list(shape)) for shape in seen)
            return f"output {name!r} does not have the rows of the inputs: its shape was {given} for 1, 2, 3 rows"
        if array.shape[1:] != two[name].shape[1:] or array.shape[1:] != one[name].shape[1:]:
            return f"the shape of a row of output {name!r} depends on how many rows there are"
    for name, array in three.items():
        if not (_alike(array[1:], two[name]) and _alike(array[:1], one[name])):
            # A model that draws random numbers answers differently anyway: that proves nothing.
            if not _alike(again()[name], array):
                continue
            return f"a row's answer in output {name!r} depends on the other rows of its call"
    return ""


def _alike(left: Array, right: Array) -> bool:
    if left.dtype.kind not in "fV":
        return bool(np.array_equal(left, right))
    a, b = left.astype(np.float64), right.astype(np.float64)
    finite = np.abs(a[np.isfinite(a)])
    return bool(np.allclose(a, b, rtol=0, atol=_TOLERANCE * float(finite.max(initial=0)), equal_nan=True))


def _made_up(inputs: Sequence[TensorSpec], rows: int | None) -> Iterator[dict[str, Array]]:
    """Inputs to try, the likeliest to work first: small, and distinct values before zeros."""
    skip = 0 if rows is None else 1
    free = any(-1 in spec.shape[skip:] for spec in inputs)
    for size in _SIZES if free else _SIZES[:1]:
        shapes = [
            tuple(rows if rows is not None and axis == 0 else size if dim == -1 else dim for axis, dim in enumerate(spec.shape))
            for spec in inputs
        ]
        if any(prod(shape) > _MOST_ELEMENTS for shape in shapes):
            return
        random = np.random.default_rng(0)
        yield {spec.name: _values(spec, shape, random) for spec, shape in zip(inputs, shapes, strict=True)}
        yield {
            spec.name: np.full(shape, b"" if spec.datatype == "BYTES" else 0, spec.dtype)
            for spec, shape in zip(inputs, shapes, strict=True)
        }


def _values(spec: TensorSpec, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if spec.datatype in FLOATS:
        return random.random(shape).astype(spec.dtype)
    bits = random.integers(0, 2, shape)  # 0 and 1 are valid as most indices, flags and categories
    if spec.datatype in INTEGERS or spec.datatype == "BOOL":
        return bits.astype(spec.dtype)
    texts = np.array([b"0", b"1"], dtype=object)
    return np.asarray(texts[bits], dtype=object)
