"""A request that a model answers, made from its signature alone: for the start-up summary, and the API's documentation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from models import Signature
from models.tensor import FLOATS, INTEGERS

#: Where a free dim has to have some length.
FREE_DIM = 1


def instances(signature: Signature) -> dict[str, object] | None:
    """A body for ``:predict``: one row of made-up values; None where JSON rows cannot say it (unbatched, or too long to paste)."""
    if not signature.batched or _elements(signature) > 256:
        return None
    needed = [spec for spec in signature.inputs if not spec.optional]
    if len(signature.inputs) == 1:
        return {"instances": [value(needed[0].datatype, needed[0].shape[1:])]} if needed else None
    return {"instances": [{spec.name: value(spec.datatype, spec.shape[1:]) for spec in needed}]}


def curl(address: str, model: str, signature: Signature, *, keyed: bool = False) -> str | None:
    """A line that works when pasted into a shell; ``keyed``: one whose variable TUREEN_API_KEY holds a key."""
    body = instances(signature)
    if body is None:
        return None
    shown = '-H "Authorization: Bearer $TUREEN_API_KEY" ' if keyed else ""
    return f"curl -s {shown}http://{address}/v1/models/{model}:predict -d '{msgspec.json.encode(body).decode()}'"


def weight(signature: Signature) -> int:
    """How long the example is: the shortest makes the best first impression."""
    return _elements(signature)


def _elements(signature: Signature) -> int:
    return sum(
        math.prod(FREE_DIM if dim == -1 else dim for dim in spec.shape[1:]) for spec in signature.inputs if not spec.optional
    )


def scalar(datatype: str) -> object:
    """One element of that datatype, as JSON says it."""
    return 0.5 if datatype in FLOATS else 3 if datatype in INTEGERS else False if datatype == "BOOL" else "text"


def value(datatype: str, shape: Sequence[int]) -> object:
    """Arrays in arrays of that shape, each free dim of length FREE_DIM."""
    made = scalar(datatype)
    for dim in reversed(shape):
        made = [made] * (FREE_DIM if dim == -1 else dim)
    return made
