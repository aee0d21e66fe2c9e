"""Hypercorn's protocols, where they let in or leave open what a server on the open net must not.

HTTP/1.1: bytes reach h11 once `guard.framing` has judged them; `Upgrade: h2c` is not followed, for it leads around what checks
requests in front, and HTTP/2 is spoken over TLS alone; what is no request is told so in JSON.

WebSockets: no compression, since neither Hypercorn nor wsproto bounds what a frame inflates to, 400 MiB from one of 1 MB; of a
message that is too long, or a frame that is none, both sides are told, and the connection ends.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Final

import h11
import hypercorn.protocol
import hypercorn.protocol.h2
import hypercorn.protocol.h11
from hypercorn.events import Closed, RawData
from hypercorn.events import Event as Happening
from hypercorn.protocol.events import Body, Data, EndBody, Event, Request, Response, StreamClosed
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.typing import ASGISendEvent
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason

from service.connections.hypercorn_pace import PacedHttp2
from service.connections.hypercorn_stream import MORE, Refused, Stream, Turn
from service.connections.lingering import CLOSE_S
from service.errors import BadRequest, HeadersTooLarge, NoHandshake, NotSupported, ServiceError
from service.guard.input.frames import Frames
from service.guard.input.framing import END, Framing
from service.guard.input.request_head import NO_HTTP, UNKNOWN_CODING, authority
from service.inference import Inference
from service.response import failed, request_id

EXTENSIONS: Final = b"sec-websocket-extensions"

TOO_LONG: Final = "the request's headers are longer than this server reads; send fewer or shorter ones"
TOO_EARLY: Final = "bytes came before the WebSocket handshake was answered; send frames once its answer, 101, has come"


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
    """A connection's HTTP/1.1. The account of ``inference`` is told of what no app sees."""

    inference: Inference
    refused = False
    last = False  # the request in work is the connection's last, and h11 may not know

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        limits = self.inference.limits
        self.can_read = self.turn = Turn(self.can_read)
        self.framing = Framing(limits.header_bytes, limits.header_count, limits.body_chunks)
        self.more = MORE.get()

    async def handle(self, event: Happening) -> None:
        """What comes from the client, as far as it may be read."""
        if not isinstance(event, RawData):
            if isinstance(event, Closed):
                self.turn.over = True
            await super().handle(event)
            await self.turn.set()
            return
        if self.refused:
            return
        handed_over = self.framing.handed_over
        data, error = self.framing.judge(event.data)
        if self.framing.handed_over and not handed_over and await self._rushes(data):
            data, error = b"", BadRequest(TOO_EARLY)
        if data or not event.data:  # h11 takes no bytes for the client's end, which they are only where none came
            await super().handle(RawData(data))
        if error is not None:
            await self.end(error)
        elif isinstance(self.stream, WSStream) and self.stream.closed:  # nobody looks at what its client still sends
            self.refused = True
            await self.send(Refused())

    async def _rushes(self, handshake: bytes) -> bool:
        """Whether frames come right behind a handshake. Found out once the app has begun, that costs four times as much; so it is
        where requests stand before it, which are to be answered."""
        if handshake.find(END) + len(END) < len(handshake):
            return False
        for _ in range(2):  # in the second turn of the loop the socket has been read again
            await asyncio.sleep(0)
        return self.more()

    async def end(self, error: ServiceError) -> None:
        """Refuses what comes next, once what came before it has been answered."""
        self.refused = True
        while self.stream is not None and self.connection.their_state is h11.DONE:
            await self.can_read.clear()
            await self.can_read.wait()
        unanswered = self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}
        await self._close_stream()  # whatever of its app still comes is not sent
        if unanswered:
            await self._refuse(error)
        await self.send(Refused())

    async def _check_protocol(self, event: h11.Request) -> None:
        """No other protocol is gone over to."""

    async def _create_stream(self, request: h11.Request) -> None:
        if self.framing.over:  # h11 knows of Connection alone
            said = [value.lower().split(b",") for name, value in request.headers if name == b"proxy-connection"]
            self.last = any(wish.strip(b" \t") == b"close" for wishes in said for wish in wishes)
        if not request.target.startswith(b"/"):  # absolute, of the host that Host names
            path = request.target[len(authority(request.target)) :]
            request = h11.Request(
                method=request.method, target=path, headers=list(request.headers), http_version=request.http_version
            )
        await super()._create_stream(request)

    async def stream_send(self, event: Event) -> None:
        """What the app answers."""
        if self.last and isinstance(event, Response):
            event = replace(event, headers=[*event.headers, (b"connection", b"close")])
        await super().stream_send(event)

    async def _send_error_response(self, status_code: int) -> None:
        await self._refuse(refusal(status_code))

    async def _refuse(self, error: ServiceError) -> None:
        response = self.inference.turned_away(error)
        own = [(b"connection", b"close"), *self.config.response_headers("h11")]
        await self._send_h11_event(h11.Response(status_code=response.status, headers=[*response.headers, *own]))
        await self._send_h11_event(h11.Data(data=response.body))
        await self._send_h11_event(h11.EndOfMessage())


