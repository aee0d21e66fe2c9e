"""Hypercorn's connections, with less work for each request, and closed when their clients leave or take too long.

Hypercorn 0.18 writes a response's head and body in two system calls, each of which wakes the client. Here what is sent within one
turn of the loop goes out in one write. A client that left keeps no file descriptor until the idle timeout.
"""

from __future__ import annotations

import asyncio
import contextlib

from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.events import Closed, Event, RawData, Updated

from service.connections.clock import ReadingClock
from service.connections.hypercorn_stream import CLOCK, MORE, Over, Refused
from service.connections.hypercorn_watch import Watch, Watches, has_begun
from service.connections.lingering import LINGER_BYTES, LINGER_S, linger
from service.connections.unread import Unread
from service.context import Service

#: What is sent goes out at once from this size on, and its sender waits until the client has read enough (bytes).
SEND = 64 * 1024


class Connection(TCPServer):
    """One connection. Who makes the class sets ``service`` and ``watches``."""

    service: Service
    watches: Watches
    clock: ReadingClock
    unsent: Unread
    left = False
    read_at = 0.0
    parted = False
    dropped = 0
    _flushing = False
    _unsent: list[bytes]
    _idle: Watch

    async def run(self) -> None:
        """Serves the connection until one side closes it."""
        self._unsent = []
        self.clock = ReadingClock(self.loop)
        CLOCK.set(self.clock)
        self._unread: bytearray = self.reader._buffer  # type: ignore[attr-defined]  # a StreamReader does not say what it holds
        unread = self._unread
        MORE.set(lambda: bool(unread))
        limited = self.service.inference.limited
        self.unsent = Unread(self.writer.transport, self.service.config.limits.write_timeout_s, limited)
        self._idle = Watch(self, self.watches)
        self.idle_task = self._idle  # type: ignore[assignment]  # has what Hypercorn calls of its own
        try:
            await super().run()
        finally:
            self._forget()

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

    def _forget(self) -> None:
        """Lets go of what points back here: what is only garbage in a cycle waits for a collector that runs seldom."""
        self._unsent.clear()
        lost = self.reader.exception()
        if lost is not None:
            lost.with_traceback(None)  # the writer keeps it, and it the frames that waited for the writer
        for name in ("protocol", "idle_task", "_idle", "unsent", "reader", "writer"):
            vars(self).pop(name, None)  # who left at once had no protocol yet

    async def close_idle(self) -> None:
        """Closes a connection that has no request in work."""
        if not self.left:
            await asyncio.shield(self._initiate_server_close())

    async def _send(self, data: bytes) -> None:
        if not data:
            return
        self._unsent.append(data)
        if len(data) >= SEND or self.writer.transport.get_write_buffer_size() > 0:
            try:
                async with self.send_lock:
                    self._flush()
                    self.unsent.watch()
                    await self.writer.drain()
                    self.unsent.rest()
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
                if self.parted:
                    self.dropped += len(data)
                    if self.dropped > LINGER_BYTES:
                        await asyncio.sleep(LINGER_S)
                        break
            await self.protocol.handle(Closed())
        finally:
            self.left = True
            self._unread.clear()  # nobody reads it any more
            self._gone()
            self.unsent.rest()
            await self.idle_task.stop()

    async def _received(self, data: bytes) -> None:
        """Bytes of the client's; none at its end."""
        self.clock.stop()
        with contextlib.suppress(Over):
            await self.protocol.handle(RawData(data))
        self.clock.go()
        protocol, watch = self.protocol.protocol, self._idle
        if not has_begun(protocol):
            watch.head_since = None
        elif watch.head_since is None:
            watch.head_since = self.loop.time()
        watch.soon()

    def _gone(self) -> None:
        """Nothing more can be read."""

    def _part(self) -> None:
        self.parted = True
        self._flush_soon()
        linger(self.writer.transport, self.writer.transport.close)
        self.unsent.watch()

    async def _close(self) -> None:
        self._flush_soon()
        self.unsent.watch()
        with contextlib.suppress(OSError):  # the client was gone before it could be told of the end
            await super()._close()

    async def _initiate_server_close(self) -> None:
        self._flush_soon()
        self.unsent.watch()
        await super()._initiate_server_close()
