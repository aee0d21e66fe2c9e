"""A user's app whose routes read all that they are sent. For ``--app limits_app:extend``."""

from __future__ import annotations

from quart import Quart, request, websocket


def extend(app: Quart) -> None:
    """The routes."""
    talks: set[object] = set()

    @app.websocket("/echo")
    async def echo() -> None:
        """Says what each message is."""
        talk = object()
        talks.add(talk)
        try:
            while True:
                await websocket.send(repr(await websocket.receive()))
        finally:
            talks.discard(talk)

    @app.get("/talks")
    async def count_talks() -> dict[str, object]:
        """Says how many have not ended."""
        return {"open": len(talks)}

    @app.post("/json")
    async def read_json() -> dict[str, object]:
        """Says what kind of JSON came."""
        return {"kind": type(await request.get_json()).__name__}

    @app.post("/form")
    async def read_form() -> dict[str, object]:
        """Says how many fields came."""
        return {"fields": len(await request.form)}
