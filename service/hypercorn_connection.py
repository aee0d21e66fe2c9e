"""Hypercorn's connections, with less work for each request, and closed when their clients leave.

Hypercorn 0.18 makes and cancels a task with a timer around every request, for the idle timeout, wraps every read in another, and
writes a response's head and body in two system calls, each of which wakes the client. Here one task a connection looks, when its
timer rings, how long ago the last request was, and what is sent within one turn of the loop goes out in one write. A client that
left keeps no file descriptor until the idle timeout.

An inference request whose head h11 has parsed before (``heads``), and which came whole while the connection was idle, goes to the
engine as it is: for Hypercorn and h11 the connection stays idle, and nothing has happened on it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import h11
import hypercorn.asyncio.run
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import TaskGroup

from service.context import Service
from service.heads import END, LEAVE, Head, Heads
from service.response import STATUS_LINES, Response, lines
from service.routing import target
from service.taken import Taken

#: What is sent goes out at once from this size on, and its sender waits until the client has read enough (bytes).
SEND = 64 * 1024


class Idleness:
    """Stands where Hypercorn keeps its idle task: knows since when a connection has been idle, and closes it in time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._watch: asyncio.Task[None] | None = None
        self.since: float | None = None

    async def restart(self, task_group: TaskGroup, action: Callable[[], Awaitable[None]]) -> None:
        """The connection is idle from now on; ``action``, Hypercorn's own way of waiting, is not used."""
        self.since = self._connection.loop.time()
        if self._watch is None and not self._connection.left:
            self._watch = self._connection.loop.create_task(self._wait())

    async def stop(self) -> None:
        """The connection ends."""
        self.since = None
        if self._watch is not None and self._watch is not asyncio.current_task():
            self._watch.cancel()

    async def _wait(self) -> None:
        connection = self._connection
        terminated, config = connection.context.terminated, connection.config
        left: float | None = config.keep_alive_timeout
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(terminated.wait(), left)
            now = connection.loop.time()
            if self.since is not None and (terminated.is_set() or now >= self.since + config.keep_alive_timeout):
                await connection.close_idle()
                return
            if config.read_timeout is not None and now >= connection.read_at + config.read_timeout:
                connection.writer.transport.abort()
                return
            ends = [] if self.since is None else [self.since + config.keep_alive_timeout]
            ends += [] if config.read_timeout is None else [connection.read_at + config.read_timeout]
            left = max(min(ends, default=now + config.keep_alive_timeout) - now, 0.001)
            if terminated.is_set():
                return  # busy: it is closed when its response has been sent


class Connection(TCPServer):
    """One connection. ``use_our_connections`` sets the service and the heads known to all connections."""

    service: Service
    heads: Heads
    left = False
    read_at = 0.0
    _flushing = False
    _unsent: list[bytes]
    _taken: Taken | None = None
    _answered: asyncio.Event

    async def run(self) -> None:
        """Serves the connection until one side closes it."""
        self._unsent = []
        self._answered = asyncio.Event()
        self.idle_task = Idleness(self)  # type: ignore[assignment]
        await super().run()

    async def protocol_send(self, event: Event) -> None:
        """What the protocol has for the client, or says of itself."""
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Updated) and not event.idle:
            self.idle_task.since = None  # type: ignore[attr-defined]
        else:
            await super().protocol_send(event)

    async def close_idle(self) -> None:
        """Closes a connection that has no request in work."""
        await asyncio.shield(self._initiate_server_close())

    async def _send(self, data: bytes) -> None:
        if not data:
            return
        self._unsent.append(data)
        if len(data) >= SEND or self.writer.transport.get_write_buffer_size() > 0:
            try:
                async with self.send_lock:
                    self._flush()
                    await self.writer.drain()
            except (ConnectionError, RuntimeError):
                await self.protocol.handle(Closed())
        elif not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        self._flushing = False
        try:
            self._flush()
        except (ConnectionError, RuntimeError):
            self.writer.transport.abort()  # the read ends, and with it the connection

    def _flush(self) -> None:
        if self._unsent:
            data = b"".join(self._unsent)
            self._unsent.clear()
            self.writer.write(data)

    async def _read_data(self) -> None:
        self.read_at = self.loop.time()
        try:
            while not self.reader.at_eof():
                try:
                    data = await self.reader.read(MAX_RECV)
                except OSError:
                    break
                self.read_at = self.loop.time()
                if not data or not self._take(data):
                    await self._pass_on(data)
            await self.protocol.handle(Closed())
        finally:
            self.left = True
            if self._taken is not None:
                self._taken.cancel()
            await self.idle_task.stop()

    # -- requests taken whole ------------------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> bool:
        """Takes a request whose head is known, if nothing else is in work."""
        if not self._is_between() or not self.service.first or self.context.terminated.is_set():
            return False
        end = data.find(END) + len(END)
        head = self.heads.get(data[:end])
        if head is None or len(data) != end + head.length or self.writer.transport.get_write_buffer_size() > 0:
            return False
        protocol = self.protocol.protocol
        if not isinstance(protocol, H11Protocol) or protocol.keep_alive_requests >= self.config.keep_alive_max_requests:
            return False
        protocol.keep_alive_requests += 1
        self.idle_task.since = None  # type: ignore[attr-defined]
        self._answered.clear()
        self._taken = Taken(self.service.inference, head, data[end:], self._answer)
        self._taken.begin()
        return True

    def _is_between(self) -> bool:
        """Whether h11 stands between two requests, with no byte of the next."""
        protocol = self.protocol.protocol
        if self.idle_task.since is None or not isinstance(protocol, H11Protocol):  # type: ignore[attr-defined]
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
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush_soon)
        self._answered.set()
        self.idle_task.since = self.loop.time()  # type: ignore[attr-defined]
        if self.context.terminated.is_set():
            self._flush_soon()
            self.writer.close()

    async def _pass_on(self, data: bytes) -> None:
        """Gives Hypercorn what came, after what was taken before it has been answered; and learns from what h11 makes of it."""
        if self._taken is not None:
            if not data:  # the client has left
                self._taken.cancel()
            else:
                await self._answered.wait()
        between = self._is_between()
        await self.protocol.handle(RawData(data))
        if between:
            self._learn(data)

    def _learn(self, data: bytes) -> None:
        protocol = self.protocol.protocol
        if not isinstance(protocol, H11Protocol) or not isinstance(protocol.stream, HTTPStream):
            return
        stream = protocol.stream
        scope = stream.scope
        end = data.find(END) + len(END)
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        found = target(scope["path"]) if scope["method"] == "POST" and not scope["query_string"] else None
        if (
            found is not None
            and scope["http_version"] == "1.1"
            and not scope["root_path"]
            and length.isdigit()
            and len(data) == end + int(length)
            and b"connection" not in headers
            and LEAVE.isdisjoint(headers)
        ):
            self.heads.learn(data[:end], Head(found, headers, int(length)))

    async def _close(self) -> None:
        self._flush_soon()
        await super()._close()

    async def _initiate_server_close(self) -> None:
        self._flush_soon()
        await super()._initiate_server_close()


def use_our_connections(service: Service) -> None:
    """Makes Hypercorn use these connections; it has no setting for that."""
    known = Heads()

    class ServiceConnection(Connection):
        heads = known

    ServiceConnection.service = service
    hypercorn.asyncio.run.TCPServer = ServiceConnection  # type: ignore[attr-defined]
