"""The express lane at the depth of uvicorn's HTTP protocol: no ASGI task, one write, completion by callback.

An ASGI request costs uvicorn some 40 us before an app has said a word: a task, two writes, a regular expression over every header.
A subclass of its httptools protocol takes an inference request as soon as its headers are parsed, gives it to the engine when its
body is whole, and writes the answer when the engine's future is done.

It takes only the plain case: HTTP/1.1, a body of known length that fits one buffer, nothing before it unanswered on the
connection, a peer that reads. Every other request goes to the base class and so to the ASGI form of the lane, which gives the
same answers. Keep-alive, pipelining behind a taken request, and the graceful shutdown stay the base class's own: a taken request
stands in ``self.cycle`` as one of its cycles would.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache, partial
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.account import Plain
from service.context import Service
from service.errors import BadRequest, ServiceError
from service.guard.framing import NO_HTTP, Framing
from service.lane.exchange import Exchange
from service.lane.heads import END, LEAVE, Heads, judged
from service.lane.outbox import Outbox
from service.lane.taken import Taken
from service.response import STATUS_LINES, Header, Response, code_of, failed, lines, request_id
from service.routing import Target, target

#: With fewer connections than this an answer has no others to go out with.
COMPANY = 4
#: How long a connection is kept that was refused (seconds).
REFUSED_S = 0.5
#: How long a request that has begun may stand still (seconds): the read_timeout that Hypercorn is given.
READ_S = 300.0


def express_protocol(service: Service) -> type[HttpToolsProtocol]:
    """The protocol class for ``uvicorn.Config(http=...)``."""
    heads, outbox = Heads(service.gate), Outbox()

    class ServiceProtocol(ExpressProtocol):
        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(config, server_state, app_state, _loop)
            self.service = service
            self.heads, self.outbox = heads, outbox
            limits = service.config.limits
            self.framing = Framing(limits.header_bytes, limits.header_count)
            self.longest = min(HIGH_WATER_LIMIT, limits.body_bytes)

    return ServiceProtocol


class ExpressProtocol(HttpToolsProtocol):
    """One connection. ``express_protocol`` sets the service, what all connections share, and the longest body taken."""

    service: Service
    heads: Heads
    outbox: Outbox
    framing: Framing
    longest: int
    last: Exchange | None = None
    between: bool = True
    refused: bool = False
    headed: bool = False
    read_at: float = 0.0
    read_timer: asyncio.TimerHandle | None = None
    idle_since: float | None = None
    idle_timer: asyncio.TimerHandle | None = None

    # -- what the socket and the parser tell -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base class
        """A client has come, and is idle until it asks."""
        super().connection_made(transport)
        self.idle_since = self.loop.time()
        self.idle_timer = self.loop.call_later(self.timeout_keep_alive, self._look_whether_idle)

    def data_received(self, data: bytes) -> None:
        """A whole request whose head is known is taken at once; everything else is parsed."""
        if not self.between or (self.cycle is not None and not self.cycle.response_complete):
            self._parse(data)
            return
        end = data.find(END) + len(END)
        head = self.heads.get(data[:end])
        if head is not None and len(data) == end + head.length and not self.flow.write_paused and self.service.first:
            self.idle_since = None
            self.cycle = self.last = exchange = Exchange(head)
            exchange.more_body = False
            self._begin(exchange, data[end:])
            return
        before = self.last
        self._parse(data)
        last = self.last
        if last is not None and last is not before and last.keep_alive and self.between and len(data) == end + last.head.length:
            self.heads.learn(data[:end], last.head)

    def _parse(self, data: bytes) -> None:
        if self.refused:
            return
        data, error = self.framing.judge(data)
        if data:
            super().data_received(data)
        if error is not None and not self.refused:
            self._refuse(error)
        if self.between or self.refused:
            return
        self.read_at = self.loop.time()
        if self.read_timer is None:
            self.read_timer = self.loop.call_later(READ_S, self._look_whether_stalled)

    def _look_whether_stalled(self) -> None:
        self.read_timer = None
        if self.transport.is_closing() or self.between or self.transport.get_protocol() is not self:
            return  # the next request that does not come whole sets the timer again
        left = self.read_at + READ_S - self.loop.time()
        if left > 0:
            self.read_timer = self.loop.call_later(left, self._look_whether_stalled)
        else:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """A request begins."""
        self.between = self.headed = False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; those that follow a chunked body are nobody's."""
        if not self.headed:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Takes the request if it is a plain one."""
        self.headed = True
        exchange = self._take()
        if exchange is None:
            super().on_headers_complete()
        else:
            exchange.body = bytearray()
            self.cycle = self.last = exchange

    def on_message_complete(self) -> None:
        """The request is whole."""
        self.between = True
        cycle = self.cycle
        if type(cycle) is Exchange and cycle.more_body:
            cycle.more_body = False
            self._begin(cycle, bytes(cycle.body))
        else:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """The answer to what is not HTTP, in the form of every other error."""
        self._refuse(BadRequest(NO_HTTP))

    def _refuse(self, error: ServiceError) -> None:
        if error.limit:
            self.service.inference.limited.count(error.limit)
        name = request_id(None)
        response = failed(error, name)
        own = _lines(self.server_state.default_headers)
        self.outbox.flush()  # what was answered before goes out before
        begun = self.cycle is not None and not self.cycle.response_complete and getattr(self.cycle, "response_started", False)
        self._drop()
        if begun:  # a second head amid a response would be read as its body
            self.transport.abort()
            return
        head = (STATUS_LINES[response.status], own, response.lines, b"connection: close\r\n\r\n")
        self.transport.write(b"".join((*head, response.body)))
        self.between, self.refused = False, True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # Closed at once, what the client is still sending would be answered by a reset, which may overtake the refusal.
        self.loop.call_later(REFUSED_S, self.transport.close)
        self.service.inference.account.plain(Plain(name, "", "", "", response.status, 0.0, code_of(response.body)))

    def _unsupported_upgrade_warning(self) -> None:
        # The parser reads nothing after such a request, so the connection ends with its answer; not worth a line of the log.
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """The server stops: an idle connection is closed, a busy one after its answer."""
        self.outbox.flush()
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left: what it waited for is withdrawn from the batch."""
        super().connection_lost(exc)
        for timer in (self.idle_timer, self.read_timer):
            if timer is not None:
                timer.cancel()
        self._drop()

    def _drop(self) -> None:
        """Whatever is in work has nobody to be answered to."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        last = self.last
        if last is not None and not last.response_complete:
            last.disconnected = True  # the base class knows only of the last of several pipelined requests
            if last.taken is not None:
                last.taken.cancel()

    # -- the exchange --------------------------------------------------------------------------------------------------------

    def _take(self) -> Exchange | None:
        if self.parser.get_method() != b"POST" or not self.service.first:
            return None
        found = _target(self.url)
        if found is None or (self.cycle is not None and not self.cycle.response_complete):
            return None
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        if not length.isdigit() or int(length) > self.longest:
            return None
        if not LEAVE.isdisjoint(headers) or self.flow.write_paused or self.parser.get_http_version() != "1.1":
            return None
        head = judged(self.service.gate, found, self.headers, int(length), self._peer())
        return Exchange(head, self.parser.should_keep_alive())

    def _begin(self, exchange: Exchange, body: bytes) -> None:
        sender = exchange.head.sender(self.service.gate, self._peer())
        exchange.taken = taken = Taken(self.service.inference, exchange.head, sender, body, partial(self._write, exchange))
        taken.begin()

    def _peer(self) -> str:
        return "" if self.client is None else self.client[0]

    def _write(self, exchange: Exchange, response: Response) -> None:
        """Head and body in one write; then the connection goes on as after any response."""
        if exchange.disconnected or self.transport.is_closing():
            return
        parting = self.service.parting  # then the server's own headers say that the connection is closed
        end = b"\r\n" if exchange.keep_alive or parting else b"connection: close\r\n\r\n"
        own = _lines(self.server_state.default_headers)
        data = b"".join((STATUS_LINES[response.status], own, response.lines, end, response.body))
        if len(self.connections) < COMPANY:
            self.outbox.flush()
            self.transport.write(data)
        else:
            self.outbox.put(self.transport, data)
        exchange.response_complete = True
        exchange.taken = None
        if not exchange.keep_alive or parting:
            self.outbox.flush()
            self.transport.close()
        self.on_response_complete()

    # -- the keep-alive timeout ----------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """The connection is idle, or goes on with what was pipelined.

        The base class makes and cancels a timer for every request; here one timer a connection looks when it rings how long ago
        the last response was.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self.idle_since = self.loop.time()
        if self.idle_timer is None:
            self.idle_timer = self.loop.call_later(self.timeout_keep_alive, self._look_whether_idle)

    def _look_whether_idle(self) -> None:
        self.idle_timer = None
        if self.transport.is_closing() or self.idle_since is None:
            return  # the next response sets the timer again
        left = self.idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.idle_timer = self.loop.call_later(left, self._look_whether_idle)
        else:
            self.timeout_keep_alive_handler()

    def _unset_keepalive_if_required(self) -> None:
        self.idle_since = None


@lru_cache(maxsize=4096)
def _target(url: bytes) -> Target | None:
    """Whom a request line asks; None where the path needs more reading than that."""
    return target(url.decode("ascii")) if url.isascii() and b"%" not in url else None


_default: tuple[list[Header], bytes] = ([], b"")


def _lines(headers: list[Header]) -> bytes:
    """The server's own headers as written; uvicorn makes a new list of them each second, for the date."""
    global _default
    if headers is not _default[0]:
        _default = (headers, lines(headers))
    return _default[1]
