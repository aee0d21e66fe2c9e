"""Requests in TensorFlow Serving's REST predict form; `tfserving_answer.py` writes the answers.

Rows come as `{"instances": [...]}`, whole tensors as `{"inputs": ...}`. Datatypes stand nowhere in a request: they are the
model's. Rows of named values are turned into columns as text, before anything is parsed, so that each input is one JSON array
and one strict decoder judges it, however many rows there are.
https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from functools import cache
from types import GenericAlias
from typing import Any

import msgspec
import numpy as np

from models.errors import InvalidInput, Problem
from models.nearest import nearest
from models.signature import Signature
from models.tensor import Array, TensorSpec
from service.errors import BadRequest, ServiceError
from service.guard.input.content import DEFAULT, Content
from service.protocol.infer import Infer
from service.protocol.json_data import clip, found_at, to_array
from service.protocol.outline import LONG, Outline
from service.protocol.pictures import Upload
from service.protocol.plain_numbers import NotPlain
from service.protocol.tfserving_answer import COLUMN, ROW, SIGNATURE, encode, metadata, status

__all__ = ["decode", "encode", "metadata", "status"]

_FORMS = "rows as instances, or whole tensors as inputs"
_KEYS = ("instances", "inputs", "signature_name")
_MOST_DIMS = 64  # what numpy can hold
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ROWS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_FIRST = re.compile(rb"\s*\[\s*(.)", re.DOTALL)
_OPENING = re.compile(rb"[\s\[]*")
_WHERE = re.compile(r" - at `\$(?P<where>.*)`$", re.DOTALL)


def decode(
    body: bytes,
    signature: Signature,
    header_length: str | None = None,
    content: Content = DEFAULT,
    upload: Upload | None = None,
    outline: Outline | None = None,
) -> Infer:
    """A request whose tensors fit the model; its ``form``, ROW or COLUMN, is the answer's too.

    Raises BadRequest for what is not this protocol, InvalidInput for tensors that do not fit, TensorTooLarge and TooManyRows for
    more than ``content`` allows. ``header_length`` is the header of another protocol's binary form, and refused; encoded images
    go by other protocols, whatever ``upload`` says. With an ``outline``, whose text is the body, what was cut out of it is read
    too, and NotPlain raised where that is not proven right.
    """
    if header_length is not None:
        raise BadRequest("Inference-Header-Content-Length goes with /v2/models/M/infer; the body of :predict is JSON alone.")
    if len(body) >= LONG and outline is None and (cut := Outline.of(body, content.elements)) is not None:
        # Whatever is wrong is looked for, and told, in the body as it came.
        with suppress(NotPlain, InvalidInput, ServiceError):
            return decode(cut.text, signature, None, content, None, cut)
    content.check_json(body)
    try:
        top = _OBJECT.decode(body)
        form = _form(top)
        if form == ROW:
            arrays, keys = _rows(top["instances"], signature, content, outline)
        else:
            arrays, keys = _tensors(top["inputs"], signature, content, outline)
        # A colon follows every key: where there are no more of them than keys, no key was given twice.
        if body.count(b":") != len(top) + keys:
            _check_duplicates(body)
        if outline is not None:
            outline.check_used()
    except RecursionError:
        raise BadRequest(f"The body is nested too deep; a tensor has at most {_MOST_DIMS} levels.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(body, error, signature) from None
    try:
        rows = signature.check(arrays)
    except InvalidInput as error:
        raise (_of_rows(error, arrays, signature) if form == ROW else error) from None
    if rows > content.rows:
        raise content.too_many(rows)
    return Infer(arrays, rows, signature.output_names, form=form)


def _form(top: Mapping[str, msgspec.Raw]) -> str:
    if len(top) == 1:
        if "instances" in top:
            return ROW
        if "inputs" in top:
            return COLUMN
    for key in top:
        if key not in _KEYS:
            raise BadRequest(f"The body of :predict has no key {clip(key)!r}; did you mean {nearest(key, _KEYS)}?")
    if "signature_name" in top:
        name = msgspec.json.decode(top["signature_name"])
        if name not in (SIGNATURE, "", None):
            raise BadRequest(f"The model's only signature is {SIGNATURE}; leave signature_name out, it was {clip(repr(name))}.")
    if "instances" in top and "inputs" in top:
        raise BadRequest("The body has both instances and inputs; send rows as instances, or whole tensors as inputs.")
    if "instances" not in top and "inputs" not in top:
        raise BadRequest("The body has neither instances nor inputs; send rows as instances, or whole tensors as inputs.")
    return ROW if "instances" in top else COLUMN


def _rows(raw: msgspec.Raw, signature: Signature, content: Content, outline: Outline | None) -> tuple[dict[str, Array], int]:
    """The columns that the rows make, and the number of keys in them."""
    if not signature.batched:
        raise BadRequest("The model takes no rows, its tensors' first dimension counts something else; send them as inputs.")
    content.check_list(raw)
    first = _FIRST.match(raw)
    if first is None or first[1] == b"]":
        got = "an empty list" if first else clip(bytes(raw).decode(errors="replace"))
        raise InvalidInput(Problem("instances", "there are no rows", "a list of at least 1 row", got))
    if first[1] != b"{" or (_takes_b64(signature) and _is_b64(_OBJECT.decode(_LIST.decode(raw)[0]))):
        spec = _only(signature, "instances")
        if outline is not None and (numbers := outline.tensor(raw, spec.datatype, spec.shape)) is not None:
            return {spec.name: numbers}, 0
        content.check_data(raw, "instances")
        return {spec.name: _column(bytes(raw), spec, "")}, 0
    try:
        rows = _ROWS.decode(raw)
    except msgspec.ValidationError as error:
        path = "instances" + _where(error)
        raise InvalidInput(Problem(path, "the row is not like the first", "an object of inputs by name")) from None
    names, count = rows[0].keys(), len(rows)
    if count > 1:
        for index, row in enumerate(rows):
            if row.keys() != names:
                raise _uneven(index, row.keys(), names)
    columns: dict[str, Array] = {}
    for name, value in rows[0].items():
        known = signature.by_name.get(name)
        spec = known or signature.input(name, f"instances[0].{clip(name)}")
        if outline is not None:
            stacked = outline.column([row[name] for row in rows], spec.datatype, spec.shape[1:])
            if stacked is not None:
                columns[name] = stacked
                continue
        column = b"[%b]" % (value if count == 1 else b",".join([row[name] for row in rows]))
        content.check_data(column, f"instances[].{clip(name)}")
        columns[name] = _column(column, spec, "." + name, count)
    for spec in signature.inputs:
        if spec.name not in columns and not spec.optional:
            raise InvalidInput(Problem("instances[0]", "an input is missing", spec.name, ", ".join(columns) or "none"))
    return columns, count * len(names)


def _tensors(raw: msgspec.Raw, signature: Signature, content: Content, outline: Outline | None) -> tuple[dict[str, Array], int]:
    """The tensors of the column form, and the number of their names."""
    if not bytes(raw).lstrip().startswith(b"{"):
        spec = _only(signature, "inputs")
        if outline is not None and (numbers := outline.tensor(raw, spec.datatype, spec.shape)) is not None:
            return {spec.name: numbers}, 0
        content.check_data(raw, "inputs")
        return {spec.name: _tensor(raw, spec, "inputs")}, 0
    named = _OBJECT.decode(raw)
    if _takes_b64(signature) and _is_b64(named):
        spec = signature.inputs[0]
        return {spec.name: _tensor(raw, spec, "inputs")}, 1
    arrays: dict[str, Array] = {}
    for name, inner in named.items():
        path = f"inputs.{clip(name)}"
        spec = signature.input(name, path)
        if outline is not None and (numbers := outline.tensor(inner, spec.datatype, spec.shape)) is not None:
            arrays[name] = numbers
            continue
        content.check_data(inner, path)
        arrays[name] = _tensor(inner, spec, path)
    return arrays, len(named)


def _only(signature: Signature, path: str) -> TensorSpec:
    if len(signature.inputs) != 1:
        names = ", ".join(spec.name for spec in signature.inputs)
        raise InvalidInput(
            Problem(path, "the model has several inputs, so each value needs a name", f"objects of {names}", "no names")
        )
    return signature.inputs[0]


def _takes_b64(signature: Signature) -> bool:
    """Whether an object may be a value, `{"b64": …}`, rather than inputs by name."""
    inputs = signature.inputs
    return len(inputs) == 1 and inputs[0].datatype == "BYTES" and inputs[0].name != "b64"


def _is_b64(named: Mapping[str, object]) -> bool:
    return named.keys() == {"b64"}


def _column(raw: bytes, spec: TensorSpec, suffix: str, rows: int = -1) -> Array:
    """One input's tensor from the list of its values, one a row; a fault is told by the row it lies in."""
    try:
        # A flat list of known length is decoded quickest: one value a row, or one row of values.
        if spec.datatype != "BYTES":
            if len(spec.shape) == 1 and rows > 0:
                return to_array(raw, spec.datatype, (rows,), "instances", missing=spec.missing)
            if (
                len(spec.shape) == 2
                and spec.shape[1] > 0
                and raw.startswith(b"[[")
                and raw.endswith(b"]]")
                and raw.count(b"[") == 2
            ):
                return to_array(raw[1:-1], spec.datatype, (1, spec.shape[1]), "instances", missing=spec.missing)
        return _tensor(raw, spec, "instances")
    except InvalidInput:
        first: tuple[int, ...] | None = None
        for index, row in enumerate(_LIST.decode(raw)):
            path = f"instances[{index}]{suffix}"
            shape = _tensor(row, spec, path).shape
            if not _fits(shape, spec):
                raise _misshapen(path, shape, spec) from None
            if first is not None and shape != first:
                raise InvalidInput(
                    Problem(path, "the rows differ in shape", f"{list(first)} as before it", str(list(shape)))
                ) from None
            first = shape
        raise


