"""One request, four ways to its answer: Hypercorn and uvicorn, the express lane and Quart, which may not differ in anything."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tests.e2e.conftest import SERVERS, Servers
from tests.e2e.kitchen import BIAS, Gate
from tests.e2e.served import Reply

ID = {"X-Request-Id": "a-bowl-7"}
ROW = [1, 2, 3, 4]
INFER = "/v2/models/affine/infer"
PREDICT = "/v1/models/affine:predict"


@dataclass(frozen=True, slots=True)
class Case:
    """A request and the status of its answer; ``code`` where it is an error. ``volatile``: the sentence holds a duration."""

    name: str
    path: str
    body: object = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    code: str = ""
    method: str = "POST"
    volatile: bool = False


def oip(data: object = (1, 2, 3, 4), **changed: Any) -> dict[str, object]:
    """A request for `affine`, with something about its tensor changed."""
    return {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": data, **changed}]}


def binary(array: Any, head: Mapping[str, object] | None = None) -> tuple[bytes, dict[str, str]]:
    """A binary request for `affine`, and its headers."""
    raw = np.asarray(array, np.float32)
    tensor = {"name": "x", "shape": list(raw.shape), "datatype": "FP32", "parameters": {"binary_data_size": raw.nbytes}}
    text = json.dumps({"inputs": [tensor], **(head or {})}).encode()
    return text + raw.tobytes(), {"Inference-Header-Content-Length": str(len(text))}


def squeezed(body: object, coding: str) -> bytes:
    """The body as JSON, compressed."""
    plain = json.dumps(body).encode()
    return gzip.compress(plain, mtime=0) if coding == "gzip" else zlib.compress(plain)


BINARY, BINARY_HEADERS = binary([ROW])
BINARY_OUT, BINARY_OUT_HEADERS = binary([ROW], {"parameters": {"binary_data_output": True}})
INFINITE, INFINITE_HEADERS = binary([[np.inf, 0, 0, 0]])
RAW = np.asarray([ROW], np.float32).tobytes()

CASES = [
    Case("flat", INFER, oip()),
    Case("nested", INFER, oip([ROW])),
    Case("two rows", INFER, oip([ROW, ROW], shape=[2, 4])),
    Case("with id and requested output", INFER, {**oip(), "id": "7", "outputs": [{"name": "y"}]}),
    Case("octet-stream", INFER, oip(), {"Content-Type": "application/octet-stream"}),
    Case("JSON in UTF-8", INFER, oip(), {"Content-Type": "application/json; charset=utf-8"}),
    Case("request id echoed", INFER, oip(), ID),
    Case("request id that is none", INFER, oip(), {"X-Request-Id": "two words"}),
    Case("query", INFER + "?verbose=1", oip()),
    Case("percent-encoded name", "/v2/models/aff%69ne/infer", oip()),
    Case("binary in", INFER, BINARY, BINARY_HEADERS),
    Case("binary in and out", INFER, BINARY_OUT, BINARY_OUT_HEADERS),
    Case("raw", INFER, RAW, {"Inference-Header-Content-Length": "0"}),
    Case("gzip", INFER, squeezed(oip(), "gzip"), {"Content-Encoding": "gzip"}),
    Case("deflate", INFER, squeezed(oip(), "deflate"), {"Content-Encoding": "deflate"}),
    Case("rows", PREDICT, {"instances": [ROW, ROW]}),
    Case("named rows", PREDICT, {"instances": [{"x": ROW}]}),
    Case("column", PREDICT, {"inputs": [ROW]}),
    Case("named column", PREDICT, {"inputs": {"x": [ROW]}}),
    Case("bytes", "/v1/models/greet:predict", {"instances": [["Ada"], [{"b64": "xYE="}]]}),
    Case("several outputs", "/v1/models/pair:predict", {"instances": [{"a": [1, 2], "b": [3, 4]}]}),
    Case("not batched", "/v1/models/fixed:predict", {"inputs": [1, 2, 3]}),
    Case("version", "/v2/models/affine/versions/1/infer", oip()),
    Case("old version", "/v1/models/boost/versions/1:predict", {"instances": [ROW]}),
    Case("newest version", "/v1/models/boost:predict", {"instances": [ROW]}),
    Case("label", "/v1/models/boost/labels/stable:predict", {"instances": [ROW]}),
    Case("other label", "/v1/models/boost/labels/canary:predict", {"instances": [ROW]}),
    Case("generous deadline", PREDICT, {"instances": [ROW]}, {"X-Request-Timeout-Ms": "20000"}),
    Case("high", PREDICT, {"instances": [ROW]}, {"X-Priority": "high"}),
    Case("normal", INFER, oip(), {"X-Priority": "normal"}),
    Case("low", INFER, {**oip(), "parameters": {"priority": 1}}, {"X-Priority": "low"}),
    Case("from a page", PREDICT, {"instances": [ROW]}, {"Origin": "https://shop.example"}),
    Case("large answer", "/v1/models/wide:predict", {"instances": [[1], [2]]}),
    Case("large answer in gzip", "/v1/models/wide:predict", {"instances": [[1], [2]]}, {"Accept-Encoding": "gzip, br"}),
    Case("large answer in deflate", "/v1/models/wide:predict", {"instances": [[3]]}, {"Accept-Encoding": "deflate"}),
    Case("small answer stays plain", PREDICT, {"instances": [ROW]}, {"Accept-Encoding": "gzip"}),
    Case("server", "/v2", method="GET"),
    Case("live", "/v2/health/live", method="GET"),
    Case("ready", "/v2/health/ready", method="GET"),
    Case("metadata", "/v2/models/affine", method="GET"),
    Case("config", "/v2/models/boost/versions/1/config", method="GET"),
    Case("index", "/v2/repository/index"),
    Case("status", "/v1/models/boost", method="GET"),
    Case("status of a label", "/v1/models/boost/labels/stable", method="GET"),
    Case("signature", "/v1/models/pair/metadata", method="GET"),
    Case("allowed methods", INFER, method="OPTIONS"),
    Case("no body", INFER, b"", ID, 400, "bad_request"),
    Case("no JSON", INFER, b"{", ID, 400, "bad_request"),
    Case("no JSON for predict", PREDICT, b"{", ID, 400, "bad_request"),
    Case("not UTF-8", INFER, b'{"inputs": "\xff"}', ID, 400, "bad_request"),
    Case("nested deep", INFER, b"[" * 100_000, ID, 400, "bad_request"),
    Case("wrong shape", INFER, oip([1, 2, 3], shape=[1, 3]), ID, 400, "invalid_input"),
    Case("product mismatch", INFER, oip(shape=[2, 4]), ID, 400, "invalid_input"),
    Case("wrong datatype", INFER, oip(datatype="INT64"), ID, 400, "invalid_input"),
    Case("unknown input", INFER, oip(name="z"), ID, 400, "invalid_input"),
    Case("unknown output", INFER, {**oip(), "outputs": [{"name": "z"}]}, ID, 400, "invalid_input"),
    Case("no rows", PREDICT, {"instances": []}, ID, 400, "invalid_input"),
    Case("header length lies", INFER, BINARY, {**ID, "Inference-Header-Content-Length": "9999"}, 400, "bad_request"),
    Case("damaged gzip", INFER, squeezed(oip(), "gzip")[:-9], {**ID, "Content-Encoding": "gzip"}, 400, "bad_request"),
    Case("unknown coding", INFER, oip(), {**ID, "Content-Encoding": "br"}, 415, "unsupported_media"),
    Case("unknown type", INFER, b"<x/>", {**ID, "Content-Type": "text/xml"}, 415, "unsupported_media"),
    Case("timeout that is none", INFER, oip(), {**ID, "X-Request-Timeout-Ms": "soon"}, 400, "bad_request"),
    Case("timeout below 0", INFER, oip(), {**ID, "X-Request-Timeout-Ms": "-1"}, 400, "bad_request"),
    Case("priority that is none", INFER, oip(), {**ID, "X-Priority": "urgent"}, 400, "bad_request"),
    Case("priority in capitals", PREDICT, {"instances": [ROW]}, {**ID, "X-Priority": "HIGH"}, 400, "bad_request"),
    Case("priority of nothing", INFER, oip(), {**ID, "X-Priority": ""}, 400, "bad_request"),
    Case("priority in a body compressed", INFER, squeezed(oip(), "gzip"), {"Content-Encoding": "gzip", "X-Priority": "low"}),
    Case("deadline", INFER, oip(), {**ID, "X-Request-Timeout-Ms": "0.0001"}, 504, "deadline_exceeded", volatile=True),
    Case("too many rows", PREDICT, {"instances": [ROW] * 1025}, ID, 413, "too_many_rows"),
    Case("unknown model", "/v2/models/nobody/infer", oip(), ID, 404, "unknown_model"),
    Case("unknown model for predict", "/v1/models/nobody:predict", {}, ID, 404, "unknown_model"),
    Case("unknown version", "/v2/models/affine/versions/7/infer", oip(), ID, 404, "unknown_version"),
    Case("version 0", "/v2/models/affine/versions/0/infer", oip(), ID, 404, "unknown_version"),
    Case("unknown label", "/v1/models/boost/labels/nobody:predict", {"instances": [ROW]}, ID, 404, "unknown_version"),
    Case("the model raised", "/v1/models/ledger:predict", {"instances": [-3]}, ID, 500, "model_failed"),
    Case("infinite answer", INFER, INFINITE, {**ID, **INFINITE_HEADERS}, 500, "not_finite"),
    Case("unknown path", "/v3/models/affine/infer", oip(), ID, 404, "not_found"),
    Case("name with a dot in front", "/v2/models/.affine/infer", oip(), ID, 404, "not_found"),
    Case("traversal", "/v2/models/..%2F..%2Fetc/infer", oip(), ID, 404, "not_found"),
    Case("traversal for predict", "/v1/models/%2e%2e%2faffine:predict", oip(), ID, 404, "not_found"),
    Case("slash behind", INFER + "/", oip(), ID, 404, "not_found"),
    Case("verb that is none", "/v1/models/affine:guess", oip(), ID, 404, "not_found"),
    Case("GET of infer", INFER, b"", ID, 405, "method_not_allowed", method="GET"),
    Case("PUT of predict", PREDICT, oip(), ID, 405, "method_not_allowed", method="PUT"),
    Case("POST of metadata", "/v2/models/affine", oip(), ID, 405, "method_not_allowed"),
    Case("GET of the index", "/v2/repository/index", b"", ID, 405, "method_not_allowed", method="GET"),
]


def told(reply: Reply, case: Case) -> tuple[int, dict[str, str], bytes]:
    """An answer without what differs from one time to the next: date, durations, and ids that the server made."""
    headers, body = dict(reply.headers), reply.body
    headers.pop("date")
    if "server-timing" in headers:
        headers["server-timing"] = re.sub(r"=[\d.]+", "=…", headers["server-timing"])
    if "allow" in headers:  # Werkzeug keeps a set
        headers["allow"] = ", ".join(sorted(headers["allow"].split(", ")))
    name = headers["x-request-id"]
    if name != case.headers.get("X-Request-Id"):
        headers["x-request-id"] = "…"
    if case.volatile:
        headers.pop("content-length")
        body = json.dumps({**json.loads(body), "error": re.sub(r"[\d.]+", "…", json.loads(body)["error"])}).encode()
    return reply.status, headers, body


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_lane_of_every_server_gives_the_same_answer(servers: Servers, case: Case) -> None:
    replies = {way: servers(*way).request(case.method, case.path, case.body, case.headers) for way in SERVERS}
    answers = {way: told(reply, case) for way, reply in replies.items()}
    first = answers[SERVERS[0]]
    assert first[0] == case.status
    for way in SERVERS[1:]:
        assert answers[way] == first, way
    if case.code:
        error = json.loads(first[2])
        assert (error["code"], error["request_id"]) == (case.code, "a-bowl-7")
        assert "Traceback" not in error["error"]


def test_an_answer_says_which_version_and_how_long(servers: Servers) -> None:
    for way in SERVERS:
        reply = servers(*way).post("/v1/models/boost/labels/stable:predict", {"instances": [ROW]})
        assert reply.headers["x-model-version"] == "1"
        timing = r'queue;dur=[\d.]+, infer;dur=[\d.]+, total;dur=[\d.]+, batch;desc="rows=\d+"'
        assert re.fullmatch(timing, reply.headers["server-timing"])


def test_an_answer_explains_its_batch_when_asked(servers: Servers) -> None:
    for way in SERVERS:
        reply = servers(*way).post(PREDICT, {"instances": [ROW, ROW]}, {"X-Explain": "batch"})
        assert re.fullmatch(r"closed=(early|idle|window), rows=2, waited_ms=[\d.]+", reply.headers["x-explain"]), way
        assert "x-explain" not in servers(*way).post(PREDICT, {"instances": [ROW]}).headers


def test_a_compressed_answer_is_the_plain_one_made_smaller(servers: Servers) -> None:
    for way in SERVERS:
        plain = servers(*way).post("/v1/models/wide:predict", {"instances": [[1]]})
        small = servers(*way).post("/v1/models/wide:predict", {"instances": [[1]]}, {"Accept-Encoding": "gzip"})
        assert (small.headers["content-encoding"], small.headers["vary"]) == ("gzip", "accept-encoding")
        assert gzip.decompress(small.body) == plain.body
        assert len(small.body) < len(plain.body)


def test_the_deadline_may_come_from_the_body_too_and_the_sooner_counts(servers: Servers, gate: Gate) -> None:
    tensors = [
        {"name": "x", "shape": [1], "datatype": "FP64", "data": [1]},
        {"name": "gate", "shape": [1], "datatype": "BYTES", "data": [gate.name]},
    ]
    for way in SERVERS:
        body = {"inputs": tensors, "parameters": {"timeout": 50_000}}
        reply = servers(*way).post("/v2/models/gate/infer", body, {"X-Request-Timeout-Ms": "20000"})
        assert (reply.status, reply.json()["code"]) == (504, "deadline_exceeded")


def test_an_unloaded_model_is_not_ready_in_every_lane(servers: Servers) -> None:
    for way in SERVERS:
        server = servers(*way)
        assert server.post("/v2/repository/models/pair/unload").status == 200
        try:
            reply = server.post("/v1/models/pair:predict", {"instances": [{"a": [1, 2], "b": [3, 4]}]})
            assert (reply.status, reply.json()["code"], reply.headers["retry-after"]) == (503, "model_not_ready", "1")
            assert server.get("/v2/models/pair/ready").status == 503
        finally:
            assert server.post("/v2/repository/models/pair/load").status == 200


def test_the_answer_is_the_models(servers: Servers) -> None:
    for way in SERVERS:
        reply = servers(*way).post(PREDICT, {"instances": [[0, 0, 0, 0]]})
        assert reply.json() == {"predictions": [BIAS.tolist()]}
