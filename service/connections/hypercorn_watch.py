"""What ends one of Hypercorn's connections in time: one timer a connection, which looks when it rings.

Hypercorn 0.18 makes and cancels a task with a timer around every request, for the idle timeout, wraps every read in another, and
bounds neither how long a request takes to come nor how long its answer waits to be read.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import h11
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import TaskGroup

from service.connections.deadlines import End, late, of_head, step
from service.connections.departures import Departures
from service.connections.hypercorn_pace import PacedHttp2
from service.connections.hypercorn_protocols import Http1
from service.connections.hypercorn_stream import Stream
from service.connections.unread import LOOKS

if TYPE_CHECKING:
    from service.connections.hypercorn_connection import Connection

Ending = Callable[[], Coroutine[Any, Any, None]]

#: How often a connection that is busy while the server stops is looked at (seconds). HTTP/1.1 closes it after its answer by itself.
LOOK_S = 0.1


class Watches:
    """Those of a worker: all look at once when the server stops."""

    def __init__(self) -> None:
        self.open: set[Watch] = set()
        self.departures = Departures()
        self._waiting: asyncio.Task[None] | None = None

    def add(self, watch: Watch, terminated: Callable[[], Awaitable[Any]]) -> None:
        """One more."""
        self.open.add(watch)
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_task(self._look_when(terminated))

    async def _look_when(self, terminated: Callable[[], Awaitable[Any]]) -> None:
        await terminated()
        for watch in list(self.open):
            watch.look()


class Watch:
    """Stands where Hypercorn keeps its idle task: knows since when a connection has been idle, and ends it in time."""

    __slots__ = (
        "_booked",
        "_connection",
        "_ending",
        "_limits",
        "_rings_at",
        "_step_s",
        "_timer",
        "_watches",
        "head_since",
        "since",
    )

    def __init__(self, connection: Connection, watches: Watches) -> None:
        self._connection = connection
        self._limits = connection.service.config.limits
        self._step_s = step(self._limits)
        self._watches = watches
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf
        self._booked = False
        self._ending: asyncio.Task[None] | None = None
        self.since: float | None = None
        self.head_since: float | None = None
        watches.add(self, connection.context.terminated.wait)

    # -- what Hypercorn calls ----------------------------------------------------------------------------------------------------

    async def restart(self, task_group: TaskGroup, action: Callable[[], Awaitable[None]]) -> None:
        """The connection is idle from now on; ``action``, Hypercorn's own way of waiting, is not used."""
        connection = self._connection
        self.since = connection.loop.time()
        if self._timer is None or connection.context.terminated.is_set():
            self._ring(0.0 if connection.context.terminated.is_set() else self._limits.idle_timeout_s)

    async def stop(self) -> None:
        """The connection ends."""
        self.since = None
        self._watches.open.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- the timer ---------------------------------------------------------------------------------------------------------------

    def soon(self) -> None:
        """A request has begun and not come whole, or comes by a protocol that says so to itself alone."""
        if self._timer is not None and self._rings_at > self._connection.loop.time() + self._step_s:
            self._ring(self._step_s)

    def look(self) -> None:
        """Ends what has taken too long, or says when to look again."""
        self._timer = None
        connection = self._connection
        if connection.left or self._ending is not None:
            return
        now, stops = connection.loop.time(), connection.context.terminated.is_set()
        read_s = connection.config.read_timeout
        if read_s is not None and now >= connection.read_at + read_s:
            connection.writer.transport.abort()
            return
        ending, left = self._request(now)
        if ending is None and self.since is not None and self.head_since is None:
            idle = 0.0 if stops else self.since + self._limits.idle_timeout_s - now
            if idle <= 0:
                ending = self._close_idle
            left = min(left, idle)
        if ending is not None:
            self._end(ending, 0.0 if stops or self._booked else self._watches.departures.wait(now))
            return
        self._booked = False
        if read_s is not None:
            left = min(left, connection.read_at + read_s - now)
        self._ring(min(left, LOOK_S if stops else self._limits.idle_timeout_s))

    def _ring(self, after_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = self._connection.loop
        self._rings_at = loop.time() + after_s
        self._timer = loop.call_later(max(after_s, 0.001), self.look)

    def _end(self, ending: Ending, wait_s: float) -> None:
        self._booked = wait_s > 0
        if self._booked:
            self._ring(wait_s)
            return
        self._ending = self._connection.loop.create_task(ending())
        self._ending.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._ending = None
        failed = not task.cancelled() and task.exception() is not None
        if self._connection.left:
            return
        if failed:
            self._connection.writer.transport.abort()
        else:
            self._ring(self._step_s)

    # -- requests that do not come whole -----------------------------------------------------------------------------------------

    def _request(self, now: float) -> tuple[Ending | None, float]:
        """What is to be done about a request that is late, or how soon to look again (seconds)."""
        protocol = self._connection.protocol.protocol
        if isinstance(protocol, PacedHttp2):
            return self._streams(protocol, now)
        if self.head_since is not None:
            end = of_head(self._limits, max(self.head_since, self.since or 0.0))
            if now >= end.at:
                return partial(self._refuse, end), 0.0
            return None, min(end.at - now, self._step_s)
        if isinstance(protocol, H11Protocol) and isinstance(protocol.stream, Stream) and not protocol.stream.whole:
            end, reading = protocol.stream.end(self._limits), self._connection.clock.time()
            if reading >= end.at:
                return partial(self._refuse, end), 0.0
            return None, min(end.at - reading, self._step_s)
        return None, math.inf

    def _streams(self, protocol: PacedHttp2, now: float) -> tuple[Ending | None, float]:
        if protocol.is_unread(now, self._limits.write_timeout_s):
            return partial(self._send_away, protocol), 0.0
        reading = self._connection.clock.time()
        for stream in list(protocol.streams.values()):
            if isinstance(stream, Stream) and not stream.whole:
                end = stream.end(self._limits)
                if reading >= end.at:
                    return partial(protocol.expire, stream, late(self._limits, end)), 0.0
        return None, min(self._step_s, self._limits.write_timeout_s / LOOKS) if protocol.streams else math.inf

    async def _refuse(self, end: End) -> None:
        protocol = self._connection.protocol.protocol
        if isinstance(protocol, Http1) and protocol.connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await protocol.end(late(self._limits, end))
        else:
            self._count(end.limit)
            self._connection.writer.transport.abort()  # its answer has begun: another would be read as a part of it

    async def _send_away(self, protocol: PacedHttp2) -> None:
        self._count("write_timeout_s")
        await protocol.calm()

    async def _close_idle(self) -> None:
        if not self._connection.context.terminated.is_set():
            self._count("idle_timeout_s")
        await self._connection.close_idle()

    def _count(self, limit: str) -> None:
        self._connection.service.inference.limited.count(limit)


def has_begun(protocol: object) -> bool:
    """Whether a part of a head has come, on HTTP/1.1."""
    if not isinstance(protocol, H11Protocol):
        return False
    connection = protocol.connection
    return isinstance(connection, h11.Connection) and connection.their_state is h11.IDLE and bool(connection.trailing_data[0])