def _tensor(raw: msgspec.Raw | bytes, spec: TensorSpec, path: str) -> Array:
    if spec.datatype == "BYTES" and b"{" in bytes(raw):
        return _bytes(raw, path)
    return to_array(raw, spec.datatype, None, path, missing=spec.missing)


class _B64(msgspec.Struct, forbid_unknown_fields=True):
    b64: bytes


@cache
def _bytes_decoder(depth: int) -> msgspec.json.Decoder[Any]:
    nest: Any = str | _B64
    for _ in range(depth):
        nest = GenericAlias(list, nest)
    return msgspec.json.Decoder(nest)


def _bytes(raw: msgspec.Raw | bytes, path: str) -> Array:
    """A tensor of BYTES some of which are, or look as if they were, written `{"b64": …}`."""
    opening = _OPENING.match(raw)
    depth = opening.group().count(b"[") if opening else 0
    if depth > _MOST_DIMS:
        raise InvalidInput(Problem(path, "the data is nested too deep", f"at most {_MOST_DIMS} levels", f"{depth} levels"))
    try:
        values = np.array(_bytes_decoder(depth).decode(raw), object)
    except msgspec.ValidationError as error:
        where = _where(error)
        expected = 'a string or {"b64": "<base64>"}'
        raise InvalidInput(Problem(path + where, "not a value of BYTES", expected, found_at(raw, where))) from None
    if values.ndim != depth:
        raise InvalidInput(Problem(path, "the data is ragged", "rows of one length"))
    array = np.empty(values.size, object)
    for index, value in enumerate(values.ravel()):
        array[index] = value.b64 if isinstance(value, _B64) else value.encode()
    return array.reshape(values.shape)


