"""Hypercorn's protocols, where they let in or leave open what a server on the open net must not.

HTTP/1.1: a request that says its length in two ways is refused, for whoever stands in front may have read the other; `Upgrade: h2c`
is not followed, for it leads around what checks requests in front; what is no request is told so in JSON.

WebSockets: no compression, since neither Hypercorn nor wsproto bounds what a frame inflates to, 400 MiB from one of 1 MB; of a
message that is too long both sides are told, and the connection ends.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

import h11
import hypercorn.protocol
import hypercorn.protocol.h2
import hypercorn.protocol.h11
from hypercorn.events import Closed
from hypercorn.protocol.events import Body, EndBody, Event, Request, Response, StreamClosed
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream
from wsproto.events import CloseConnection
from wsproto.events import Event as Frame
from wsproto.frame_protocol import CloseReason

from service.account import Account, Plain
from service.errors import BadRequest, HeadersTooLarge, NotSupported, ServiceError
from service.response import code_of, failed, request_id

EXTENSIONS: Final = b"sec-websocket-extensions"
#: How long a WebSocket's peer has to answer a close frame (seconds).
CLOSE_S: Final = 2.0

NO_HTTP: Final = "what came is not HTTP/1.1; check the request line, the headers and Content-Length"
TWO_LENGTHS: Final = "the request has both Transfer-Encoding and Content-Length; send one of them"
TOO_LONG: Final = "the request's headers are longer than this server reads; send fewer or shorter ones"
NO_HANDSHAKE: Final = "the WebSocket handshake lacks a key, or asks for another version than 13"
UNKNOWN_CODING: Final = "the only Transfer-Encoding that is taken is chunked"


def refusal(status: int) -> ServiceError:
    """What is wrong with a request that h11 refuses with that status."""
    match status:
        case 431:
            return HeadersTooLarge(TOO_LONG)
        case 501:
            return NotSupported(UNKNOWN_CODING)
        case _:
            return BadRequest(NO_HTTP)


class Http1(H11Protocol):
    """A connection's HTTP/1.1. ``account`` is told of what no app sees."""

    account: Account

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.method == b"PRI":  # HTTP/2 with prior knowledge
            await super()._check_protocol(event)

    async def _create_stream(self, request: h11.Request) -> None:
        names = [name for name, _ in request.headers]
        if b"transfer-encoding" in names and b"content-length" in names:
            await self._refuse(BadRequest(TWO_LENGTHS))
            await self.send(Closed())
            return
        await super()._create_stream(request)

    async def _send_error_response(self, status_code: int) -> None:
        await self._refuse(refusal(status_code))

    async def _refuse(self, error: ServiceError) -> None:
        name = request_id(None)
        response = failed(error, name)
        own = [(b"connection", b"close"), *self.config.response_headers("h11")]
        await self._send_h11_event(h11.Response(status_code=response.status, headers=[*response.headers, *own]))
        await self._send_h11_event(h11.Data(data=response.body))
        await self._send_h11_event(h11.EndOfMessage())
        self.account.plain(Plain(name, "", "", "", response.status, 0.0, code_of(response.body)))


class WebSocket(WSStream):
    """A WebSocket, of either HTTP."""

    _pings: asyncio.Task[None] | None = None

    async def handle(self, event: Event) -> None:
        """What comes from the client."""
        if isinstance(event, Request):
            event = replace(event, headers=[header for header in event.headers if header[0].lower() != EXTENSIONS])
        await super().handle(event)
        if self.closed and self._pings is not None:
            self._pings.cancel()  # it would sleep on, and the connection, and a server that stops, would wait for it

    async def _send_pings(self) -> None:
        self._pings = asyncio.current_task()
        await super()._send_pings()

    async def _send_wsproto_event(self, event: Frame) -> None:
        await super()._send_wsproto_event(event)
        if isinstance(event, CloseConnection) and event.code == CloseReason.MESSAGE_TOO_BIG and not self.closed:
            self.closed = True  # nothing that still comes is looked at, and nothing of the app's is sent
            self.task_group.spawn(self._end, int(event.code))

    async def _end(self, code: int) -> None:
        if self.app_put is not None:
            self.task_group.spawn(self.app_put, {"type": "websocket.disconnect", "code": code})
        # Closed at once, what the peer is still sending would be answered by a reset, which may overtake the close frame.
        await asyncio.sleep(CLOSE_S)
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _send_error_response(self, status_code: int) -> None:
        if status_code != 400:
            await super()._send_error_response(status_code)
            return
        response = failed(BadRequest(NO_HANDSHAKE), request_id(None))
        headers = [*response.headers, (b"connection", b"close")]
        await self.send(Response(stream_id=self.stream_id, status_code=response.status, headers=headers))
        await self.send(Body(stream_id=self.stream_id, data=response.body))
        await self.send(EndBody(stream_id=self.stream_id))


def use_protocols(account: Account) -> None:
    """Makes Hypercorn's connections speak these; it has no setting for that."""

    class ServiceHttp1(Http1):
        pass

    ServiceHttp1.account = account
    hypercorn.protocol.H11Protocol = ServiceHttp1  # type: ignore[attr-defined]  # Hypercorn only imports it
    hypercorn.protocol.h11.WSStream = WebSocket  # type: ignore[attr-defined]  # Hypercorn only imports it
    hypercorn.protocol.h2.WSStream = WebSocket  # type: ignore[attr-defined]  # Hypercorn only imports it
