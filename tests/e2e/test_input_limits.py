"""What a request may bring: each limit holds on both servers, is counted, and refuses nothing within it."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.limited import KINDS, both, counted
from tests.e2e.served import Reply, Server
from tests.e2e.wire import wire

LIMITS = {
    "json_depth": 8,
    "tensor_elements": 64,
    "rows": 10,
    "inflated_bytes": 100_000,
    "header_bytes": 2048,
    "header_count": 20,
}
ROW = [1, 2, 3, 4]
INFER, PREDICT = "/v2/models/affine/infer", "/v1/models/affine:predict"


@pytest.fixture(scope="module")
def limited_servers(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Server]]:
    with both(kitchen, "limits_app:extend", LIMITS, tmp_path_factory.mktemp("limits")) as servers:
        yield servers


@pytest.fixture(params=KINDS)
def server(limited_servers: Mapping[str, Server], request: pytest.FixtureRequest) -> Server:
    return limited_servers[request.param]


def told(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json()["code"]


def infer(data: Any, shape: list[int], **more: object) -> dict[str, object]:
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": data}], **more}


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


# -- JSON ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [9, 200_000])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (INFER, b'{"x": %b}'),
        (INFER, json.dumps(infer(0, [1, 4])).encode().replace(b'"data": 0', b'"data": %b')),
        (PREDICT, b'{"instances": %b}'),
        (PREDICT, b'{"inputs": {"x": %b}}'),
        ("/v2/repository/index", b'{"parameters": {"x": %b}}'),
        ("/json", b'{"x": %b}'),
    ],
)
def test_json_may_not_be_nested_deeper_than_its_limit(server: Server, path: str, body: bytes, levels: int) -> None:
    with counted(server, "json_depth"):
        assert told(server.post(path, body % nested(levels), {"Content-Type": "application/json"})) == (400, "bad_request")


def test_json_within_its_limit_is_read(server: Server) -> None:
    assert server.post("/json", nested(8), {"Content-Type": "application/json"}).json() == {"kind": "list"}
    assert server.post(INFER, infer([ROW], [1, 4], x=[[[[[[["[[["]]]]]]])).status == 200


# -- tensors -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [[10**9], [2**62, 4], [1, 65], [2**31, 2**31, 2**31], [65, 1]])
def test_a_shape_with_too_many_elements_is_refused(server: Server, shape: list[int]) -> None:
    with counted(server, "tensor_elements"):
        assert told(server.post(INFER, infer(ROW, shape))) == (413, "tensor_too_large")


@pytest.mark.parametrize("shape", [[11, 4], [11, 0], [2**62, 0]])
def test_too_many_rows_are_refused(server: Server, shape: list[int]) -> None:
    with counted(server, "rows"):
        assert told(server.post(INFER, infer([], shape))) == (413, "too_many_rows")


@pytest.mark.parametrize("form", [{"instances": [ROW] * 11}, {"instances": [{"x": ROW}] * 11}, {"inputs": [ROW] * 11}])
def test_too_many_rows_of_the_other_protocol_are_refused(server: Server, form: object) -> None:
    with counted(server, "rows"):
        assert told(server.post(PREDICT, form)) == (413, "too_many_rows")


def test_as_many_rows_as_may_be_are_answered(server: Server) -> None:
    assert server.post(INFER, infer([ROW] * 10, [10, 4])).status == 200
    assert len(server.post(PREDICT, {"instances": [ROW] * 10}).json()["predictions"]) == 10


def test_data_with_more_elements_than_a_tensor_may_have_is_refused_before_it_is_read(server: Server) -> None:
    with counted(server, "tensor_elements"):
        assert told(server.post(INFER, infer([0] * 1000, [10, 4]))) == (413, "tensor_too_large")


@pytest.mark.parametrize("shape", [[-1, 4], [2**63, 0], [1.5, 4], ["1", 4]])
def test_a_shape_that_is_none_is_refused(server: Server, shape: list[Any]) -> None:
    assert server.post(INFER, infer(ROW, shape)).status == 400


def binary(name: str, model: str, datatype: str, shape: list[int], data: bytes, size: int) -> tuple[str, bytes, dict[str, str]]:
    tensor = {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}
    text = json.dumps({"inputs": [tensor]}).encode()
    return f"/v2/models/{model}/infer", text + data, {"Inference-Header-Content-Length": str(len(text))}


@pytest.mark.parametrize("size", [0, 15, 17, 2**31, 2**62])
def test_a_binary_tensor_whose_size_lies_is_refused(server: Server, size: int) -> None:
    data = np.array(ROW, np.float32).tobytes()
    path, body, headers = binary("x", "affine", "FP32", [1, 4], data, size)
    assert told(server.post(path, body, headers)) == (400, "invalid_input")


@pytest.mark.parametrize("length", [3, 5, 2**31, 2**32 - 1])
def test_a_binary_string_whose_length_lies_is_refused(server: Server, length: int) -> None:
    data = struct.pack("<I", length) + b"name"
    path, body, headers = binary("name", "greet", "BYTES", [1, 1], data, len(data))
    assert told(server.post(path, body, headers)) == (400, "invalid_input")


def test_empty_strings_beyond_the_shape_are_not_collected(server: Server) -> None:
    data = bytes(4) * 20_000
    path, body, headers = binary("name", "greet", "BYTES", [1, 1], data, len(data))
    reply = server.post(path, body, headers)
    assert told(reply) == (400, "invalid_input")
    assert reply.json()["details"][0]["got"] == "more than 1"


# -- inflation -----------------------------------------------------------------------------------------------------------------


BOMB = bytes(50_000_000)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(BOMB, 9)),
        ("deflate", zlib.compress(BOMB, 9)),
        ("deflate", zlib.compress(BOMB, 9)[2:-4]),
        ("gzip, gzip", gzip.compress(gzip.compress(BOMB, 9), 9)),
        ("gzip", b"".join([gzip.compress(bytes(30_000), 9)] * 4)),
    ],
    ids=["gzip", "zlib", "deflate", "nested", "members"],
)
def test_a_bomb_is_refused_as_soon_as_it_is_over_the_limit(server: Server, coding: str, body: bytes) -> None:
    with counted(server, "inflated_bytes"):
        assert told(server.post(INFER, body, {"Content-Encoding": coding})) == (413, "body_too_large")


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip, gzip"])
def test_a_coding_that_is_not_taken_is_refused(server: Server, coding: str) -> None:
    assert told(server.post(INFER, b"x", {"Content-Encoding": coding})) == (415, "unsupported_media")


# -- forms ---------------------------------------------------------------------------------------------------------------------

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_a_form_with_too_much_text_is_refused(server: Server) -> None:
    assert server.post("/form", b"a=b&c=d", FORM).json() == {"fields": 2}
    reply = server.post("/form", b"a=" + b"b" * 500_001, FORM)
    assert told(reply) == (413, "body_too_large")
    assert "form" in reply.json()["error"]


def test_a_form_with_too_many_parts_is_refused(server: Server) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
    reply = server.post("/form", part * 1001 + b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"})
    assert told(reply) == (413, "body_too_large")


# -- heads ---------------------------------------------------------------------------------------------------------------------


def test_heads_over_their_limits_are_refused_and_counted(server: Server) -> None:
    for limit, lines in (("header_bytes", b"X: " + b"y" * 3000 + b"\r\n"), ("header_count", b"X: y\r\n" * 20)):
        with counted(server, limit), wire(server) as connection:
            connection.send(b"GET /v2 HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n")
            assert told(connection.reply()) == (431, "headers_too_large")
            assert connection.closed
