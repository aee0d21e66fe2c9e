"""How a worker takes connections off the listening socket that all workers of a server share.

The kernel gives a connection to whichever worker asks first, which is mostly the one that is already awake: left to it, six
connections in a row all reach one of two workers. Here a worker that has more open connections than the least loaded one leaves
the next to it for a moment.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Final

from service.connections.addresses import Addresses
from service.connections.refusals import Refusals
from service.connections.spread import IMPATIENCE_S, Turn, decide
from service.processes.board import Phase
from service.processes.place import Place

log = logging.getLogger("tureen.acceptor")

#: How soon a worker that left a connection to another looks again (seconds).
LOOK_S: Final = 0.001
#: How long a process without free descriptors waits before it asks again (seconds).
PAUSE_S: Final = 0.1
#: How often the log is told that connections wait (seconds).
TELL_S: Final = 10.0

#: How long one turn of the loop takes connections (seconds). Those that are open wait for so long when many come together, not for
#: all their beginnings; but with one in each turn, and turns of milliseconds, the last of hundreds would wait for seconds.
TURN_S: Final = 0.001

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Counted(socket.socket):
    """An open connection. uvloop detaches a connection's socket when it closes it, and anybody else closes it."""

    __slots__ = ("gone",)
    gone: Callable[[], None] | None

    def detach(self) -> int:
        """The descriptor, which is closed from now on as far as this object knows."""
        self._end()
        return super().detach()

    def close(self) -> None:
        """Closes the connection."""
        self._end()
        super().close()

    def _end(self) -> None:
        gone, self.gone = self.gone, None
        if gone is not None:
            gone()


class Acceptor(asyncio.AbstractServer):
    """A server of one listening socket, as ``loop.create_server`` returns it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listening: socket.socket,
        connect: Callable[[socket.socket], None],
        place: Place,
        limit: int,
        addresses: Addresses | None,
        refusals: Refusals,
        *,
        secure: bool,
    ) -> None:
        self._loop = loop
        self._listening: socket.socket | None = listening
        self._kind = (listening.family, listening.type, listening.proto)
        self._connect = connect
        self._line = place.board[place.slot]
        self._others = [line for line in place.board if line.slot != place.slot]
        self._limit = limit
        self._addresses = addresses
        self._refusals = refusals
        self._secure = secure
        self._turn = Turn()
        self._timer: asyncio.TimerHandle | None = None
        self._serving = False
        self._told_at = float("-inf")
        self.open = 0  # of this socket's; the line has the worker's, whichever socket they came to

    # -- what asyncio's servers have ---------------------------------------------------------------------------------------------

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening socket; nothing once it is closed."""
        return () if self._listening is None else (self._listening,)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop it runs on."""
        return self._loop

    def is_serving(self) -> bool:
        """Whether connections are taken."""
        return self._serving

    async def start_serving(self) -> None:
        """Takes connections from now on."""
        if self._listening is None:
            raise RuntimeError("the server is closed; make another")
        if not self._serving:
            self._serving = True
            self._listen()

    async def serve_forever(self) -> None:
        """Serves until it is cancelled."""
        await self.start_serving()
        try:
            await self._loop.create_future()
        finally:
            self.close()

    def close(self) -> None:
        """Takes what has come so far, since nobody else may, and stops listening. Open connections stay open."""
        listening = self._listening
        if listening is None:
            return
        if self._serving:
            self._serving = False
            self._pause()
            while self._accept(listening):
                pass
        self._listening = None
        listening.close()

    async def wait_closed(self) -> None:
        """Nothing remains to wait for: open connections are not the server's."""

    # -- the listening socket ----------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        self._timer = None
        if self._listening is not None:
            self._loop.add_reader(self._listening, self._ready)

    def _pause(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif self._listening is not None:
            self._loop.remove_reader(self._listening)

    def _look_again(self, after_s: float) -> None:
        self._pause()
        self._timer = self._loop.call_later(after_s, self._looking)

    def _looking(self) -> None:
        self._listen()
        self._ready()

    def _ready(self) -> None:
        listening = self._listening
        if listening is None:
            return
        until = perf_counter() + TURN_S
        while True:
            if self._others and not self._is_ours():
                self._look_again(LOOK_S)
                return
            if not self._accept(listening):
                self._turn = Turn(None, self._turn.impatient_until)
                return
            if self._turn.since is not None:  # another had its time, and it was still there
                self._turn = Turn(None, self._loop.time() + IMPATIENCE_S)
            if perf_counter() >= until:
                return

    def _is_ours(self) -> bool:
        others = [line.connections for line in self._others if line.phase is Phase.SERVING]
        ours, self._turn = decide(self._turn, self._loop.time(), self._line.connections, others)
        return ours

    def _accept(self, listening: socket.socket) -> bool:
        """Takes one connection; whether there may be more."""
        try:
            descriptor, peer = listening._accept()  # type: ignore[attr-defined]  # accept() makes a plain socket of it
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionError:
            return True  # that one has already left
        except OSError as error:
            self._cannot_accept(error)
            return False
        connection = Counted(*self._kind, fileno=descriptor)
        connection.gone = None
        if self.open >= self._limit:
            self._refusals.refuse(connection, "connections", secure=self._secure)
            return True
        address = "" if self._addresses is None else self._addresses.enter(peer)
        if address is None:
            self._refusals.refuse(connection, "address_connections", secure=self._secure)
            return True
        connection.gone = partial(self._gone_from, address) if address else self._gone
        self.open += 1
        self._line.connections += 1
        try:
            self._connect(connection)
        except Exception as error:
            connection.close()
            self._loop.call_exception_handler({"message": "a connection could not be served", "exception": error})
        return True

    def _cannot_accept(self, error: OSError) -> None:
        now = self._loop.time()
        if now >= self._told_at + TELL_S:
            self._told_at = now
            what = "no descriptor is free: raise the limit of open files" if error.errno in _EXHAUSTED else error.strerror
            log.error("cannot accept connections, they wait: %s", what)
        if self._serving:
            self._look_again(PAUSE_S)  # the socket stays readable: without a pause the loop would spin

    def _gone_from(self, address: str) -> None:
        if self._addresses is not None:
            self._addresses.leave(address)
        self._gone()

    def _gone(self) -> None:
        self.open -= 1
        self._line.connections -= 1
