"""An event loop whose clock a test sets, threads that work when it says so, and a connection without a socket.

Nothing sleeps and nothing depends on how fast the machine is: the loop turns as often as it is told to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from typing import Any, TypeVarTuple

Arguments = TypeVarTuple("Arguments")

#: How much of what a peer does not read a connection takes before its protocol is told (bytes).
HIGH_WATER = 600
#: What one read brings at most (bytes).
READ = 256 * 1024


class Clockwork(asyncio.SelectorEventLoop):
    """A loop whose time goes on when ``now`` is set. ``scheduled``: so many callbacks have been put into its turns."""

    now = 1000.0
    scheduled = 0

    def time(self) -> float:
        return self.now

    def call_soon(
        self, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        self.scheduled += 1
        return super().call_soon(callback, *args, context=context)


async def turn(times: int = 1) -> None:
    """So many turns of the running loop."""
    for _ in range(times):
        await asyncio.sleep(0)


async def settle(loop: Clockwork) -> None:
    """Turns the loop until nothing but time, a thread or a peer could make it do anything."""
    quiet = 0
    while quiet < 3:  # a timer that is due is in the turn after the next
        before = loop.scheduled
        await turn()
        quiet = quiet + 1 if loop.scheduled == before + 1 else 0


class Stove(ThreadPoolExecutor):
    """Threads; while ``held`` what they are given waits, and ``cook`` does it, here and in order."""

    held = False

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self._waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if not self.held:
            return super().submit(fn, *args, **kwargs)
        future: Future[Any] = Future()
        self._waiting.append((future, lambda: fn(*args, **kwargs)))
        return future

    def cook(self) -> bool:
        """Whether there was anything to do."""
        waiting, self._waiting = self._waiting, []
        for future, work in waiting:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except Exception as error:
                    future.set_exception(error)
        return bool(waiting)


class Peer(asyncio.Transport):
    """A connection and its other end. ``received``: what that has read; ``faults``: what a server may not do with a connection."""

    def __init__(self, loop: Clockwork) -> None:
        super().__init__({"peername": ("192.0.2.7", 40_000), "sockname": ("192.0.2.1", 8000)})
        self._loop = loop
        self._protocol: asyncio.Protocol | None = None
        self.received = bytearray()
        self.faults: list[str] = []
        self.reads = True
        self.closed = self.finished = self.lost = self.told_lost = False
        self._unread = bytearray()
        self._full = False
        self._sent = bytearray()
        self._sent_eof = False
        self._reading_paused = False
        self._flushing = False

    # -- the peer's side -------------------------------------------------------------------------------------------------------

    def meet(self, protocol: asyncio.Protocol) -> None:
        """The connection is made."""
        self._protocol = protocol
        protocol.connection_made(self)

    def send(self, data: bytes) -> None:
        """Sends; read at once, unless the server does not read: then with what else comes meanwhile, as from a socket."""
        self._sent += data
        self._deliver()

    def send_eof(self) -> None:
        """Sends no more, but would read on."""
        self._sent_eof = True
        self._deliver()

    def stop_reading(self) -> None:
        """Reads nothing from now on."""
        self.reads = False

    def read_on(self) -> None:
        """Reads what has come, and whatever comes."""
        self.reads = True
        self._flush()

    def leave(self, error: Exception | None = None) -> None:
        """The connection breaks."""
        self._unread.clear()
        self.lost = True
        self._tell_lost(error)

    def _deliver(self) -> None:
        protocol = self._protocol
        while protocol is not None and self._sent and not (self._reading_paused or self.closed or self.lost):
            data = bytes(self._sent[:READ])
            del self._sent[:READ]
            protocol.data_received(data)
            protocol = self._protocol
        if self._sent_eof and protocol is not None and not (self._sent or self._reading_paused or self.closed or self.lost):
            self._sent_eof = False
            if not protocol.eof_received():
                self.close()

    def _flush(self) -> None:
        if not self.reads or self.lost:
            return
        self.received += self._unread
        self._unread.clear()
        if self._full:
            self._full = False
            if self._protocol is not None:
                self._protocol.resume_writing()
        if self.closed:
            self._tell_lost(None)

    def _tell_lost(self, error: Exception | None) -> None:
        protocol, self._protocol = self._protocol, None
        self.closed = True
        if protocol is not None:
            self.told_lost = True
            protocol.connection_lost(error)

    # -- what a server does with it --------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.told_lost or self.finished:
            self.faults.append(f"wrote {bytes(data)[:60]!r} after {'its end' if self.finished else 'the connection'}")
            return
        if self.closed and not self._unread:
            return  # transports drop it; behind what has yet to go out there is room
        self._unread += data
        if self.reads:
            self._flush()
        elif len(self._unread) > HIGH_WATER and not self._full and self._protocol is not None:
            self._full = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.finished = True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if not self._unread:
                self._loop.call_soon(self._tell_lost, None)

    def abort(self) -> None:
        self._unread.clear()
        if not self.lost:
            self.closed = self.lost = True
            self._loop.call_soon(self._tell_lost, None)

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        if self._reading_paused:
            self.faults.append("paused reading twice")
        self._reading_paused = True

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._loop.call_soon(self._deliver)

    def get_write_buffer_size(self) -> int:
        return len(self._unread)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As they are."""

    def get_protocol(self) -> asyncio.BaseProtocol:
        if self._protocol is None:
            raise RuntimeError("the connection is lost")
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        if not isinstance(protocol, asyncio.Protocol):
            raise TypeError("expected a protocol of a stream")
        self._protocol = protocol
