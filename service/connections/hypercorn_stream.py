"""Hypercorn's requests, which know how their bodies come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from hypercorn.events import Closed
from hypercorn.protocol.events import Body, EndBody, Event, StreamClosed
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent
from hypercorn.typing import Event as TurnEvent

from service.connections.clock import ReadingClock
from service.connections.deadlines import End, of_body
from service.sections import Limits

#: A piece of a body of fewer bytes is a small one.
SMALL: Final = 1024
#: The clock of the connection on which the running task reads: Hypercorn hands its streams nothing of it.
CLOCK: ContextVar[ReadingClock] = ContextVar("clock")
#: Whether more has come on that connection than was read.
MORE: ContextVar[Callable[[], bool]] = ContextVar("more")


@dataclass(frozen=True)
class Refused(Closed):
    """The connection is over once its client has read why."""


class Over(Exception):
    """The connection has ended, and what waits for its turn on it waits in vain."""


class Turn:
    """When the next pipelined request may be read. Raises Over once there is no connection: Hypercorn 0.18 waits for ever then."""

    def __init__(self, event: TurnEvent) -> None:
        self._event = event
        self.over = False

    async def clear(self) -> None:
        """It has to wait."""
        await self._event.clear()

    async def wait(self) -> None:
        """Waits for it. Raises Over, at once where the connection had ended before."""
        if not self.over:
            await self._event.wait()
        if self.over:
            raise Over

    async def set(self) -> None:
        """It may be read."""
        await self._event.set()

    def is_set(self) -> bool:
        """Whether it may."""
        return self._event.is_set()


class Stream(HTTPStream):
    """One request: since when its body comes, when the last of it did, how much, in how many ``small`` pieces, and whether it is
    ``whole``."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.clock = CLOCK.get()
        self.began = self.moved = self.clock.time()
        self.received = self.small = 0
        self.whole = False

    async def handle(self, event: Event) -> None:
        """What comes from the client."""
        if isinstance(event, Body):
            self.received += len(event.data)
            self.small += len(event.data) < SMALL
            self.moved = self.clock.time()
        elif isinstance(event, EndBody):
            self.whole = True
        elif isinstance(event, StreamClosed) and not self.whole:
            self._let_go()
        await super().handle(event)

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """What the app answers; nothing, once the request was ended over its head."""
        if message is None or not self.closed:
            await super().app_send(message)
        else:
            await asyncio.sleep(0)  # an app that only sends would not let the loop turn, and cancel it

    def _let_go(self) -> None:
        """Lets go of what the app has not taken of a body whose end will never come. Hypercorn 0.18 keeps ten pieces for it, and
        where they are there waits until it takes one: with the connection's end, and with the app's own last word."""
        if self.app_put is not None:
            queue: asyncio.Queue[ASGIReceiveEvent] = getattr(self.app_put, "__self__")  # noqa: B009  typed as any callable
            while not queue.empty():
                queue.get_nowait()

    def end(self, limits: Limits) -> End:
        """When its body is late."""
        return of_body(limits, self.began, self.moved, self.received)
