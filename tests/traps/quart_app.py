"""A user's app for the traps: WebSockets that do not read, views that block, a look inside. For ``--app quart_app:extend``."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import threading
from pathlib import Path

import numpy as np
import quart
from quart import Quart, request, websocket

from service import service_of
from service.protocol.infer import Infer

#: How many blocked views have to be in work at once before any of them returns.
TOGETHER = 50


def extend(app: Quart) -> None:
    """The routes."""
    barrier = threading.Barrier(TOGETHER)
    waiting: dict[str, asyncio.Event] = {}

    @app.websocket("/deaf/<name>")
    async def deaf(name: str) -> None:
        """Reads nothing until told to; then all to the end, and says what it was."""
        await websocket.accept()
        waiting[name] = asyncio.Event()
        await waiting[name].wait()
        digest, size = hashlib.sha256(), 0
        while (message := await websocket.receive()) != b"end":
            data = message if isinstance(message, bytes) else message.encode()
            digest.update(data)
            size += len(data)
        await websocket.send_json([size, digest.hexdigest()])

    @app.post("/deaf/<name>")
    async def listen(name: str) -> dict[str, object]:
        """Tells it."""
        waiting.pop(name).set()
        return {}

    @app.post("/stall/<float:seconds>")
    async def stall(seconds: float) -> dict[str, object]:
        """How long a WebSocket that is opened from now on may be left unread."""
        app.config["WEBSOCKET_STALL_TIMEOUT"] = seconds
        return {}

    @app.websocket("/echo")
    async def echo() -> None:
        """Says what each message is."""
        while True:
            await websocket.send(repr(await websocket.receive()))

    @app.get("/blocked")
    def blocked() -> dict[str, object]:
        """Returns once enough of its kind are in work."""
        return {"at": barrier.wait()}

    @app.get("/threaded")
    async def threaded() -> dict[str, object]:
        """The same in a thread that the view starts itself."""
        return {"at": await asyncio.to_thread(barrier.wait)}

    @app.get("/waiting")
    async def parties() -> dict[str, object]:
        """How many are blocked."""
        return {"blocked": barrier.n_waiting}

    @app.post("/json")
    async def json() -> dict[str, object]:
        return {"got": await request.get_json(force=True)}

    @app.post("/ask/<gate>")
    async def ask(gate: str) -> dict[str, object]:
        """The model `gate` by way of the engine, as a team's own route asks it."""
        served = service_of().engine.served("gate")
        inputs = quart.json.loads(await request.get_data())["instances"]
        rows = {"x": np.array([row["x"] for row in inputs], float), "gate": np.array([gate.encode()] * len(inputs), object)}
        answer = await service_of().engine.submit(served, Infer(rows, len(inputs), served.signature.output_names))
        return {"predictions": [{"y": float(y), "rows": int(n)} for y, n in zip(*answer.outputs.values(), strict=True)]}

    @app.get("/inside")
    async def inside() -> dict[str, object]:
        """What the worker is like: its memory (bytes), its open files, what waits for the model `gate`, its collector."""
        return {
            "rss": _resident(),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "queued": service_of().engine.served("gate").batcher.queued_rows,
            "thresholds": gc.get_threshold(),
            "frozen": gc.get_freeze_count(),
        }

    @app.post("/garbage")
    async def garbage() -> dict[str, object]:
        """How many objects only the collector has freed since it was last asked; it is off from then on."""
        gc.disable()
        return {"cycles": gc.collect()}


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
