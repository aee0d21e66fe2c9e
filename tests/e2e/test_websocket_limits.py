"""What a WebSocket's client may send, and when: no more than a handler was promised, on both servers, and no frame that is none."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import repeat
from pathlib import Path

import pytest

from tests.e2e.limited import KINDS, both, counted
from tests.e2e.patience import until
from tests.e2e.served import Server
from tests.e2e.wire import wire
from tests.traps.frames import BINARY, PING, TEXT, frame, websocket


@pytest.fixture(scope="module")
def limited_servers(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Server]]:
    with both(kitchen, "limits_app:extend", {"websocket_message_bytes": 1000}, tmp_path_factory.mktemp("messages")) as servers:
        yield servers


@pytest.fixture(params=KINDS)
def server(limited_servers: Mapping[str, Server], request: pytest.FixtureRequest) -> Server:
    return limited_servers[request.param]


def part(kind: int, payload: bytes) -> bytes:
    """A frame that others follow."""
    whole = frame(kind, payload)
    return bytes([whole[0] & 0x7F]) + whole[1:]


@pytest.mark.parametrize(
    "frames",
    [
        frame(BINARY, bytes(1001)),
        frame(TEXT, "é".encode() * 501),
        part(BINARY, bytes(600)) + frame(0, bytes(401)),
        bytes([0x80 | BINARY, 0xFF]) + (2**40).to_bytes(8, "big"),
        b"".join([part(BINARY, b"x"), *[part(0, b"x")] * 1000]),
    ],
    ids=["one frame", "UTF-8", "two frames", "announced", "a thousand frames"],
)
def test_a_message_over_its_limit_is_refused(server: Server, frames: bytes) -> None:
    with counted(server, "websocket_message_bytes"), websocket(server, "/echo") as client:
        client.push(frame(TEXT, b"a"))
        assert client.receive() == (TEXT, b"'a'")
        client.push(frames)
        assert client.closing_code() == 1009


def test_a_message_within_its_limit_is_taken_in_whatever_frames(server: Server) -> None:
    with websocket(server, "/echo") as client:
        client.push(
            part(BINARY, bytes(600)) + frame(PING, b"x") + part(0, b"") + frame(0, bytes(400)) + frame(TEXT, "é".encode() * 500),
        )
        assert client.receive()[0] == 10
        assert len(client.receive()[1]) > 1000
        assert client.receive() == (TEXT, repr("é" * 500).encode())


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (frame(PING, bytes(126)), 1002),
        (part(PING, b"x"), 1002),
        (frame(0, b"x"), 1002),
        (part(BINARY, b"x") + frame(BINARY, b"y"), 1002),
        (bytes([0xC0 | BINARY]) + frame(BINARY, b"x")[1:], 1002),
        (bytes([0x83]) + frame(BINARY, b"x")[1:], 1002),
        (b"\x82\x01x", 1002),
        (b"\x82\xfe\x00\x01" + bytes(4) + b"x", 1002),
        (frame(TEXT, b"\xff"), 1007),
        (part(TEXT, b"\xc3") + frame(0, b"x"), 1007),
        (frame(8, b"\x00"), 1002),
        (frame(8, struct.pack(">H", 1005)), 1002),
        (frame(8, struct.pack(">H", 1000) + b"\xff"), 1007),
    ],
    ids=[
        "a long ping",
        "a ping in parts",
        "a continuation of nothing",
        "a message within a message",
        "compressed",
        "a kind that there is not",
        "without a mask",
        "a length that is longer than it must be",
        "not UTF-8",
        "not UTF-8 across frames",
        "half a close code",
        "a close code that nobody sends",
        "a close reason that is not UTF-8",
    ],
)
def test_what_is_no_frame_closes_the_websocket(server: Server, frames: bytes, code: int) -> None:
    with websocket(server, "/echo") as client:
        client.push(frames)
        assert client.closing_code() == code


HANDSHAKE = (
    b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def test_nothing_is_sent_before_the_answer_to_a_handshake(server: Server) -> None:
    with wire(server) as connection:
        connection.send(HANDSHAKE + frame(TEXT, b"x"))
        assert connection.reply().status == 400
        assert connection.closed


def test_a_handler_whose_client_did_not_wait_for_the_answer_ends(server: Server) -> None:
    for _ in range(3):
        with wire(server) as connection:
            connection.send(HANDSHAKE + frame(TEXT, b"x"))
            connection.reply()
    until(lambda: server.get("/talks").json() == {"open": 0}, "each handler has ended")


def test_little_is_read_of_a_client_that_did_not_wait_for_the_answer(server: Server) -> None:
    with wire(server) as connection, pytest.raises(ConnectionError):
        connection.send(HANDSHAKE, *repeat(frame(BINARY, bytes(100_000)), 10_000))


@pytest.mark.parametrize("after", [b"", bytes(300_000)])
def test_a_refused_client_that_leaves_with_a_reset_is_no_complaint(server: Server, after: bytes) -> None:
    for _ in range(40):
        with wire(server) as connection, suppress(ConnectionError):
            connection.send(HANDSHAKE + frame(TEXT, b"x") + after)
            connection.reset()
