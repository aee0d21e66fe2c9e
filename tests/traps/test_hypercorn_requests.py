"""What h11 and wsproto let a request do on Hypercorn that a server must not, one rule for each; on uvicorn too where it might."""

from __future__ import annotations

import json
import zlib
from contextlib import suppress

import pytest

from tests.e2e.kitchen import Gate
from tests.e2e.served import Reply, Server
from tests.e2e.wire import Wire, chunked, post, wire
from tests.traps.frames import BINARY

MIB = 1024 * 1024
AFFINE = "/v1/models/affine:predict"
BODY = json.dumps({"instances": [[1, 2, 3, 4]]}).encode()
GATED = "/v1/models/gate:predict"


@pytest.mark.parametrize("known", [False, True], ids=["first", "after others"])
@pytest.mark.parametrize("order", [1, -1], ids=["length first", "length last"])
def test_a_request_with_two_lengths_is_refused_and_its_connection_closed(server: Server, known: bool, order: int) -> None:
    with wire(server) as connection:
        for _ in range(2 if known else 0):
            connection.send(post(AFFINE, BODY))
            assert connection.reply().status == 200
        lengths = ["Transfer-Encoding: chunked", "Content-Length: 4"][::order]
        head = "\r\n".join([f"POST {AFFINE} HTTP/1.1", "Host: tureen", *lengths, "", ""]).encode()
        connection.send(head + b"0\r\n\r\n" + b"GET /v2 HTTP/1.1\r\nHost: smuggled\r\n\r\n")
        reply = connection.reply()
        assert (reply.status, reply.json()["code"]) == (400, "bad_request")
        assert connection.closed


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 4", "Content-Length: 5"],
        ["Content-Length: 4, 5"],
        ["Content-Length: +4"],
        ["Content-Length : 4"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding: xchunked"],
    ],
    ids="; ".join,
)
def test_a_length_that_may_be_read_in_two_ways_is_refused(server: Server, lines: list[str]) -> None:
    with wire(server) as connection:
        head = "\r\n".join([f"POST {AFFINE} HTTP/1.1", "Host: tureen", *lines, "", ""]).encode()
        connection.send(head + b"[]  GET /v2 HTTP/1.1\r\nHost: smuggled\r\n\r\n")
        reply = connection.reply()
        assert reply.status in (400, 501)
        assert reply.json()["code"] in ("bad_request", "not_supported")
        assert connection.closed


def test_h2c_is_answered_as_plain_http_1_1(server: Server) -> None:
    with wire(server) as connection:
        upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
        connection.send("\r\n".join(["GET /v2 HTTP/1.1", "Host: tureen", *upgrade, "", ""]).encode())
        reply = connection.reply()
        assert (reply.status, reply.json()["name"]) == (200, "tureen")
        if reply.headers.get("connection") != "close":
            connection.send(post(AFFINE, BODY))
            assert connection.reply().status == 200


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET\r\n\r\n", b"\0" * 64 + b"\r\n\r\n"])
def test_what_is_no_http_is_told_so_in_json(server: Server, garbage: bytes) -> None:
    with wire(server) as connection:
        connection.send(garbage)
        reply = connection.reply()
        assert (reply.status, reply.json()["code"]) == (400, "bad_request")
        assert connection.closed


def test_what_is_no_http_behind_a_request_in_work_harms_nobody_else(server: Server, gate: Gate) -> None:
    rows = json.dumps({"instances": [{"x": 1, "gate": gate.name}]}).encode()
    with wire(server) as connection, wire(server) as other:
        connection.send(post(GATED, rows, "X-Request-Timeout-Ms: 60000"))
        gate.await_call()
        other.send(post(GATED, rows, "X-Request-Timeout-Ms: 60000"))
        connection.send(b"\0" * 64 + b"\r\n\r\n")
        gate.open()
        assert other.reply().status == 200
        assert connection.reply().status in (200, 400)


@pytest.mark.parametrize("opening", ["GET /", "GET /v2 HTTP/1.1\r\nX: "])
def test_a_head_without_an_end_is_refused(server: Server, opening: str) -> None:
    with wire(server) as connection:
        connection.send(opening.encode(), b"x" * 20_000)
        reply = connection.reply()
        assert (reply.status, reply.json()["code"]) == (431, "headers_too_large")
        assert connection.closed


def test_trailers_without_an_end_are_refused(server: Server) -> None:
    with wire(server) as connection:
        *parts, _ = chunked(AFFINE, BODY)
        connection.send(*parts, b"0\r\nX: ")
        with suppress(ConnectionError):  # not all of it is taken
            connection.send(*[b"x" * 20_000] * 50)
        assert connection.reply().status == 431
        assert connection.closed


# -- WebSocket handshakes -----------------------------------------------------------------------------------------------


def offering(connection: Wire, path: str) -> Reply:
    """The answer to a handshake that offers to compress."""
    lines = [f"GET {path} HTTP/1.1", "Host: tureen", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Extensions: permessage-deflate"]
    connection.send("\r\n".join([*lines, "", ""]).encode())
    return connection.reply()


def test_a_websocket_frame_of_1_mb_does_not_inflate_to_400(server: Server) -> None:
    small = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = small.compress(bytes(400 * MIB)) + small.flush(zlib.Z_SYNC_FLUSH)
    before = server.get("/inside").json()["rss"]
    with wire(server) as connection:
        reply = offering(connection, "/echo")
        assert (reply.status, reply.headers.get("sec-websocket-extensions")) == (101, None)
        compressed = bytes([0xC0 | BINARY, 255]) + len(deflated).to_bytes(8, "big") + bytes(4)
        connection.send(compressed + deflated[:1000])
        assert b"\\x00" not in connection.rest()
    assert server.get("/inside").json()["rss"] - before < 8 * MIB


def test_a_handshake_that_is_none_is_refused_in_json(server: Server) -> None:
    with wire(server) as connection:
        lines = ["GET /echo HTTP/1.1", "Host: tureen", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        connection.send("\r\n".join([*lines, "", ""]).encode())
        assert connection.reply().status == 400
