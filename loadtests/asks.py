"""Requests of a scenario, and whether an answer is right: what the idle server answered, one request at a time, is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np

from models.tensor import DTYPES, Array
from service.commands.bench import payload
from service.commands.bench.payload import Protocol
from service.commands.client import Client

LENGTH = "inference-header-content-length"
#: The last bits of a matrix product depend on how many rows share a call.
RELATIVE, ABSOLUTE = 1e-4, 1e-6

#: An answer's body and where its binary tensors begin, to what is wrong with it; None where nothing is.
Judge = Callable[[bytes, int | None], str | None]


class Unasked(Exception):
    """The server did not say what to ask it, or did not answer before the test began."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request. ``kind``: the ones that are counted together; ``excused``: the code of a refusal that is no failure."""

    kind: str
    path: str
    body: bytes
    headers: Mapping[str, str]
    wrong: Judge
    excused: str = ""


def outputs(body: bytes, json_length: int | None = None) -> dict[str, Array]:
    """The tensors of an answer of the Open Inference Protocol. Raises ValueError, KeyError, TypeError for what is none."""
    tensors: Sequence[Mapping[str, Any]] = json.loads(body if json_length is None else body[:json_length])["outputs"]
    rest = b"" if json_length is None else body[json_length:]
    found: dict[str, Array] = {}
    for tensor in tensors:
        dtype = DTYPES[tensor["datatype"]]
        size = (tensor.get("parameters") or {}).get("binary_data_size")
        if size is None:
            array = np.asarray(tensor["data"], dtype)
        else:
            array, rest = np.frombuffer(rest[:size], dtype), rest[size:]
        found[tensor["name"]] = array.reshape(tensor["shape"])
    return found


def like(right: Mapping[str, Array]) -> Judge:
    """Judges by the right answer's tensors."""

    def wrong(body: bytes, json_length: int | None) -> str | None:
        try:
            given = outputs(body, json_length)
        except (ValueError, KeyError, TypeError) as error:
            return f"the answer cannot be read: {type(error).__name__}"
        if given.keys() != right.keys():
            return f"expected outputs {sorted(right)}, got {sorted(given)}"
        for name, expected in right.items():
            got = given[name]
            same = got.shape == expected.shape
            if not same or not (
                np.allclose(got, expected, RELATIVE, ABSOLUTE) if got.dtype.kind == "f" else (got == expected).all()
            ):
                return f"output {name} is not what it was when the request was asked alone"
        return None

    return wrong


def classes(body: bytes) -> dict[int, float]:
    """The scores of an image's classes, by index. Raises ValueError, KeyError, TypeError for what is no answer about one image."""
    (prediction,) = json.loads(body)["predictions"]
    return {int(one["index"]): float(one["score"]) for one in prediction["classes"]}


def classed(right: Mapping[int, float]) -> Judge:
    """Judges by the right answer's classes."""

    def wrong(body: bytes, _: int | None = None) -> str | None:
        try:
            got = classes(body)
        except (ValueError, KeyError, TypeError) as error:
            return f"the answer is not one prediction with classes: {type(error).__name__}"
        if got.keys() != right.keys() or not all(np.isclose(got[index], right[index], RELATIVE, ABSOLUTE) for index in right):
            return "the classes are not what they were when the request was asked alone"
        return None

    return wrong


def ranked(k: int) -> Judge:
    """Judges a recommendation in TensorFlow Serving's form: k different items, best first."""

    def wrong(body: bytes, _: int | None = None) -> str | None:
        try:
            (answer,) = json.loads(body)["predictions"]
            items, scores = answer["items"], answer["scores"]
        except (ValueError, KeyError, TypeError) as error:
            return f"the answer is not one prediction with items and scores: {type(error).__name__}"
        if len(set(items)) != k or len(scores) != k:
            return f"expected {k} different items with scores, got {len(items)} items, {len(scores)} scores"
        if scores != sorted(scores, reverse=True):
            return "the items are not in the order of their scores"
        return None

    return wrong


def of_model(
    client: Client, model: str, version: str, protocols: Sequence[Protocol], distinct: int, excused: str = ""
) -> list[Ask]:
    """Made-up requests for a version, in each protocol, with the right answers to them. Raises Unasked, and Unreachable."""
    place = f"/v2/models/{quote(model, safe='')}/versions/{quote(version, safe='')}"
    config = client.get(f"{place}/config")
    found = config.json()
    if config.status != 200 or not isinstance(found, dict):
        raise Unasked(f"{model} {version}: {config.error}")
    made: list[Ask] = []
    right: list[Judge] = []
    for protocol in protocols:
        bodies = payload.bodies(found, protocol, None, 1, distinct, seed=1)
        if not right:
            right = [like(_answer(client, place, body)) for body in bodies]
        kind = f"{model} {version}" if len(protocols) == 1 else f"{model} {version}, {'JSON' if protocol == 'oip' else 'binary'}"
        made += [
            Ask(kind, f"{place}/infer", body.content, {**_headers(body), "Accept-Encoding": "identity"}, judge, excused)
            for body, judge in zip(bodies, right, strict=True)
        ]
    return made


def _answer(client: Client, place: str, body: payload.Body) -> dict[str, Array]:
    reply = client.send(f"{place}/infer", body.content, _headers(body))
    if reply.status != 200:
        raise Unasked(f"{place}: {reply.error}")
    length = reply.headers.get(LENGTH)
    return outputs(reply.body, None if length is None else int(length))


def _headers(body: payload.Body) -> dict[str, str]:
    if body.json_length is None:
        return {"Content-Type": "application/json"}
    return {"Content-Type": "application/octet-stream", LENGTH: str(body.json_length)}
