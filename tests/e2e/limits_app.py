"""A user's app whose routes read all that they are sent. For ``--app limits_app:extend``."""

from __future__ import annotations

from quart import Quart, request, websocket


def extend(app: Quart) -> None:
    """The routes."""

    @app.websocket("/echo")
    async def echo() -> None:
        """Says what each message is."""
        while True:
            await websocket.send(repr(await websocket.receive()))

    @app.post("/json")
    async def read_json() -> dict[str, object]:
        """Says what kind of JSON came."""
        return {"kind": type(await request.get_json()).__name__}

    @app.post("/form")
    async def read_form() -> dict[str, object]:
        """Says how many fields came."""
        return {"fields": len(await request.form)}
