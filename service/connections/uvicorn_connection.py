"""uvicorn's connections, closed when their clients take too long, and told why in the form of every other error.

uvicorn bounds nothing but how long a connection is idle, and makes and cancels a timer for each request to do so. Here one timer
looks when it rings how long ago the last response was, and one more only where a request does not come whole in one read. Both
clocks stand still while it is the server that does not read.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.connections.deadlines import End, late, of_body, of_head, step
from service.connections.departures import Departures
from service.connections.lingering import LINGER_BYTES, linger
from service.connections.unread import Unread
from service.connections.uvicorn_flow import Flow
from service.context import Service
from service.errors import BadRequest, ServiceError
from service.guard.input.framing import Framing
from service.guard.input.request_head import NO_HTTP
from service.response import STATUS_LINES, Header, lines


class Connection(HttpToolsProtocol):
    """One connection. Who makes the class sets ``service`` and ``departures``, which all connections share."""

    service: Service
    flow: Flow
    between: bool = True
    refused: bool = False
    dropped: int = 0
    headed: bool = False
    moved: bool = False
    framing: Framing
    departures: Departures
    booked: bool = False
    begun: float | None = None
    moved_at: float = 0.0
    received: int = 0
    late_timer: asyncio.TimerHandle | None = None
    idle_since: float | None = None
    idle_timer: asyncio.TimerHandle | None = None
    unsent: Unread
    refusal: ServiceError | None = None  # of what came behind requests that are yet to be answered
    running: RequestResponseCycle | None = None  # what the app works on; ``cycle`` is the last of several pipelined requests

    # -- what the socket tells ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base class
        """A client has come, and is idle until it asks."""
        super().connection_made(transport)
        self.limits = self.service.config.limits
        self.step_s = step(self.limits)
        self.framing = Framing(self.limits.header_bytes, self.limits.header_count, self.limits.body_chunks)
        self.flow = Flow(transport, self.loop)
        self.unsent = Unread(transport, self.limits.write_timeout_s, self.service.inference.limited)
        self.idle_since = self.loop.time()
        self.idle_timer = self.loop.call_later(self.limits.idle_timeout_s, self._look_whether_idle)

    def parse(self, data: bytes) -> None:
        """Reads what came."""
        if self.refused:
            self.dropped += len(data)
            if self.dropped > LINGER_BYTES and not self.transport.is_closing():
                self.transport.pause_reading()
            return
        self.moved = False
        data, error = self.framing.judge(data)
        if data:
            super().data_received(data)
        if error is not None and not self.refused:
            self.refuse(error)
        if self.between or self.refused:
            return
        now = self.flow.clock.time()
        if self.begun is None:
            self.begun = now
        if self.moved:
            self.moved_at = now
        if self.late_timer is None:
            self.late_timer = self.loop.call_later(self.step_s, self._look_whether_late)

    def pause_writing(self) -> None:
        """The client reads slower than it is written to."""
        super().pause_writing()
        self.unsent.watch()

    def resume_writing(self) -> None:
        """It has read on."""
        super().resume_writing()
        self.unsent.rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left."""
        super().connection_lost(exc)
        for timer in (self.idle_timer, self.late_timer):
            if timer is not None:
                timer.cancel()
        self.unsent.rest()
        self.drop()
        self.forget()

    def shutdown(self) -> None:
        """The server stops: an idle connection is closed, a busy one after its answer."""
        self.flush()
        super().shutdown()
        if self.transport.is_closing():
            self.unsent.watch()

    # -- what the parser tells ---------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self.between = self.headed = self.booked = False
        self.begun = self.idle_since = None
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        super().on_header(name, value.rstrip(b" \t"))  # llhttp leaves there what is no part of the value (RFC 9110, 5.5)

    def on_headers_complete(self) -> None:
        """The head is whole, and the body begins."""
        self.moved = self.headed = True
        self.begun = None
        self.received = 0
        if self.expect_100_continue and self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # HTTP/1.0 has no such answer (RFC 9110, 10.1.1)
        self.on_head()

    def on_head(self) -> None:
        """Whoever takes the request is given it."""
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self.moved = True
        self.received += len(body)
        super().on_body(body)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self.between = True
        self.on_whole()

    def on_whole(self) -> None:
        """Whoever has taken the request is told."""
        super().on_message_complete()

    # -- refusals ----------------------------------------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """The answer to what is not HTTP, in the form of every other error."""
        self.refuse(BadRequest(NO_HTTP))

    def refuse(self, error: ServiceError) -> None:
        """Answers what cannot be read on, once what came whole before it has been answered, and ends the connection."""
        broken = self.cycle if self.headed and not self.between else None
        self.between, self.refused = False, True
        if self.pipeline and self.pipeline[0][0] is broken:
            self.pipeline.popleft()
        if self.at_work() in (None, broken):
            self.turn_away(error)
        else:
            self.refusal = error

    def at_work(self) -> RequestResponseCycle | None:
        """The request that is being answered."""
        return None if self.running is None or self.running.response_complete else self.running

    def turn_away(self, error: ServiceError) -> None:
        """Answers with the error, and ends the connection."""
        self.flush()  # what was answered before goes out before
        begun = answered(self.cycle) or answered(self.running)
        self.drop()
        response = self.service.inference.turned_away(error)
        if begun:  # another answer would be read as a part of that one
            self.end()
            return
        head = (STATUS_LINES[response.status], own_lines(self.server_state.default_headers), response.lines)
        self.transport.write(b"".join((*head, b"connection: close\r\n\r\n", response.body)))
        linger(self.transport, self.end)

    def end(self) -> None:
        """Closes the connection as soon as its client has read what there is for it."""
        self.transport.close()
        self.unsent.watch()

    def drop(self) -> None:
        """Whatever is in work has nobody to be answered to."""
        for cycle in (self.cycle, self.running):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.waiting_for_100_continue = False  # whoever reads the body now may write no more
                cycle.message_event.set()

    def forget(self) -> None:
        """Lets go of what points back here: what is garbage in a cycle waits for a collector that runs seldom."""
        self.idle_timer = self.late_timer = self.running = self.refusal = None
        self.cycle = None  # type: ignore[assignment]  # as before the first
        self.pipeline.clear()

    def flush(self) -> None:
        """Writes what waits to be written."""

    def _unsupported_upgrade_warning(self) -> None:
        # The parser reads nothing after such a request, so the connection ends with its answer; not worth a line of the log.
        if self.cycle is not None:
            self.cycle.keep_alive = False

    # -- time --------------------------------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """The connection is idle, or goes on with what was pipelined."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self.unsent.watch()
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        if self.refusal is not None:
            self.turn_away(self.refusal)
            return
        self.idle_since = self.loop.time()
        if not self.between and not self.headed:
            self.begun = self.flow.clock.time()  # a head could not be answered before
        if self.idle_timer is None:
            self.idle_timer = self.loop.call_later(self.limits.idle_timeout_s, self._look_whether_idle)

    def _look_whether_idle(self) -> None:
        self.idle_timer = None
        if self.transport.is_closing() or self.idle_since is None:
            return  # the next response sets the timer again
        left = self.idle_since + self.limits.idle_timeout_s - self.loop.time()
        if not self.between:
            left = self.limits.idle_timeout_s  # a request that comes slowly has its own time
        if left > 0:
            self.idle_timer = self.loop.call_later(left, self._look_whether_idle)
            return
        self.service.inference.limited.count("idle_timeout_s")
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # its client has read nothing for as long
        else:
            self.transport.close()

    def _look_whether_late(self) -> None:
        self.late_timer = None
        if self.transport.is_closing() or self.between or self.refused or self.begun is None:
            return  # the next request that does not come whole sets the timer again
        if self.transport.get_protocol() is not self:
            return
        limits, cycle = self.limits, self.cycle
        if self.headed:
            waits, end = bool(self.pipeline), of_body(limits, self.begun, self.moved_at, self.received)
        else:
            waits, end = cycle is not None and not cycle.response_complete, of_head(limits, self.begun)
        left = self.step_s if waits else end.at - self.flow.clock.time()  # those before it are answered first
        if left <= 0 and not self.booked:
            left = self.departures.wait(self.loop.time())
            self.booked = left > 0
        if left > 0:
            self.late_timer = self.loop.call_later(left if self.booked else min(left, self.step_s), self._look_whether_late)
        else:
            self._is_late(end)

    def _is_late(self, end: End) -> None:
        if self.headed and self.cycle is not None and self.cycle.response_complete:
            self.service.inference.limited.count(end.limit)
            self.refused = True
            self.end()  # it was answered without its body
        else:
            self.refuse(late(self.limits, end))

    def _unset_keepalive_if_required(self) -> None:
        """Bytes alone are no request: the idle time goes on until one begins."""


def answered(cycle: RequestResponseCycle | None) -> bool:
    """Whether a request's answer has begun, and not ended."""
    return cycle is not None and cycle.response_started and not cycle.response_complete


_own: tuple[list[Header], bytes] = ([], b"")


def own_lines(headers: list[Header]) -> bytes:
    """The server's own headers as written; uvicorn makes a new list of them each second, for the date."""
    global _own
    if headers is not _own[0]:
        _own = (headers, lines(headers))
    return _own[1]
