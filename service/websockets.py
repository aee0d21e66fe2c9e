"""WebSockets whose clients may send faster than a handler reads.

Quart queues messages without bound: whoever sends to a handler that does not read fills memory. Here what waits is bounded by its
size; past it nothing more is read off the connection, so that TCP makes the client wait. A handler that makes no room for long is
not going to, and word that its client has left would wait behind the messages: then the connection is closed with 1008.
"""

from __future__ import annotations

import asyncio
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
#: The close code of a connection whose messages nobody reads: "policy violation".
UNREAD = 1008


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

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """One connection."""
        self._client = send
        await super().__call__(receive, send)

    async def handle_messages(self, receive: ASGIReceiveCallable) -> None:
        """Queues what comes; its end, when the client has left or nobody reads, ends the handler."""
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
                    await self._give_up()
                    return
            elif event["type"] == "websocket.disconnect":
                return

    async def _give_up(self) -> None:
        log.warning("a WebSocket's handler at %s left messages unread for %g s: closed", self.scope["path"], self._stall_s)
        if self._client is not None and not self._closed:
            await self.close_connection(self._client, UNREAD, "messages were left unread")
