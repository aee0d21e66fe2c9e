"""uvicorn's WebSockets, ended when their clients do not read.

uvicorn waits for a client that does not read for as long as its handler does, answers each of its pings meanwhile, and keeps what
a closed connection has not sent for as long as the client likes.
"""

from __future__ import annotations

import asyncio

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from wsproto.events import Ping

from service.connections.unread import Unread
from service.connections.uvicorn_websocket import WebSocketProtocol
from service.context import Service


class ReadWebSocket(WebSocketProtocol):
    """One WebSocket. ``websocket_protocol`` sets how long its client may leave unread what it is sent (seconds)."""

    write_timeout_s: float
    unsent: Unread

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base class
        """A client has asked for it."""
        super().connection_made(transport)
        self.unsent = Unread(transport, self.write_timeout_s, self.limited)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has left."""
        self.unsent.rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """What the client sends."""
        super().data_received(data)
        self._watch_if_closing()

    def pause_writing(self) -> None:
        """The client reads slower than it is written to."""
        super().pause_writing()
        self.unsent.watch()

    def resume_writing(self) -> None:
        """It has read on."""
        super().resume_writing()
        self.unsent.rest()

    def shutdown(self) -> None:
        """The server stops."""
        super().shutdown()
        self._watch_if_closing()

    def keepalive_timeout(self) -> None:
        """It has not answered a ping."""
        super().keepalive_timeout()
        self._watch_if_closing()

    def handle_ping(self, event: Ping) -> None:
        """A ping is answered where the answers before are read: whoever pings and does not read would fill memory."""
        if self.writable.is_set():
            super().handle_ping(event)

    async def send(self, message: ASGISendEvent) -> None:
        """What the handler says; nothing, once the client has gone, as on Hypercorn: the handler is about to be cancelled."""
        try:
            await super().send(message)
        except ClientDisconnected:
            await asyncio.sleep(0)  # a handler that only sends would not let the loop turn, and cancel it
        self._watch_if_closing()

    def _watch_if_closing(self) -> None:
        if self.close_sent or self.transport.is_closing():
            self.unsent.watch()


def websocket_protocol(service: Service) -> type[ReadWebSocket]:
    """The protocol class for ``uvicorn.Config(ws=...)``."""

    class ServiceWebSocket(ReadWebSocket):
        limited = service.inference.limited
        most = service.config.limits.websocket_message_bytes
        write_timeout_s = service.config.limits.write_timeout_s

    return ServiceWebSocket
