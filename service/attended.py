"""WebSockets of apps that are not ours, ended when their callers may not have them any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from hypercorn.typing import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, ASGISendEvent, WebsocketScope

from service.guard.stay import EXPELLED, LOOK_S, Stay

#: How long the app has to see that it is over (seconds).
GOODBYE_S: Final = 5.0

App = Callable[[WebsocketScope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]


async def attended(app: App, scope: WebsocketScope, receive: ASGIReceiveCallable, send: ASGISendCallable, stay: Stay) -> None:
    """Runs the app for one WebSocket. When ``stay`` ends, the client is told so, and to the app it is as if the client had left."""
    over = asyncio.Event()
    open_ = True

    async def receiving() -> ASGIReceiveEvent:
        coming, ending = asyncio.ensure_future(receive()), asyncio.ensure_future(over.wait())
        try:
            await asyncio.wait((coming, ending), return_when=asyncio.FIRST_COMPLETED)
            return {"type": "websocket.disconnect", "code": EXPELLED[0]} if over.is_set() else await coming
        finally:
            coming.cancel()
            ending.cancel()

    async def sending(event: ASGISendEvent) -> None:
        nonlocal open_
        if open_:
            open_ = event["type"] not in ("websocket.close", "websocket.http.response.start")
            await send(event)
        elif not over.is_set():
            await send(event)

    running = asyncio.ensure_future(app(scope, receiving, sending))
    try:
        while not (await asyncio.wait((running,), timeout=LOOK_S))[0]:
            if open_ and not stay.holds():
                open_ = False
                over.set()
                await send({"type": "websocket.close", "code": EXPELLED[0], "reason": EXPELLED[1]})
                await asyncio.wait((running,), timeout=GOODBYE_S)
                break
    finally:
        running.cancel()  # if it has not ended
    try:
        await running
    except asyncio.CancelledError:
        if not over.is_set():
            raise