class WebSocket(WSStream):
    """A WebSocket, of either HTTP."""

    inference: Inference
    _pings: asyncio.Task[None] | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._frames = Frames(self.inference.limits.websocket_message_bytes)

    async def handle(self, event: Event) -> None:
        """What comes from the client."""
        if isinstance(event, Request):
            event = replace(event, headers=[header for header in event.headers if header[0].lower() != EXTENSIONS])
        if isinstance(event, Body | Data) and not self.handshake.accepted and not self.closed:
            await self._refuse(BadRequest(TOO_EARLY))
            self.closed = True
            self._tell_handler(CloseReason.ABNORMAL_CLOSURE)
        elif isinstance(event, Body | Data) and not self.closed:
            may = self._frames.judge(event.data)
            if may:
                await super().handle(replace(event, data=event.data[:may]))
            if may < len(event.data) and not self.closed:
                self.inference.limited.count("websocket_message_bytes")
                await self._break(CloseReason.MESSAGE_TOO_BIG)
        else:
            await super().handle(event)
        if self.closed and self._pings is not None:
            self._pings.cancel()  # it would sleep on, and the connection, and a server that stops, would wait for it

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """What the handler says; nothing, once its client has gone."""
        if self.closed:
            await asyncio.sleep(0)  # a handler that only sends would not let the loop turn, and cancel it
        await super().app_send(message)

    async def _send_pings(self) -> None:
        self._pings = asyncio.current_task()
        try:
            await super()._send_pings()
        finally:
            self._pings = None

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, Message):
                self.buffer.extend(event)
                if event.message_finished:
                    if self.app_put is not None:
                        await self.app_put(self.buffer.to_message())
                    self.buffer.clear()
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, CloseConnection):
                if self.connection.state is ConnectionState.OPEN:  # what came is no frame
                    await self._break(event.code)
                    return
                if self.connection.state is ConnectionState.REMOTE_CLOSING:
                    await self._send_wsproto_event(event.response())
                await self.send(StreamClosed(stream_id=self.stream_id))

    async def _break(self, code: int) -> None:
        await self._send_wsproto_event(CloseConnection(code=code))
        self.closed = True  # nothing that still comes is looked at, and nothing of the app's is sent
        self.task_group.spawn(self._end, int(code))

    def _tell_handler(self, code: int) -> None:
        if self.app_put is not None:
            self.task_group.spawn(self.app_put, {"type": "websocket.disconnect", "code": code})

    async def _end(self, code: int) -> None:
        self._tell_handler(code)
        # Closed at once, what the peer is still sending would be answered by a reset, which may overtake the close frame.
        await asyncio.sleep(CLOSE_S)
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _send_error_response(self, status_code: int) -> None:
        if status_code == 400:
            await self._refuse(NoHandshake())
        else:
            await super()._send_error_response(status_code)

    async def _refuse(self, error: ServiceError) -> None:
        response = failed(error, request_id(None))
        headers = [*response.headers, (b"connection", b"close")]
        await self.send(Response(stream_id=self.stream_id, status_code=response.status, headers=headers))
        await self.send(Body(stream_id=self.stream_id, data=response.body))
        await self.send(EndBody(stream_id=self.stream_id))


def use_protocols(inference: Inference) -> None:
    """Makes Hypercorn's connections speak these, within the limits of ``inference``; it has no setting for that."""

    class ServiceHttp1(Http1):
        pass

    class ServiceHttp2(PacedHttp2):
        pass

    class ServiceWebSocket(WebSocket):
        pass

    ServiceHttp1.inference = ServiceHttp2.inference = ServiceWebSocket.inference = inference
    hypercorn.protocol.H11Protocol = ServiceHttp1  # type: ignore[attr-defined]  # Hypercorn only imports it
    hypercorn.protocol.H2Protocol = ServiceHttp2  # type: ignore[attr-defined,assignment]  # Hypercorn only imports it
    hypercorn.protocol.h11.HTTPStream = Stream  # type: ignore[attr-defined,assignment]  # Hypercorn only imports it
    hypercorn.protocol.h2.HTTPStream = Stream  # type: ignore[attr-defined,assignment]  # Hypercorn only imports it
    hypercorn.protocol.h11.WSStream = ServiceWebSocket  # type: ignore[attr-defined]  # Hypercorn only imports it
    hypercorn.protocol.h2.WSStream = ServiceWebSocket  # type: ignore[attr-defined]  # Hypercorn only imports it
