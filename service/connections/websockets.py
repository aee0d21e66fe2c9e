"""WebSockets whose clients may send faster than a handler reads.

Quart queues messages without bound: whoever sends to a handler that does not read fills memory. Here what waits is bounded by its
size; past it nothing more is read off the connection, so that TCP makes the client wait. A handler that makes no room for long is
not going to, and word that its client has left would wait behind the messages: then the connection is closed with 1008, and so is
one whose caller's credential ends. When the server stops, those that are open are closed with 1001.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Mapping
from typing import cast

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, WebsocketScope
from quart import Quart
from quart.asgi import ASGIWebsocketConnection
from quart.signals import websocket_received

from service.context import service_of
from service.guard.stay import EXPELLED, LOOK_S, STAY, Stay
from service.sections import Limits

log = logging.getLogger("tureen.websockets")

Message = str | bytes

#: Keys of ``app.config``: how much may wait for a handler (bytes in memory, and one message more), and how long for room (seconds).
QUEUE_BYTES, STALL_TIMEOUT = "WEBSOCKET_QUEUE_BYTES", "WEBSOCKET_STALL_TIMEOUT"
#: Close codes: nobody reads what the client sends ("policy violation"), the server stops ("going away").
UNREAD, AWAY = 1008, 1001
#: How long a client may take to hear that its connection is over (seconds).
GOODBYE_S = 5.0

_EXTENSION = "tureen.websockets"


def defaults(limits: Limits) -> dict[str, float]:
    """What is in ``app.config`` unless a user changes it."""
    return {QUEUE_BYTES: limits.websocket_queue_bytes, STALL_TIMEOUT: limits.websocket_stall_s}


class Inbox(asyncio.Queue[Message]):
    """Messages that wait for a handler, full from ``limit`` bytes of memory on."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.nbytes = 0
        self._limit = limit

    def full(self) -> bool:
        """Whether one message more has to wait."""
        return self.nbytes >= self._limit

    def _put(self, item: Message) -> None:
        self.nbytes += sys.getsizeof(item)
        super()._put(item)

    def _get(self) -> Message:
        item = super()._get()
        self.nbytes -= sys.getsizeof(item)
        return item


class BoundedWebsocket(ASGIWebsocketConnection):
    """Quart's WebSocket connection with a bounded queue; an empty binary message arrives as such."""

    def __init__(self, app: Quart, scope: WebsocketScope) -> None:
        super().__init__(app, scope)
        self.queue = Inbox(app.config[QUEUE_BYTES])
        self._stall_s: float = app.config[STALL_TIMEOUT]
        self._client: ASGISendCallable | None = None
        self._listener: asyncio.Task[None] | None = None
        self._dismissed: tuple[int, str] | None = None

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """One connection."""
        self._client = send
        attendance = _attendance(self.app)
        attendance.enter(self)
        try:
            await super().__call__(receive, send)
        finally:
            attendance.open.discard(self)
            self._listener = self._client = None
        if self._closed:  # a server that cannot get rid of what came before does not read the client's goodbye
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    while (await receive())["type"] != "websocket.disconnect":
                        pass

    @property
    def overstays(self) -> bool:
        """Whether its caller may not have it any more."""
        stay = cast(Mapping[str, object], self.scope).get(STAY)
        return isinstance(stay, Stay) and not stay.holds()

    def dismiss(self, code: int, reason: str) -> None:
        """Tells the client that it is over, and ends the handler."""
        self._dismissed = code, reason
        if self._listener is not None:
            self._listener.cancel()

    async def handle_messages(self, receive: ASGIReceiveCallable) -> None:
        """Queues what comes; its end, when the client has left, nobody reads or the server stops, ends the handler."""
        self._listener = asyncio.current_task()
        try:
            await self._queue_messages(receive)
        except asyncio.CancelledError:
            if self._dismissed is None:
                raise
            await self._end(*self._dismissed)

    async def _queue_messages(self, receive: ASGIReceiveCallable) -> None:
        while True:
            event = await receive()
            if event["type"] == "websocket.receive":
                data, text = event.get("bytes"), event.get("text")
                message = data if data is not None else text
                if message is None:
                    continue
                await websocket_received.send_async(message)
                try:
                    async with asyncio.timeout(self._stall_s):
                        await self.queue.put(message)
                except TimeoutError:
                    service_of(self.app).inference.limited.count("websocket_stall_s")
                    log.warning("the handler of %s left messages unread for %g s: closed", self.scope["path"], self._stall_s)
                    await self._end(UNREAD, "messages were left unread")
                    return
            elif event["type"] == "websocket.disconnect":
                return

    async def _end(self, code: int, reason: str) -> None:
        if self._client is not None and not self._closed:
            await self.close_connection(self._client, code, reason)


def dismiss(app: Quart) -> None:
    """Closes every open WebSocket of the app with 1001."""
    for one in list(_attendance(app).open):
        one.dismiss(AWAY, "the server stops")


class _Attendance:
    """An app's open WebSockets. One timer looks after all, as long as there are any."""

    def __init__(self) -> None:
        self.open: set[BoundedWebsocket] = set()
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, one: BoundedWebsocket) -> None:
        self.open.add(one)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        for one in list(self.open):
            if one.overstays:
                one.dismiss(*EXPELLED)
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look) if self.open else None


def _attendance(app: Quart) -> _Attendance:
    found: _Attendance = app.extensions.setdefault(_EXTENSION, _Attendance())
    return found
