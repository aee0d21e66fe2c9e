"""Bodies that views read while they arrive.

Quart keeps what comes until it is read, without a bound but the whole body's, so one that is larger than memory cannot be taken.
On these paths what waits is bounded: past it nothing more is read off the connection, and TCP makes the client wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final, cast

from hypercorn.typing import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable
from quart import Quart
from quart.asgi import ASGIHTTPConnection
from quart.wrappers import Request
from quart.wrappers.request import Body

#: What may wait for the view that reads (bytes), and one piece more.
WAITING: Final = 256 * 1024


class Streamed(Body):
    """A body without a limit of its own: its reader counts."""

    def __init__(self) -> None:
        super().__init__(None, None)
        self._room = asyncio.Event()
        self._room.set()

    async def __anext__(self) -> bytes:
        """All that waits."""
        data = await super().__anext__()
        self._room.set()
        return data

    def append(self, data: bytes) -> None:
        """More has come."""
        super().append(data)
        if len(self._data) >= WAITING:
            self._room.clear()

    async def room(self) -> None:
        """Returns once more may come."""
        await self._room.wait()


def stream_bodies(app: Quart, routes: Collection[tuple[str, str]]) -> None:
    """Makes the bodies of requests with such a method and path ``Streamed`` ones."""

    class Connection(ASGIHTTPConnection):
        def _create_request_from_scope(self, send: ASGISendCallable) -> Request:
            made = super()._create_request_from_scope(send)
            if (made.method, made.path) in routes:
                made.body = Streamed()
            return made

        async def handle_messages(self, request: Request, receive: ASGIReceiveCallable) -> None:
            """Passes on what comes."""
            body = request.body
            if not isinstance(body, Streamed):
                await super().handle_messages(request, receive)
                return

            async def receive_with_room() -> ASGIReceiveEvent:
                await body.room()
                return await receive()

            await super().handle_messages(request, cast(ASGIReceiveCallable, receive_with_room))

    app.asgi_http_class = Connection