def _fits(shape: Sequence[int], spec: TensorSpec) -> bool:
    """Whether one row has the shape that the model wants of it."""
    want = spec.shape[1:]
    return len(shape) == len(want) and all(dim in (-1, got) for dim, got in zip(want, shape, strict=True))


def _misshapen(path: str, shape: Sequence[int], spec: TensorSpec) -> InvalidInput:
    problem = "the shape of the row does not fit the model"
    return InvalidInput(Problem(path, problem, f"{list(spec.shape[1:])}" if len(spec.shape) > 1 else "one value", str(list(shape))))


def _of_rows(error: InvalidInput, arrays: Mapping[str, Array], signature: Signature) -> InvalidInput:
    """The signature's refusal, told by the first row where it is about the shape that all rows have."""
    for name, array in arrays.items():
        spec = signature.by_name[name]
        if not _fits(array.shape[1:], spec):
            return _misshapen("instances[0]" + f".{name}" * (len(signature.inputs) > 1), array.shape[1:], spec)
    return error


def _uneven(index: int, row: Set[str], first: Set[str]) -> InvalidInput:
    name = min(row ^ first)
    path = f"instances[{index}].{clip(name)}"
    want, got = ("absent", "present") if name in row else ("present", "absent")
    return InvalidInput(Problem(path, "an input is in every row or in none", f"{want} as in instances[0]", got))


def _where(error: msgspec.ValidationError) -> str:
    found = _WHERE.search(str(error))
    return found["where"] if found else ""


def _not_json(body: bytes, error: Exception, signature: Signature) -> BadRequest:
    if isinstance(error, msgspec.ValidationError):
        came = clip(body.strip().decode(errors="replace"))
        return BadRequest(f"The body of :predict is an object, and {came!r} came; send {_FORMS}.")
    if not body.strip():
        return BadRequest(f"The body is empty; send an object with {_FORMS}.")
    if b"NaN" in body or b"Infinity" in body:
        null = "null for a missing value, or " * any(spec.missing for spec in signature.inputs)
        return BadRequest(
            f"The body is not JSON, which has no NaN or Infinity ({error}): send {null}the tensor to /v2/models/M/infer, in binary."
        )
    after = f" after {len(body)} bytes" if str(error).endswith("truncated") else ""
    return BadRequest(f"The body is not JSON in UTF-8: {error}{after}.")


def _check_duplicates(body: bytes) -> None:
    def pairs(items: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for key, _ in items:
            if key in seen:
                raise BadRequest(f"The body gives {clip(key)!r} twice in one object; give each key once.")
            seen.add(key)

    # Numbers are not of interest here, and some that stand under a key given twice may be ones that Python refuses.
    json.loads(body.decode(), object_pairs_hook=pairs, parse_int=str, parse_float=str)
