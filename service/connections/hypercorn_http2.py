"""Hypercorn's HTTP/2, with what it and h2 leave open of a request's head closed.

h2 judges frames, pseudo-headers, connection headers and forbidden bytes. What it lets pass and another server may read otherwise
is malformed here (RFC 9113, 8.1.1): a stream error, of which no app hears. A client that opens streams and resets them makes work
that nobody wants; past a number of them its connection ends.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Any, Final

from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamReset
from h2.exceptions import ProtocolError
from hypercorn.events import Closed, RawData
from hypercorn.events import Event as Happening
from hypercorn.protocol.h2 import H2Protocol
from priority.priority import PriorityError

from service.connections.hypercorn_stream import Refused
from service.errors import BadRequest, ServiceError, TwoValues
from service.guard.input.request_head import SINGLE, is_host, long_head, many_lines
from service.inference import Inference

#: Streams that a client may reset, or have reset, beside half of those that it opens.
RESETS: Final = 100

#: What a header takes beside its name and value (bytes), as in HTTP/1.1.
BESIDE: Final = 4
#: A list that decompresses to more than so many times the limit ends the connection; up to there its request is told why.
DECODED: Final = 2

_NAME: Final = re.compile(rb":?[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE: Final = re.compile(rb"[\t -~\x80-\xff]*")
_METHOD: Final = re.compile(rb"[A-Z][A-Z_-]*")
_PATH: Final = re.compile(rb"/[!\"$-~]*")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_MALFORMED: Final = "the request's headers are not what HTTP/2 allows"


def check_headers(headers: Sequence[tuple[bytes, bytes]], most_bytes: int, most_lines: int) -> None:
    """Raises BadRequest for a list of headers that is malformed, HeadersTooLarge for one with more bytes or lines than may be,
    TwoValues for one that says one thing in two ways."""
    one: dict[bytes, bytes] = {}
    lines = 0
    if sum(len(name) + len(value) + BESIDE for name, value in headers) > most_bytes:
        raise long_head(most_bytes)
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BadRequest(_MALFORMED)
        if name[:1] != b":":
            lines += 1
        if name in (b"content-length", b"host") and name in one:
            raise BadRequest(_MALFORMED)
        if name in SINGLE and one.get(name, value) != value:
            raise TwoValues(SINGLE[name])
        one[name] = value
    if lines > most_lines:
        raise many_lines(most_lines)
    if not _METHOD.fullmatch(one.get(b":method", b"")) or not _PATH.fullmatch(one.get(b":path", b"")):
        raise BadRequest(_MALFORMED)
    if one[b":method"] == b"CONNECT" and one.get(b":protocol") != b"websocket":
        raise BadRequest(_MALFORMED)
    if not _LENGTH.fullmatch(one.get(b"content-length", b"0")) or one.get(b":scheme") not in (b"http", b"https"):
        raise BadRequest(_MALFORMED)
    named = one.get(b":authority", one.get(b"host"))
    if not named or not is_host(named) or one.get(b"host", named) != named:
        raise BadRequest(_MALFORMED)


class Http2(H2Protocol):
    """A connection's HTTP/2. The account of ``inference`` is told of what no app sees."""

    inference: Inference
    refused = False

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._resets = 0
        # h2 has its default until the client acknowledges another, which that of the start never is.
        self.connection.decoder.max_header_list_size = DECODED * self.inference.limits.header_bytes

    async def handle(self, event: Happening) -> None:
        """What comes from the client, until it breaks a rule."""
        if not isinstance(event, RawData):
            await super().handle(event)
        elif not self.refused:
            try:
                events = self.connection.receive_data(event.data)
            except ProtocolError:
                await self._end()
            else:
                await self._handle_events(events)

    async def _handle_events(self, events: list[Event]) -> None:
        try:
            for event in events:
                if self._passes(event):
                    await super()._handle_events([event])
                if isinstance(event, StreamReset) and (unsent := self.stream_buffers.get(event.stream_id)) is not None:
                    await unsent.close()  # Hypercorn holds it until its turn to be sent comes
                if self._resets > RESETS + self.keep_alive_requests // 2:
                    break  # one read may bring thousands: none after this is begun
            else:
                await self._flush()
                return
        except PriorityError:  # more streams weighed than its tree holds, or against all sense
            pass
        self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
        await self._end()

    async def _end(self) -> None:
        self.refused = True
        await self._flush()
        await super().handle(Closed())  # whatever is in work is told, and sends no more
        await self.send(Refused())

    def _passes(self, event: Event) -> bool:
        limits = self.inference.limits
        match event:
            case RequestReceived():
                try:
                    check_headers(event.headers, limits.header_bytes, limits.header_count)
                except ServiceError as error:
                    self._refuse(event, error)
                    return False
            case DataReceived() if event.stream_id not in self.streams:  # refused, or answered before its end
                with contextlib.suppress(ProtocolError):
                    self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                return False
            case StreamReset() if event.stream_id in self.streams:
                self._resets += 1
        return True

    def _refuse(self, request: RequestReceived, error: ServiceError) -> None:
        """What is over a limit or says two things is told why: what is malformed has no meaning that an answer could be to."""
        self._resets += 1
        response = self.inference.turned_away(error)
        with contextlib.suppress(ProtocolError):
            if not error.limit and not isinstance(error, TwoValues):
                self.connection.reset_stream(request.stream_id, ErrorCodes.PROTOCOL_ERROR)
                return
            status = (b":status", b"%d" % response.status)
            self.connection.send_headers(request.stream_id, [status, *response.headers, *self.config.response_headers("h2")])
            self.connection.send_data(request.stream_id, response.body, end_stream=True)
            if request.stream_ended is None:
                self.connection.reset_stream(request.stream_id, ErrorCodes.NO_ERROR)
