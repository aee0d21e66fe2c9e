"""A user's app for what browsers do: WebSockets, a mounted app's too, and a route with origins of its own."""

from __future__ import annotations

import quart_cors
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, WebsocketScope
from quart import Quart, websocket

from service import mount


def extend(app: Quart) -> None:
    """The routes; for ``--app cors_app:extend``."""
    mount(app, "/old", old)

    @app.websocket("/echo")
    async def echo() -> None:
        """Says what each message is."""
        while True:
            await websocket.send(repr(await websocket.receive()))

    @app.get("/partner")
    @quart_cors.route_cors(allow_origin="https://partner.example", allow_headers=["X-Partner"])
    async def partner() -> dict[str, object]:
        """For the pages of a partner."""
        return {}


async def old(scope: WebsocketScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Accepts whoever comes."""
    await receive()
    await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
    await send({"type": "websocket.close", "code": 1000, "reason": None})
