"""The most usual inference request, read in one step: one dense tensor of numbers, flat, nothing else asked for.

A typed decoder made for the model's signature parses, checks and converts such a body at once. It judges nothing: whatever it does
not take goes to ``oip.decode``, which takes or refuses it with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from types import GenericAlias
from typing import Any, Literal

import msgspec
import numpy as np

from models.signature import Signature
from models.tensor import DTYPES
from service.protocol.infer import Infer
from service.protocol.json_data import element

KEY = "oip"
#: Where values can be in range and still not be the tensor, or the answer needs more than JSON has.
_HARD = frozenset({"UINT64", "FP16", "BF16", "BYTES"})


class _Tensor(msgspec.Struct, gc=False):
    name: str
    shape: Sequence[int]
    datatype: str
    data: Sequence[Any]


class _Body(msgspec.Struct, gc=False):
    inputs: tuple[_Tensor]
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Single:
    """How such requests for one signature are read; without a decoder none can be."""

    decoder: msgspec.json.Decoder[_Body] | None
    name: str = ""
    trailing: tuple[int, ...] = ()
    size: int = 0
    outputs: tuple[str, ...] = ()

    def decode(self, body: bytes) -> Infer | None:
        """The request, checked; None where it is anything else."""
        if self.decoder is None:
            return None
        try:
            request = self.decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        (tensor,) = request.inputs
        shape, data = tensor.shape, tensor.data
        if tensor.name != self.name or not shape or tuple(shape[1:]) != self.trailing:
            return None
        rows = shape[0]
        if rows < 1 or rows * self.size != len(data):
            return None
        array = np.array(data, DTYPES[tensor.datatype])
        if self.trailing:
            array = array.reshape(shape)
        return Infer({self.name: array}, rows, self.outputs, request.id)


def prepare(signature: Signature) -> Single:
    """Works out, once for a signature, how its usual requests are read."""
    signature.prepared[KEY] = single = _single(signature)
    return single


def _single(signature: Signature) -> Single:
    none = Single(None)
    if not signature.batched or len(signature.inputs) != 1:
        return none
    (spec,) = signature.inputs
    trailing = tuple(spec.shape[1:])
    if spec.optional or spec.uniform or -1 in trailing or not prod(trailing) or spec.datatype in _HARD:
        return none
    if any(output.datatype in _HARD for output in signature.outputs):
        return none
    # FP32's bounds serve FP64 too: a value beyond them is for the decoder of every form to judge.
    narrow = "FP32" if spec.datatype == "FP64" else spec.datatype
    datatypes = ("FP32", "FP64") if spec.widens and spec.datatype == "FP64" else (spec.datatype,)
    tensor = msgspec.defstruct(
        "Tensor",
        [
            ("name", str),
            ("shape", list[int]),
            ("datatype", Literal[datatypes]),
            ("data", GenericAlias(list, element(narrow))),
            ("parameters", None, None),
        ],
        gc=False,
    )
    body = msgspec.defstruct(
        "Body",
        [
            ("inputs", GenericAlias(tuple, tensor)),
            ("id", str | None, None),
            ("outputs", None, None),
            ("parameters", None, None),
        ],
        gc=False,
    )
    return Single(msgspec.json.Decoder(body), spec.name, trailing, prod(trailing), signature.output_names)
