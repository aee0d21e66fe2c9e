"""The bodies of requests: made from what the server says of the model, or read from a file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson

from models.tensor import DTYPES, FLOATS, Array
from service.protocol.binary import to_binary

Protocol = Literal["oip", "oip-binary", "tfserving"]

#: JSON has no number of these: they travel in binary.
_BINARY_ONLY = frozenset({"FP16", "BF16"})
#: All bodies together (bytes).
MOST_BYTES = 256 * 1024**2
_LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))


class Unusable(Exception):
    """There is nothing to ask with: a sentence with what to do."""


@dataclass(frozen=True, slots=True)
class Body:
    """One request's content; ``json_length``: where binary tensors begin, None where there are none."""

    content: bytes
    rows: int
    json_length: int | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor to send, without its first dim where the model is batched."""

    name: str
    datatype: str
    dims: tuple[int, ...]


def bodies(config: Mapping[str, Any], protocol: Protocol, data: Path | None, rows: int, distinct: int, seed: int) -> list[Body]:
    """The requests of a run: those of the file ``data``, else made up from the model's `/config`. Raises Unusable."""
    if data is None:
        specs, batched = inputs(config)
        return made(specs, batched, protocol, rows, distinct, seed)
    try:
        return read(data, protocol)
    except OSError as error:
        raise Unusable(f"the file of --data cannot be read: {error.strerror}") from error


def inputs(config: Mapping[str, Any]) -> tuple[list[Input], bool]:
    """The inputs that every request needs, by the model's `/config`, and whether its rows are batched. Raises Unusable."""
    try:
        batched = int(config["max_batch_size"]) > 0
        found = [
            Input(str(spec["name"]), _datatype(str(spec["data_type"])), tuple(1 if dim < 0 else int(dim) for dim in spec["dims"]))
            for spec in config["input"]
            if not spec.get("optional")
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unusable("the server does not say which inputs the model has; give requests of your own with --data") from error
    if not found:
        raise Unusable("the model needs no input at all; give requests of your own with --data")
    unknown = next((one for one in found if one.datatype not in DTYPES), None)
    if unknown is not None:
        raise Unusable(f"input {unknown.name} is of {unknown.datatype}, which cannot be made here; give requests with --data")
    return found, batched


def made(specs: Sequence[Input], batched: bool, protocol: Protocol, rows: int, distinct: int, seed: int) -> list[Body]:
    """``distinct`` requests of ``rows`` random rows each; the same seed makes the same. Raises Unusable.

    Floats are from 0 to 1, whole numbers from 0 to 9, BYTES eight small letters. A dim that is free has length 1.
    """
    if not batched and rows != 1:
        raise Unusable("the model is not batched: a request has no rows to choose the number of; leave out --rows")
    binary_only = [spec.name for spec in specs if spec.datatype in _BINARY_ONLY]
    if binary_only and protocol != "oip-binary":
        raise Unusable(f"JSON cannot say what input {binary_only[0]} takes; use --protocol oip-binary")
    per_request = sum(math.prod(spec.dims) for spec in specs) * rows * 20
    if per_request > MOST_BYTES:
        raise Unusable(f"one request would have some {per_request:,} bytes; give fewer --rows")
    random = np.random.default_rng(seed)
    count = max(1, min(distinct, MOST_BYTES // max(1, per_request)))
    return [_body(specs, batched, protocol, rows, random) for _ in range(count)]


def read(file: Path, protocol: Protocol) -> list[Body]:
    """The requests in a file: one JSON object, or one a line. Raises Unusable, and OSError."""
    if protocol == "oip-binary":
        raise Unusable("--data holds JSON; use --protocol oip or tfserving")
    with file.open("rb") as opened:
        text = opened.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise Unusable(f"the file of --data has more than {MOST_BYTES:,} bytes; give fewer requests, they are sent again and again")
    found = [Body(content, rows_of(document, protocol)) for content, document in _documents(text)]
    if not found:
        raise Unusable("the file of --data is empty; write a request into it as JSON, or one a line")
    return found


def _documents(text: bytes) -> Iterator[tuple[bytes, Mapping[str, Any]]]:
    try:
        orjson.loads(text)
    except json.JSONDecodeError:
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield line, _object(line, f", line {number},")
    else:
        yield text, _object(text, "")


def _object(text: bytes, where: str) -> Mapping[str, Any]:
    try:
        found = orjson.loads(text)
    except json.JSONDecodeError as error:
        raise Unusable(f"the file of --data{where} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Unusable(f'the file of --data{where} holds no object; expected the body of a request, as in {{"inputs": …}}')
    return found


def rows_of(request: Mapping[str, Any], protocol: Protocol) -> int:
    """How many rows a request has, as far as that can be told without its model."""
    try:
        if protocol == "oip":
            return max(1, int(request["inputs"][0]["shape"][0]))
        if "instances" in request:
            return max(1, len(request["instances"]))
        columns = request["inputs"]
        return max(1, len(next(iter(columns.values())) if isinstance(columns, dict) else columns))
    except (KeyError, IndexError, TypeError, ValueError, StopIteration):
        return 1  # the server will say what is wrong with it


def _body(specs: Sequence[Input], batched: bool, protocol: Protocol, rows: int, random: np.random.Generator) -> Body:
    arrays = {spec.name: _array(spec, (rows, *spec.dims) if batched else spec.dims, random) for spec in specs}
    if protocol == "tfserving":
        return Body(_predict(arrays, batched), rows)
    tensors: list[dict[str, object]] = []
    tail = b""
    for spec in specs:
        array = arrays[spec.name]
        tensor: dict[str, object] = {"name": spec.name, "datatype": spec.datatype, "shape": list(array.shape)}
        if protocol == "oip-binary":
            octets = to_binary(array.astype(DTYPES[spec.datatype], copy=False), spec.name)
            tail += octets
            tensors.append({**tensor, "parameters": {"binary_data_size": len(octets)}})
        else:
            tensors.append({**tensor, "data": array.ravel().tolist()})
    if protocol == "oip":
        return Body(_json({"inputs": tensors}), rows)
    head = _json({"inputs": tensors, "parameters": {"binary_data_output": True}})
    return Body(head + tail, rows, len(head))


def _predict(arrays: Mapping[str, Array], batched: bool) -> bytes:
    columns = {name: array.tolist() for name, array in arrays.items()}
    if not batched:
        return _json({"inputs": columns})
    return _json({"instances": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]})


def _array(spec: Input, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if spec.datatype == "BYTES":
        letters = random.choice(_LETTERS, (math.prod(shape), 8))
        words = np.array(["".join(word) for word in letters], object)
        return words.reshape(shape)
    if spec.datatype == "BOOL":
        return random.random(shape) < 0.5
    if spec.datatype in FLOATS:
        return np.round(random.random(shape), 4)  # of 64 bits: JSON has them with four digits
    return random.integers(0, 10, shape).astype(DTYPES[spec.datatype])


def _json(content: object) -> bytes:
    return orjson.dumps(content)


def _datatype(config_type: str) -> str:
    name = config_type.removeprefix("TYPE_")
    return "BYTES" if name == "STRING" else name
