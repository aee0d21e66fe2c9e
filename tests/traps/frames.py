"""A WebSocket client that sends without reading, and says when the server does not take any more."""

from __future__ import annotations

import base64
import json
import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.patience import PATIENCE_S
from tests.e2e.served import Server

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
#: A connection on which nothing was taken for so long is one whose server makes its client wait (seconds).
STILL_S = 1.0


class WebSocket:
    """Frames over a socket; what is sent is masked with zeros, which leaves it as it is."""

    def __init__(self, server: Server, path: str, *headers: str) -> None:
        self._socket = socket.create_connection((server.host, server.port), PATIENCE_S)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {server.address}", "Connection: Upgrade", "Upgrade: websocket"]
        lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
        self._socket.sendall("\r\n".join([*lines, *headers, "", ""]).encode())
        self._read = self._socket.makefile("rb")
        self.status = int(self._read.readline().split()[1])
        while self._read.readline().strip():
            pass

    def send(self, kind: int, payload: bytes) -> None:
        """One message."""
        self._socket.sendall(frame(kind, payload))

    def flood(self, messages: Iterator[bytes]) -> tuple[int, bytes]:
        """Sends binary messages until the server takes no more; the number of those begun, and what is unsent of the last."""
        begun, left = 0, b""
        while True:
            if not left:
                payload = next(messages, None)
                if payload is None:
                    return begun, b""
                begun, left = begun + 1, frame(BINARY, payload)
            if not select.select([], [self._socket], [], STILL_S)[1]:
                return begun, left
            left = left[self._socket.send(left[: 256 * 1024], socket.MSG_DONTWAIT) :]

    def pour(self, parts: Iterator[bytes]) -> None:
        """Sends bytes as they are, until the server takes no more or there are none."""
        for part in parts:
            left = part
            while left:
                if not select.select([], [self._socket], [], STILL_S)[1]:
                    return
                left = left[self._socket.send(left[: 256 * 1024], socket.MSG_DONTWAIT) :]

    def push(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self._socket.sendall(data)

    def receive(self) -> tuple[int, bytes]:
        """The next message that is no ping: its kind, its payload."""
        while True:
            first, second = self._read.read(2)
            length = second & 127
            if length > 125:
                length = int.from_bytes(self._read.read(2 if length == 126 else 8), "big")
            payload = self._read.read(length)
            if first & 15 != PING:  # nothing can be sent where a flood is stuck, a pong neither
                return first & 15, payload

    def json(self) -> Any:
        """The next message, which is JSON."""
        return json.loads(self.receive()[1])

    def closing_code(self) -> int:
        """Why the server closes. Raises AssertionError where anything else comes."""
        kind, payload = self.receive()
        if kind != CLOSE:
            raise AssertionError(f"a message came: {payload[:80]!r}")
        return int.from_bytes(payload[:2], "big")

    def leave(self) -> None:
        """Closes the connection without a word."""
        self._read.close()
        self._socket.close()


@contextmanager
def websocket(server: Server, path: str, *headers: str) -> Iterator[WebSocket]:
    """A connection for the length of a ``with``."""
    made = WebSocket(server, path, *headers)
    try:
        yield made
    finally:
        made.leave()


def frame(kind: int, payload: bytes) -> bytes:
    """A whole message in one frame."""
    size = len(payload)
    if size < 126:
        length = bytes([128 | size])
    else:
        length = bytes([254]) + struct.pack(">H", size) if size < 2**16 else bytes([255]) + struct.pack(">Q", size)
    return bytes([128 | kind]) + length + bytes(4) + payload
