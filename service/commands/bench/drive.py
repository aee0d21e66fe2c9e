"""Sending requests when they are due, over as many connections as that takes up to a bound."""

from __future__ import annotations

import asyncio
import itertools
import signal
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from service.commands.bench.alarm import Alarm
from service.commands.bench.arrivals import Pace
from service.commands.bench.connection import Asked, Connection
from service.commands.bench.record import Record, named

now = time.perf_counter
#: How long a caller whose connection failed waits before he tries again: nobody is helped by thousands of tries a second.
BACKOFF_S = 0.1
#: How often it is looked for answers that are overdue.
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens; ``tls``: None where it speaks without."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request as it goes over the wire, and how many rows it has."""

    wire: bytes
    rows: int


@dataclass(frozen=True, slots=True)
class Ran:
    """How long requests were sent (seconds); ``unsent``: those that were due by then and never sent. ``busy``: the share of the
    time for which this process kept a core busy."""

    seconds: float
    busy: float
    unsent: int
    interrupted: bool


class Drive:
    """Sends ``requests`` one after the other, again and again. Call on a running loop."""

    def __init__(self, address: Address, requests: Sequence[Prepared], connections: int, timeout_s: float) -> None:
        self._address = address
        self._requests = itertools.cycle(requests)
        self._bound = connections
        self._timeout_s = timeout_s
        self._idle: list[Connection] = []  # the one that was used last first: the others may go to sleep
        self._busy: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._alarm = Alarm(asyncio.get_running_loop(), self._pump)
        self._sending = False
        self._interrupts = 0
        self._stopped = self._cpu_s = 0.0
        self._pace: Pace
        self._record: Record
        self._changed = asyncio.Event()
        self.most_open = 0

    async def run(self, pace: Pace, record: Record, seconds: float, watch: Callable[[float], None] = lambda _: None) -> Ran:
        """Sends what is due for so long, and waits for the answers. SIGINT interrupts.

        ``watch`` is now and then told how many seconds have passed.
        """
        loop = asyncio.get_running_loop()
        self._pace, self._record, self._interrupts = pace, record, 0
        with suppress(NotImplementedError, ValueError):  # not every system has it, and only the main thread may
            loop.add_signal_handler(signal.SIGINT, self.interrupt)
        begun, cpu_s = now(), time.process_time()
        looking = asyncio.create_task(self._look(begun, seconds, watch))
        try:
            record.begin(begun)
            pace.begin(begun)
            self._sending = True
            self._pump()
            while self._sending:
                await self._change()
            unsent = pace.waiting(min(self._stopped, begun + seconds))
            while self._busy and self._interrupts < 2:
                await self._change()
            for connection in list(self._busy):
                self._give_up(connection, "no answer before the interrupt")
            seconds = self._stopped - begun
            return Ran(seconds, (self._cpu_s - cpu_s) / seconds if seconds else 0.0, unsent, self._interrupts > 0)
        finally:
            looking.cancel()
            self._sending = False
            self._alarm.stop()
            with suppress(NotImplementedError, ValueError):
                loop.remove_signal_handler(signal.SIGINT)

    def interrupt(self) -> None:
        """Ends the sending; called again, also the waiting for what was sent."""
        self._interrupts += 1
        self._stop()

    async def close(self) -> None:
        """Leaves every connection."""
        self._alarm.close()
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in (*self._idle, *self._busy):
            connection.leave()
        await asyncio.sleep(0)

    def answered(self, connection: Connection) -> None:
        """Of ``Owner``."""
        asked, at = connection.asked, now()
        if asked is None:
            return
        connection.asked = None
        self._busy.discard(connection)
        if 200 <= connection.status < 300:
            self._record.answered(asked.due, at, asked.rows, connection.told)
        else:
            what, example = named(connection.status, bytes(connection.body))
            self._record.failure(what, at, example)
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.leave()
        self._finished(at)

    def lost(self, connection: Connection, why: str) -> None:
        """Of ``Owner``."""
        if connection in self._busy:
            self._busy.discard(connection)
            self._record.failure(why, now(), "")
            self._finished(now() + BACKOFF_S)
        elif connection in self._idle:
            self._idle.remove(connection)

    def _finished(self, at: float) -> None:
        self._pace.finished(at)
        if self._sending:
            self._pump()
        elif not self._busy:
            self._changed.set()

    def _pump(self) -> None:
        """Sends what is due, as far as there are connections; opens more, up to the bound; comes again when more is due."""
        if not self._sending:
            return
        pace, at = self._pace, now()
        while self._idle and (due := pace.take(at)) is not None:
            connection, request = self._idle.pop(), next(self._requests)
            self._busy.add(connection)
            connection.ask(request.wire, Asked(due, at, request.rows))
            self._record.asked(due, at)
        if not self._idle:
            room = self._bound - len(self._busy) - len(self._opening)
            if room > 0:
                for _ in range(min(room, pace.waiting(at) - len(self._opening))):
                    self._open()
        if (following := pace.next) is not None and following > at:
            self._alarm.set(following - at)

    def _open(self) -> None:
        task = asyncio.get_running_loop().create_task(self._connect())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        address, loop = self._address, asyncio.get_running_loop()
        host = address.host if address.tls is not None else None
        try:
            async with asyncio.timeout(self._timeout_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(self), address.host, address.port, ssl=address.tls, server_hostname=host
                )
        except OSError as error:  # that it took too long among them
            self._opening.discard(_this_task())
            self._unopened(error)
            return
        self._opening.discard(_this_task())
        self._idle.append(connection)
        self.most_open = max(self.most_open, len(self._idle) + len(self._busy))
        self._pump()

    def _unopened(self, error: OSError) -> None:
        """A request that is due has failed, as there was no connection to be had for it."""
        at = now()
        if self._sending and self._pace.take(at) is not None:
            self._record.failure(_why(error), at, "")
            self._finished(at + BACKOFF_S)

    async def _look(self, begun: float, seconds: float, watch: Callable[[float], None]) -> None:
        """Ends the sending in time, and gives up what has waited too long for its answer."""
        while True:
            left = begun + seconds - now()
            watch(seconds - left)
            if self._sending and left <= 0:
                self._pump()  # what is due and finds a connection is sent yet
                self._stop()
            overdue = now() - self._timeout_s
            for connection in [one for one in self._busy if one.asked is not None and one.asked.sent < overdue]:
                self._give_up(connection, f"no answer within {self._timeout_s:g} s")
            await asyncio.sleep(min(_LOOK_S, left) if left > 0 else _LOOK_S)

    def _give_up(self, connection: Connection, why: str) -> None:
        connection.leave()
        self.lost(connection, why)

    def _stop(self) -> None:
        if self._sending:
            self._stopped, self._cpu_s = now(), time.process_time()
            self._record.end()
        self._sending = False
        self._alarm.stop()
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _this_task() -> asyncio.Task[None]:
    task: asyncio.Task[None] | None = asyncio.current_task()
    if task is None:
        raise RuntimeError("called without a task")
    return task


def _why(error: OSError) -> str:
    match error:
        case ConnectionRefusedError():
            return "connection refused"
        case TimeoutError():
            return "no connection in time"
        case ssl.SSLError():
            return "no connection by TLS"
        case _:
            return f"no connection: {error.strerror or error}"[:80]
