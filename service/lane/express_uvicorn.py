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
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from service.connections.departures import Departures
from service.connections.uvicorn_connection import Connection, own_lines
from service.context import Service
from service.guard.input.framing import END
from service.lane.exchange import Exchange
from service.lane.heads import LEAVE, Heads, judged
from service.lane.inbox import Inbox
from service.lane.outbox import Outbox
from service.lane.taken import Taken
from service.response import STATUS_LINES, Response
from service.routing import Target, target

#: With fewer connections than this an answer has no others to go out with.
COMPANY = 4


def express_protocol(service: Service) -> type[Connection]:
    """The protocol class for ``uvicorn.Config(http=...)``."""
    heads, inbox, outbox = Heads(service.gate), Inbox(), Outbox()
    departures = Departures()

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
            self.heads, self.inbox, self.outbox, self.departures = heads, inbox, outbox, departures
            self.longest = min(HIGH_WATER_LIMIT, service.config.limits.body_bytes)

    return ServiceProtocol


class ExpressProtocol(Connection):
    """One connection. ``express_protocol`` sets the service, what all connections share, and the longest body taken."""

    heads: Heads
    inbox: Inbox
    outbox: Outbox
    longest: int
    last: Exchange | None = None
    fresh: bool = True  # what comes next is a request's first byte, whoever reads it

    # -- what the socket and the parser tell -----------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """A whole request whose head is known is taken at once; everything else is parsed."""
        if not self.fresh or (self.cycle is not None and not self.cycle.response_complete):
            self.parse(data)
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
        self.parse(data)
        last = self.last
        if last is not None and last is not before and last.keep_alive and self.between and len(data) == end + last.head.length:
            self.heads.learn(data[:end], last.head)

    def parse(self, data: bytes) -> None:
        """Reads what came."""
        super().parse(data)
        self.fresh = self.between and not self.framing.lined

    def on_head(self) -> None:
        """Takes the request if it is a plain one."""
        exchange = self._take()
        if exchange is None:
            super().on_head()
        else:
            exchange.body = bytearray()
            self.cycle = self.last = exchange

    def on_whole(self) -> None:
        """The request is whole."""
        cycle = self.cycle
        if type(cycle) is Exchange and cycle.more_body:
            cycle.more_body = False
            self._begin(cycle, bytes(cycle.body))
        else:
            super().on_whole()

    def flush(self) -> None:
        """Writes what waits to be written."""
        self.outbox.flush()

    def at_work(self) -> RequestResponseCycle | None:
        """The request that is being answered."""
        return super().at_work() if self.last is None or self.last.response_complete else self.last

    def drop(self) -> None:
        """Whatever is in work has nobody to be answered to: it is withdrawn from the batch."""
        super().drop()
        last = self.last
        if last is not None and not last.response_complete:
            last.disconnected = True  # the base class knows only of the last of several pipelined requests
            if last.taken is not None:
                last.taken.cancel()

    def forget(self) -> None:
        """Lets go of what points back here."""
        super().forget()
        self.last = None

    # -- the exchange --------------------------------------------------------------------------------------------------------

    def _take(self) -> Exchange | None:
        if self.parser.get_method() != b"POST" or not self.service.first or self.limit_concurrency is not None:
            return None  # a limit of uvicorn's counts tasks, of which there would be none
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
        self.inbox.take(taken)

    def _peer(self) -> str:
        return "" if self.client is None else self.client[0]

    def _write(self, exchange: Exchange, response: Response) -> None:
        """Head and body in one write; then the connection goes on as after any response."""
        if exchange.disconnected or self.transport.is_closing():
            return
        parting = self.service.parting  # then the server's own headers say that the connection is closed
        end = b"\r\n" if exchange.keep_alive or parting else b"connection: close\r\n\r\n"
        own = own_lines(self.server_state.default_headers)
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


@lru_cache(maxsize=4096)
def _target(url: bytes) -> Target | None:
    """Whom a request line asks; None where the path needs more reading than that."""
    return target(url.decode("ascii")) if url.isascii() and b"%" not in url and b"?" not in url else None
