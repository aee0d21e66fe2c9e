"""A user's app for clients that take their time: bodies that are read, answers that are long. For ``--app slow_app:extend``."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import quart
from quart import Quart, request, websocket


def extend(app: Quart) -> None:
    """The routes."""

    @app.post("/length")
    async def length() -> dict[str, object]:
        """How long the body is; read after so many seconds."""
        await asyncio.sleep(request.args.get("after", 0.0, float))
        return {"length": len(await request.get_data(cache=False))}

    @app.post("/at-once")
    async def at_once() -> tuple[dict[str, object], int]:
        """Answers without the body."""
        return {}, 200

    @app.get("/long/<int:mebibytes>")
    async def long(mebibytes: int) -> quart.Response:
        """An answer of that size."""
        return quart.Response(bytes(mebibytes * 1024 * 1024))

    @app.get("/rss")
    async def rss() -> dict[str, object]:
        """What the worker holds of memory, descriptors and tasks."""
        return {
            "rss": _resident(),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "tasks": len(asyncio.all_tasks()),
        }

    @app.websocket("/talk")
    async def talk() -> None:
        """Sends for ever."""
        while True:
            await websocket.send(bytes(64 * 1024))

    @app.websocket("/listen")
    async def listen() -> None:
        """Reads for ever, and says nothing."""
        while True:
            await websocket.receive()

    @app.websocket("/deaf")
    async def deaf() -> None:
        """Reads nothing."""
        await websocket.accept()
        await asyncio.Event().wait()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
