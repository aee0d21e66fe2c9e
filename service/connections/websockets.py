"""WebSockets whose clients may send faster than a handler reads.

Quart queues messages without bound: whoever sends to a handler that does not read fills memory. Here what waits is bounded by its
size; past it nothing more is read off the connection, so that TCP makes the client wait. A handler that makes no room for long is
not going to, and word that its client has left would wait behind the messages: then the connection is closed with 1008. When the
server stops, those that are open are closed with 1001.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, WebsocketScope
from quart import Quart
from quart.asgi import ASGIWebsocketConnection
from quart.signals import websocket_received

log = logging.getLogger("tureen.websockets")

Message = str | bytes

#: Keys of ``app.config``: how much may wait for a handler (bytes in memory, and one message more), and how long for room (seconds).
QUEUE_BYTES, STALL_TIMEOUT = "WEBSOCKET_QUEUE_BYTES", "WEBSOCKET_STALL_TIMEOUT"
DEFAULTS = {QUEUE_BYTES: 1024 * 1024, STALL_TIMEOUT: 60}
#: The longest message (bytes); Hypercorn's is a setting of its own.
MESSAGE_BYTES = 1024 * 1024
#: Close codes: nobody reads what the client sends ("policy violation"), the server stops ("going away").
UNREAD, AWAY = 1008, 1001
#: How long a client may take to hear that its connection is over (seconds).
GOODBYE_S = 5.0

_EXTENSION = "tureen.websockets"


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
        self._dismissed = False

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """One connection."""
        self._client = send
        unended = _open(self.app)
        unended.add(self)
        try:
            await super().__call__(receive, send)
        finally:
            unended.discard(self)
        if self._closed:  # a server that cannot get rid of what came before does not read the client's goodbye
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    while (await receive())["type"] != "websocket.disconnect":
                        pass

    def dismiss(self) -> None:
        """The server stops: tells the client so, and ends the handler."""
        self._dismissed = True
        if self._listener is not None:
            self._listener.cancel()

    async def handle_messages(self, receive: ASGIReceiveCallable) -> None:
        """Queues what comes; its end, when the client has left, nobody reads or the server stops, ends the handler."""
        self._listener = asyncio.current_task()
        try:
            await self._queue_messages(receive)
        except asyncio.CancelledError:
            if not self._dismissed:
                raise
            await self._end(AWAY, "the server stops")

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
    for one in list(_open(app)):
        one.dismiss()


def _open(app: Quart) -> set[BoundedWebsocket]:
    found: set[BoundedWebsocket] = app.extensions.setdefault(_EXTENSION, set())
    return found
