"""What the server is extended with for these tests: WebSockets to flood, and a count of each worker's tasks.

tureen serve … --app loadtests.hostile.inside:extend
"""

from __future__ import annotations

import asyncio
import gc
import os

from quart import Quart, websocket


def extend(app: Quart) -> None:
    """Adds the routes."""

    @app.get("/inside")
    async def inside() -> dict[str, int]:
        gc.collect()
        return {"pid": os.getpid(), "tasks": len(asyncio.all_tasks())}

    @app.websocket("/deaf")
    async def deaf() -> None:
        await websocket.accept()
        await asyncio.sleep(3600)

    @app.websocket("/echo")
    async def echo() -> None:
        while True:
            await websocket.send(await websocket.receive())
