"""Where requests begin and end on a connection: what our framing lets pass, h11 and llhttp read alike, however it is cut."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import NamedTuple

import h11
import httptools

from service.connections.hypercorn_http2 import check_headers
from service.errors import ServiceError
from service.guard.input.framing import Framing
from tests.fuzz.target import Broken, Target

#: Where an input's bytes are told apart into reads.
CUT = b"<|>"
#: Of a head, in these inputs (bytes, lines).
BYTES, LINES = 1024, 20

_UPGRADE = re.compile(rb"(?i)\r\nupgrade:[^\r]*")


class Read(NamedTuple):
    """A request as a parser has it."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


def parse_framing(data: bytes) -> list[Read]:
    """The requests that pass. Raises what the framing refuses the rest with."""
    pieces = [piece for piece in data.split(CUT) if piece]
    passed, error = _judged([b"".join(pieces)])
    in_parts, error_in_parts = _judged(pieces)
    if (error is None) != (error_in_parts is None):  # of two things that are wrong either may be told
        raise Broken(f"whole: {error!r}, cut: {error_in_parts!r}")
    # What is upgraded to nothing is taken out of a head that comes whole; of one that is cut its beginning has passed by then.
    plain, plain_in_parts = _UPGRADE.sub(b"", passed), _UPGRADE.sub(b"", in_parts)
    if not plain_in_parts.startswith(plain) or (error is None and plain_in_parts != plain):
        raise Broken(f"whole: {passed[-60:]!r} passes, cut: {in_parts[-60:]!r}")
    (one, refused), (other, refused_too) = _by_h11(passed), _by_llhttp(passed)
    both = min(len(one), len(other))
    if one[:both] != other[:both] or (len(one) > both and not refused_too) or (len(other) > both and not refused):
        raise Broken(f"h11 reads {one}, llhttp {other}")
    if error is not None:
        raise error
    return one


def _judged(pieces: list[bytes]) -> tuple[bytes, ServiceError | None]:
    framing, passed = Framing(BYTES, LINES), b""
    for piece in pieces:
        good, error = framing.judge(piece)
        passed += good
        if error is not None:
            return passed, error
    return passed, None


def _by_h11(data: bytes) -> tuple[list[Read], bool]:
    """The whole requests, up to one that ends the connection or changes its protocol; whether what follows is refused."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    found: list[Read] = []
    head: h11.Request | None = None
    body = b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return found, True
        if isinstance(event, h11.Request):
            head, body = event, b""
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = [(bytes(name), bytes(value)) for name, value in head.headers]
            found.append(Read(bytes(head.method), bytes(head.target), headers, body))
            if connection.their_state is not h11.DONE or any(name == b"upgrade" for name, _ in headers):
                return found, False
            connection.send(h11.Response(status_code=204, headers=[]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE:
                return found, False
            connection.start_next_cycle()
        else:
            return found, False


class _Heard:
    """What llhttp tells of."""

    def __init__(self) -> None:
        self.found: list[Read] = []
        self.ended = False

    def on_message_begin(self) -> None:
        """A request begins."""
        self.target, self.headers, self.body, self.headed = b"", list[tuple[bytes, bytes]](), b"", False

    def on_url(self, url: bytes) -> None:
        """Its target, or a part of it."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        if not self.headed:
            name, value = name.lower(), value.rstrip(b" \t")  # as our protocol does
            self.headers.append((name, value.lower() if name == b"transfer-encoding" else value))  # as h11 does

    def on_headers_complete(self) -> None:
        """The head ends."""
        self.headed = True
        self.method = self.parser.get_method()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self.body += body

    def on_message_complete(self) -> None:
        """The request ends."""
        if not self.ended:
            self.found.append(Read(self.method, self.target, self.headers, self.body))
            self.ended = not self.parser.should_keep_alive() or any(name == b"upgrade" for name, _ in self.headers)

    parser: httptools.HttpRequestParser


def _by_llhttp(data: bytes) -> tuple[list[Read], bool]:
    heard = _Heard()
    heard.parser = httptools.HttpRequestParser(heard)
    try:
        with suppress(httptools.HttpParserUpgrade):
            heard.parser.feed_data(data)
    except httptools.HttpParserError:
        return heard.found, True
    return heard.found, False


def parse_http2(data: bytes) -> None:
    """A list of HTTP/2's headers: what passes names a method, a path and one host that a line of HTTP/1.1 could say."""
    pairs = [line.partition(b"=") for line in data.split(b"\n")]
    headers = [(name, value) for name, _, value in pairs]
    check_headers(headers, BYTES, LINES)
    if any(b"\r" in value or b"\0" in value for _, value in headers):
        raise Broken(f"{headers} passes")
    method, path = dict(headers)[b":method"], dict(headers)[b":path"]
    if not (method + path).isascii() or b" " in method + path:
        raise Broken(f"{method!r} {path!r} passes")


FRAMING = Target("framing", parse_framing, (ServiceError,), longest=3000, http=False)

HTTP2 = Target("http2_headers", parse_http2, (ServiceError,), longest=1500, http=False)

TARGETS = (FRAMING, HTTP2)
