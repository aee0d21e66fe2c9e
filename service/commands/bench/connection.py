"""One HTTP/1.1 connection to the server under load: a request goes out in one write, and its answer is read as it comes."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import httptools

from service.commands.bench.record import Told

#: Of the body of an answer that is no success so much is kept (bytes).
_KEPT = 16 * 1024


class Owner(Protocol):
    """Whom a connection tells what happens; ``connection.asked`` is still set meanwhile."""

    def answered(self, connection: Connection) -> None:
        """The answer to what was asked is whole."""

    def lost(self, connection: Connection, why: str) -> None:
        """The connection is gone, or of no more use."""


class Asked:
    """A request in flight: when it was due and when it was sent (seconds), and its rows."""

    __slots__ = ("due", "rows", "sent")

    def __init__(self, due: float, sent: float, rows: int) -> None:
        self.due, self.sent, self.rows = due, sent, rows


class Connection(asyncio.Protocol):
    """Asks one request at a time. Of the answer: ``status``, ``told``, the beginning of its ``body`` where it is no success."""

    def __init__(self, owner: Owner) -> None:
        self.asked: Asked | None = None
        self.status = 0
        self.told = Told()
        self.body = bytearray()
        self.reusable = True
        self._owner = owner
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._done = False

    def ask(self, request: bytes, asked: Asked) -> None:
        """Sends it."""
        self.asked = asked
        if self._transport is not None:
            self._transport.write(request)

    def leave(self) -> None:
        """Closes the connection at once, without a word to its owner."""
        self._done = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._lose("the answer is no HTTP")

    def eof_received(self) -> bool:
        """Called by the loop: the server will send no more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._lose("connection closed before the answer" if exc is None else "connection broken off before the answer")

    def _lose(self, why: str) -> None:
        if not self._done:
            self.leave()
            self._owner.lost(self, why)

    # What the parser calls:

    def on_message_begin(self) -> None:
        self.told = Told()
        self.body.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"server-timing":
                self.told.timing = value
            case b"x-model-version":
                self.told.version = value
            case b"x-cache":
                self.told.cache = value

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if self.status >= 300 and len(self.body) < _KEPT:
            self.body += body[:_KEPT]

    def on_message_complete(self) -> None:
        if self.status < 200:
            return  # an interim answer: the real one follows
        self.reusable = self._parser.should_keep_alive()
        if self.asked is None:
            self._lose("")  # it speaks unasked, as before it closes an idle connection
        else:
            self._owner.answered(self)
