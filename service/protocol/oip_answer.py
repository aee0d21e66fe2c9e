"""The Open Inference Protocol's answer to an inference: JSON, with the outputs that were asked for in binary behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import orjson

from models.errors import InferenceError
from models.tensor import DATATYPES, Array
from service.protocol.binary import to_binary
from service.protocol.infer import Encoded, Infer
from service.protocol.json_data import clip, encode_array


@dataclass(frozen=True, slots=True)
class Form:
    """How a caller wants the answer. ``binary`` and ``classes`` run along the outputs; 0 classes means the tensor itself.

    ``labels`` name the classes of the output ``labelled``, where a classification of it is asked for.
    """

    binary: tuple[bool, ...]
    classes: tuple[int, ...]
    non_finite: bool = False
    batched: bool = True
    labelled: str | None = None
    labels: tuple[str, ...] = ()


def encode(infer: Infer, outputs: Mapping[str, Array], model: str, version: str) -> Encoded:
    """The answer, valid JSON in any case.

    Raises NotFinite and BadRequest for what JSON cannot say, InferenceError for what no datatype of the protocol is.
    """
    end = b"]}" if infer.id is None else b'],"id":%b}' % orjson.dumps(infer.id)
    form = infer.form
    head = _head(model, version)
    if form is None:
        if len(infer.outputs) == 1:
            (name,) = infer.outputs
            return Encoded(b"%b%b%b" % (head, _tensor(name, outputs[name]), end))
        return Encoded(head + b",".join([_tensor(name, outputs[name]) for name in infer.outputs]) + end)
    if not isinstance(form, Form):
        raise TypeError("the request was decoded by another protocol")
    tensors: list[bytes] = []
    tail: list[bytes] = []
    for name, binary, classes in zip(infer.outputs, form.binary, form.classes, strict=True):
        array = outputs[name]
        if classes:
            array = _classified(array, classes, form.batched, form.labels if name == form.labelled else ())
        if binary:
            octets = to_binary(array, name)
            tail.append(octets)
            tensors.append(_tensor_head(name, array.dtype, array.shape) + b'"parameters":{"binary_data_size":%d}}' % len(octets))
        else:
            tensors.append(_tensor(name, array, form.non_finite))
    body = head + b",".join(tensors) + end
    if not tail:
        return Encoded(body)
    length = (b"inference-header-content-length", b"%d" % len(body))
    return Encoded(b"".join((body, *tail)), b"application/octet-stream", (length,))


def _tensor(name: str, array: Array, non_finite: bool = False) -> bytes:
    shape = array.shape
    flat = array if len(shape) == 1 else array.reshape(-1)
    data = encode_array(flat, name, non_finite=non_finite)
    return b'%b"data":%b}' % (_tensor_head(name, array.dtype, shape), data)


@lru_cache(maxsize=1024)
def _head(model: str, version: str) -> bytes:
    return b'{"model_name":%b,"model_version":%b,"outputs":[' % (orjson.dumps(model), orjson.dumps(version))


@lru_cache(maxsize=4096)
def _tensor_head(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    datatype = DATATYPES.get(dtype.newbyteorder("="))
    if datatype is None:
        raise InferenceError(f"Output {clip(name)} is of numpy's dtype {dtype}, which is none of the protocol's datatypes.")
    head = b'{"name":%b,"datatype":%b,"shape":%b,'
    return head % (orjson.dumps(name), orjson.dumps(datatype), orjson.dumps(shape))


def _classified(array: Array, most: int, batched: bool, labels: Sequence[str]) -> Array:
    """The best ``most`` classes of each row, as BYTES "value:index" or "value:index:label", highest value first."""
    rows = array.reshape(array.shape[0] if batched else 1, -1) if array.size else array.reshape(len(array), 0)
    plain = {"BF16": np.float32, "BOOL": np.uint8}.get(DATATYPES.get(rows.dtype, ""))
    values = rows if plain is None else rows.astype(plain)
    ranks = np.where(np.isnan(values), -np.inf, values) if values.dtype.kind == "f" else values
    width = rows.shape[1]
    # Sorted from behind and turned round, so that of equal values the lower index comes first.
    order = width - 1 - np.argsort(ranks[:, ::-1], axis=1, kind="stable")[:, ::-1][:, :most]
    texts = np.empty(order.shape, object)
    for row, indices in enumerate(order.tolist()):
        for column, index in enumerate(indices):
            label = f":{labels[index]}" if index < len(labels) else ""
            texts[row, column] = f"{values[row, index]!s}:{index}{label}".encode()
    return texts if batched else texts[0]
