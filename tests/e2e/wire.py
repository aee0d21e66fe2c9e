"""HTTP/1.1 byte by byte, for what clients' libraries would not send."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.patience import PATIENCE_S
from tests.e2e.served import Reply, Server


class Wire:
    """A connection on which bytes are sent as they are, and answers read one by one."""

    def __init__(self, server: Server) -> None:
        self._socket = socket.create_connection((server.host, server.port), PATIENCE_S)
        self._read = self._socket.makefile("rb")

    def send(self, *parts: bytes) -> None:
        """Each part in a packet of its own."""
        for part in parts:
            self._socket.sendall(part)

    def reply(self, *, head: bool = False) -> Reply:
        """The next response; ``head``: it answers a HEAD, so it has no body."""
        status = int(self._read.readline().split()[1])
        headers: dict[str, str] = {}
        while line := self._read.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        if head or status < 200:
            return Reply(status, headers, b"")
        if "content-length" in headers:
            return Reply(status, headers, self._read.read(int(headers["content-length"])))
        return Reply(status, headers, self._read.read())

    @property
    def closed(self) -> bool:
        """Whether the server has closed the connection, with nothing left to read. Waits for the one or the other."""
        return self._read.read(1) == b""

    @property
    def readable(self) -> bool:
        """Whether something has come, or the end; does not wait, and what `reply` has read ahead is not seen."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def some(self) -> bytes:
        """Whatever has come, at least one byte. Raises EOFError at the end."""
        data = self._socket.recv(65536)
        if not data:
            raise EOFError("the server closed the connection")
        return data

    def finish(self) -> None:
        """Says that nothing more will be sent."""
        self._socket.shutdown(socket.SHUT_WR)

    def rest(self) -> bytes:
        """All that comes until the server closes."""
        return self._read.read()

    def reset(self) -> None:
        """Makes ``leave`` break the connection off, with what was sent or is yet to be read lost."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def leave(self) -> None:
        """Closes the connection."""
        self._read.close()
        self._socket.close()


@contextmanager
def wire(server: Server) -> Iterator[Wire]:
    """A connection for the length of a ``with``."""
    made = Wire(server)
    try:
        yield made
    finally:
        made.leave()


def post(path: str, body: bytes, *headers: str, version: str = "1.1") -> bytes:
    """A POST with Content-Length, and with headers of the caller's."""
    lines = [f"POST {path} HTTP/{version}", "Host: tureen", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(path: str, *chunks: bytes, more: str = "") -> list[bytes]:
    """A POST in chunks, as the parts to send."""
    head = f"POST {path} HTTP/1.1\r\nHost: tureen\r\nTransfer-Encoding: chunked\r\n{more}\r\n".encode()
    return [head, *(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks), b"0\r\n\r\n"]
