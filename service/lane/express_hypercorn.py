"""The express lane at the depth of Hypercorn's connections.

An inference request whose head h11 has parsed before, and which came whole while the connection was idle, goes to the engine as it
is: for Hypercorn and h11 the connection stays idle, and nothing has happened on it. Every other request goes through h11, Hypercorn
and the ASGI form of the lane, which gives the same answers; what h11 makes of it is learnt from.
"""

from __future__ import annotations

import asyncio

import h11
import hypercorn.asyncio.run
from hypercorn.protocol.http_stream import HTTPStream

from service.connections.hypercorn_connection import Connection
from service.connections.hypercorn_protocols import Http1, use_protocols
from service.connections.hypercorn_watch import Watches
from service.context import Service
from service.guard.input.framing import END
from service.lane.heads import LEAVE, Heads, judged
from service.lane.inbox import Inbox
from service.lane.taken import Taken
from service.response import STATUS_LINES, Response, lines
from service.routing import target


class ExpressConnection(Connection):
    """One connection. ``use_express_connections`` sets what all connections share."""

    heads: Heads
    inbox: Inbox
    _taken: Taken | None = None
    _answered: asyncio.Event

    async def run(self) -> None:
        """Serves the connection until one side closes it."""
        self._answered = asyncio.Event()
        await super().run()

    def _take(self, data: bytes) -> bool:
        """Takes a request whose head is known, if nothing else is in work."""
        if not self._is_between() or not self.service.first or self.context.terminated.is_set():
            return False
        end = data.find(END) + len(END)
        head = self.heads.get(data[:end])
        if head is None or len(data) != end + head.length or self.writer.transport.get_write_buffer_size() > 0:
            return False
        protocol = self.protocol.protocol
        if not isinstance(protocol, Http1) or protocol.keep_alive_requests >= self.config.keep_alive_max_requests:
            return False
        protocol.keep_alive_requests += 1
        self._idle.since = None
        self._answered.clear()
        sender = head.sender(self.service.gate, _peer(protocol.client))
        self._taken = Taken(self.service.inference, head, sender, data[end:], self._answer)
        self.inbox.take(self._taken)
        return True

    def _is_between(self) -> bool:
        """Whether h11 stands between two requests, with no byte of the next, nor of the empty line before it."""
        protocol = self.protocol.protocol
        if self._idle.since is None or not isinstance(protocol, Http1) or protocol.framing.lined:
            return False
        connection = protocol.connection
        return (
            isinstance(connection, h11.Connection)
            and connection.our_state is h11.IDLE
            and connection.their_state is h11.IDLE
            and not connection.trailing_data[0]
        )

    def _answer(self, response: Response) -> None:
        self._taken = None
        own = lines(self.config.response_headers("h11"))
        self._unsent.append(b"".join((STATUS_LINES[response.status], response.lines, own, b"\r\n", response.body)))
        self._flush_later()
        self._answered.set()
        self._idle.since = self.loop.time()
        if self.context.terminated.is_set() or self.service.parting:
            self._flush_soon()
            self.writer.close()

    async def _received(self, data: bytes) -> None:
        """Takes what came, or gives it to Hypercorn when what was taken before has been answered; and learns from what h11 says."""
        if data and self._take(data):
            return
        if self._taken is not None:
            if not data:  # the client has left
                self._taken.cancel()
            else:
                await self._answered.wait()
        between = self._is_between()
        await super()._received(data)
        if between:
            self._learn(data)

    def _learn(self, data: bytes) -> None:
        protocol = self.protocol.protocol
        if not isinstance(protocol, Http1) or not isinstance(protocol.stream, HTTPStream):
            return
        stream = protocol.stream
        scope = stream.scope
        end = data.find(END) + len(END)
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        plain = scope["method"] == "POST" and not scope["query_string"] and b"%" not in scope["raw_path"]
        found = target(scope["path"]) if plain else None
        if (
            found is not None
            and scope["http_version"] == "1.1"
            and not scope["root_path"]
            and length.isdigit()
            and len(data) == end + int(length)
            and int(length) <= self.service.inference.limits.body_bytes
            and b"connection" not in headers
            and b"proxy-connection" not in headers
            and LEAVE.isdisjoint(headers)
        ):
            # Its request is judged where it is answered; that is another task, which may not have begun.
            peer = _peer(scope["client"])
            self.heads.learn(data[:end], judged(self.service.gate, found, list(scope["headers"]), int(length), peer))

    def _gone(self) -> None:
        if self._taken is not None:
            self._taken.cancel()


def _peer(client: tuple[str, int] | None) -> str:
    return "" if client is None else client[0]


def use_express_connections(service: Service) -> None:
    """Makes Hypercorn use these connections; it has no setting for that."""
    known, coming = Heads(service.gate), Inbox()

    class ServiceConnection(ExpressConnection):
        heads = known
        inbox = coming
        watches = Watches()

    ServiceConnection.service = service
    use_protocols(service.inference)
    hypercorn.asyncio.run.TCPServer = ServiceConnection  # type: ignore[attr-defined]  # Hypercorn only imports it
