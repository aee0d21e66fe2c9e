"""A client that uploads photographs, one thread, its connections polled: each asks again once it is answered."""

from __future__ import annotations

import re
import select
import socket
import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from loadtests.flood import answer

PATIENCE_S = 60.0
_INDEX = re.compile(rb'"index": *([0-9]+)')


class Unexpected(Exception):
    """An answer that is no answer; says what came."""


BOUNDARY: Final = "file-of-the-load-test"
FORM: Final = f"multipart/form-data; boundary={BOUNDARY}"


@dataclass(slots=True)
class Uploaded:
    """``latencies`` in seconds, of answers within the time that counts.

    ``cpu_s``: what the server spent in that time. ``best``: how often a photograph got a class as its best.
    """

    seconds: float
    cpu_s: float = 0.0
    latencies: array[float] = field(default_factory=lambda: array("d"))
    best: Counter[tuple[int, int]] = field(default_factory=Counter)

    @property
    def cpu_ms(self) -> float:
        """The server's CPU time of an answer."""
        return 1e3 * self.cpu_s / max(1, len(self.latencies))

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def latency_ms(self, share: float) -> float:
        """The latency that so large a share of the answers kept to."""
        ordered = sorted(self.latencies)
        return 1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def agreement(self, best: Sequence[int]) -> float:
        """The share of the answers whose best class is the one given for their photograph."""
        same = sum(count for (photograph, index), count in self.best.items() if best[photograph] == index)
        return same / max(1, self.best.total())


def form(field_name: str, file_name: str, content_type: str, data: bytes) -> bytes:
    """One file as a form, whose content type is FORM."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field_name}"; filename="{file_name}"\r\n'
    return f"{head}Content-Type: {content_type}\r\n\r\n".encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def request(path: str, field_name: str, photograph: bytes, number: int) -> bytes:
    """A multipart upload of one JPEG."""
    body = form(field_name, f"{number}.jpg", "image/jpeg", photograph)
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Accept: application/json",
        f"Content-Type: {FORM}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def upload(
    port: int, requests: Sequence[bytes], connections: int, warm_s: float, seconds: float, cpu_s: Callable[[], float]
) -> Uploaded:
    """Asks for ``warm_s``, then for ``seconds`` that count. ``cpu_s``: what the server has spent until now.

    Raises Unexpected, and OSError where no connections are taken.
    """
    with ExitStack() as stack:
        client = _Client(stack, port, requests, connections)
        client.run(warm_s)
        spent = cpu_s()
        uploaded = client.run(seconds)
        uploaded.cpu_s = cpu_s() - spent
        return uploaded


class _Connection:
    __slots__ = ("begun", "photograph", "received", "socket")

    def __init__(self, made: socket.socket) -> None:
        self.socket = made
        self.begun = 0.0
        self.photograph = 0
        self.received = b""


class _Client:
    def __init__(self, stack: ExitStack, port: int, requests: Sequence[bytes], connections: int) -> None:
        self._stack, self._port, self._requests, self._asked = stack, port, requests, 0
        self._poll = select.epoll()
        stack.callback(self._poll.close)
        self._connections: dict[int, _Connection] = {}
        for _ in range(connections):
            self._ask(self._opened())

    def run(self, seconds: float) -> Uploaded:
        uploaded = Uploaded(seconds)
        until = time.monotonic() + seconds
        while (at := time.monotonic()) < until:
            ready = self._poll.poll(PATIENCE_S)
            if not ready:
                raise Unexpected(f"nobody was answered within {PATIENCE_S:g} s")
            for number, _ in ready:
                connection = self._connections[number]
                body, stays = self._read(connection)
                if body is None:
                    continue
                at = time.monotonic()
                if at < until:
                    uploaded.latencies.append(at - connection.begun)
                    uploaded.best[connection.photograph, _best(body)] += 1
                self._ask(connection if stays else self._again(connection))
        return uploaded

    def _read(self, connection: _Connection) -> tuple[bytes | None, bool]:
        """The whole answer, None while more is to come, and whether the connection stays."""
        some = connection.socket.recv(1 << 16)
        if not some:
            raise Unexpected("the server closed a connection without an answer")
        connection.received += some
        whole = answer(connection.received)
        if whole is None:
            return None, True
        status, body, stays = whole
        connection.received = b""
        if status != 200:
            raise Unexpected(f"expected 200, got {status}: {body[:300]!r}")
        return body, stays

    def _ask(self, connection: _Connection) -> None:
        connection.photograph = self._asked % len(self._requests)
        connection.begun = time.monotonic()
        self._asked += 1
        connection.socket.sendall(self._requests[connection.photograph])

    def _again(self, connection: _Connection) -> _Connection:
        del self._connections[connection.socket.fileno()]
        connection.socket.close()
        return self._opened()

    def _opened(self) -> _Connection:
        made = self._stack.enter_context(socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_S))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = self._connections[made.fileno()] = _Connection(made)
        self._poll.register(made, select.EPOLLIN)
        return connection


def _best(body: bytes) -> int:
    found = _INDEX.search(body)
    if found is None:
        raise Unexpected(f"expected classes with an index, got {body[:300]!r}")
    return int(found[1])
