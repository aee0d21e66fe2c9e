"""A request that a model answers, made from its signature alone: for the curl line of the start-up summary."""

from __future__ import annotations

import math

import msgspec

from models import Signature, TensorSpec
from models.tensor import FLOATS, INTEGERS

#: Where a free dim has to have some length.
FREE_DIM = 1


def instances(signature: Signature) -> dict[str, object] | None:
    """A body for ``:predict``: one row of made-up values; None where JSON rows cannot say it (unbatched, or too long to paste)."""
    if not signature.batched or _elements(signature) > 256:
        return None
    needed = [spec for spec in signature.inputs if not spec.optional]
    if len(signature.inputs) == 1:
        return {"instances": [_value(needed[0])]} if needed else None
    return {"instances": [{spec.name: _value(spec) for spec in needed}]}


def curl(address: str, model: str, signature: Signature) -> str | None:
    """A line that works when pasted into a shell."""
    body = instances(signature)
    if body is None:
        return None
    return f"curl -s http://{address}/v1/models/{model}:predict -d '{msgspec.json.encode(body).decode()}'"


def weight(signature: Signature) -> int:
    """How long the example is: the shortest makes the best first impression."""
    return _elements(signature)


def _elements(signature: Signature) -> int:
    return sum(
        math.prod(FREE_DIM if dim == -1 else dim for dim in spec.shape[1:]) for spec in signature.inputs if not spec.optional
    )


def _value(spec: TensorSpec) -> object:
    scalar: object = (
        0.5 if spec.datatype in FLOATS else 3 if spec.datatype in INTEGERS else False if spec.datatype == "BOOL" else "text"
    )
    value = scalar
    for dim in reversed(spec.shape[1:]):
        value = [value] * (FREE_DIM if dim == -1 else dim)
    return value
