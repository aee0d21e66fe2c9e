"""Hypercorn's connections, with less work for each request, and closed when their clients leave.

Hypercorn 0.18 makes and cancels a task with a timer around every request, for the idle timeout, wraps every read in another, and
writes a response's head and body in two system calls, each of which wakes the client. Here one task a connection looks, when its
timer rings, how long ago the last request was, and what is sent within one turn of the loop goes out in one write. A client that
left keeps no file descriptor until the idle timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import TaskGroup

#: How often a connection that is busy while the server stops is looked at (seconds). HTTP/1.1 closes it after its answer by itself.
LOOK_S = 0.1
#: How long a connection is kept that was refused (seconds).
REFUSED_S = 0.5
#: What is sent goes out at once from this size on, and its sender waits until the client has read enough (bytes).
SEND = 64 * 1024


@dataclass(frozen=True)
class Refused(Closed):
    """The connection is over once its client has read why."""


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
        while True:
            now, stops = connection.loop.time(), terminated.is_set()
            idle_end, read_end = ends(
                self.since, connection.read_at, 0.0 if stops else config.keep_alive_timeout, config.read_timeout
            )
            if now >= idle_end:
                await connection.close_idle()
                return
            if now >= read_end:
                connection.writer.transport.abort()
                return
            left = max(min(idle_end, read_end, now + config.keep_alive_timeout) - now, 0.001)
            if stops:
                await asyncio.sleep(min(left, LOOK_S))
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(terminated.wait(), left)


def ends(idle_since: float | None, read_at: float, idle_s: float, read_s: float | None) -> tuple[float, float]:
    """When a connection ends on which nothing more happens: for having been idle, and for having said nothing at all."""
    return (
        math.inf if idle_since is None else idle_since + idle_s,
        math.inf if read_s is None else read_at + read_s,
    )


class Connection(TCPServer):
    """One connection."""

    left = False
    read_at = 0.0
    _flushing = False
    _unsent: list[bytes]
    _idle: Idleness

    async def run(self) -> None:
        """Serves the connection until one side closes it."""
        self._unsent = []
        self._idle = Idleness(self)
        self.idle_task = self._idle  # type: ignore[assignment]  # has what Hypercorn calls of its own
        await super().run()

    async def protocol_send(self, event: Event) -> None:
        """What the protocol has for the client, or says of itself."""
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Updated) and not event.idle:
            self._idle.since = None
        elif isinstance(event, Refused):
            self._part()
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
        else:
            self._flush_later()

    def _flush_later(self) -> None:
        if not self._flushing:
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
                await self._received(data)
            await self.protocol.handle(Closed())
        finally:
            self.left = True
            self._gone()
            await self.idle_task.stop()

    async def _received(self, data: bytes) -> None:
        """Bytes of the client's; none at its end."""
        await self.protocol.handle(RawData(data))

    def _gone(self) -> None:
        """Nothing more can be read."""

    def _part(self) -> None:
        """Closed at once, what the client is still sending would be answered by a reset, which may overtake the refusal."""
        self._flush_soon()
        transport = self.writer.transport
        if transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()
        self.loop.call_later(REFUSED_S, transport.close)

    async def _close(self) -> None:
        self._flush_soon()
        await super()._close()

    async def _initiate_server_close(self) -> None:
        self._flush_soon()
        await super()._initiate_server_close()
