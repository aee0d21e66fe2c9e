"""Workers in one process, each with its own engine, on one board and one store."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from quart import Quart

from service.app import create_app
from service.config import Config
from service.context import service_of
from service.processes.board import Board, Phase
from service.processes.place import Place

TIMES = """
from models import PythonModel, TensorSpec
class Times(PythonModel):
    inputs = [TensorSpec("x", "FP64", [-1])]
    outputs = [TensorSpec("y", "FP64", [-1])]
    def infer(self, inputs): return {"y": inputs["x"] * FACTOR}
"""
BROKEN = "raise ValueError('the model is out of salt')"
PATIENCE_S = 10.0
LOAD, UNLOAD = "/v2/repository/models/m/load", "/v2/repository/models/m/unload"


class Kitchen:
    """A repository with the model `m`, a state directory, a board, and the workers that stand on it."""

    def __init__(self, root: Path, slots: int = 2, *, stored: bool = True) -> None:
        self.repository, self.slots = root / "repository", slots
        self.state = root / "state" if stored else None
        (root / "state").mkdir()
        self.board = Board.create(slots + 1)
        self.put(1, TIMES.replace("FACTOR", "1"))

    def put(self, version: int, text: str, repository: Path | None = None) -> None:
        path = (repository or self.repository) / "m" / str(version) / "model.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    @property
    def database(self) -> Path:
        assert self.state is not None
        return self.state / "control.db"

    @asynccontextmanager
    async def worker(self, slot: int, repository: Path | None = None) -> AsyncIterator[Worker]:
        """One more worker, once it serves."""
        app = create_app(Config(repository=repository or self.repository, workers=self.slots), Place(slot, self.board, self.state))
        async with app.test_app():
            loading = service_of(app).loading
            assert loading is not None
            await loading
            yield Worker(app)
        self.board[slot].phase = Phase.GONE

    @asynccontextmanager
    async def pair(self) -> AsyncIterator[tuple[Worker, Worker]]:
        """Two that serve."""
        async with self.worker(0) as one, self.worker(1) as other:
            yield one, other


class Worker:
    """One of them, asked as by HTTP."""

    def __init__(self, app: Quart) -> None:
        self.app = app
        self.service = service_of(app)

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        data = b"" if body is None else json.dumps(body)
        client = self.app.test_client()
        response = await (client.get(path) if method == "GET" else client.post(path, data=data))
        return response.status_code, await response.get_json()

    async def answer(self) -> object:
        status, body = await self.ask("POST", "/v1/models/m:predict", {"instances": [3]})
        return body["predictions"][0] if status == 200 else body["code"]


async def until(condition: Callable[[], bool]) -> None:
    last = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < last
        await asyncio.sleep(0.005)


async def answers(*workers: Worker) -> list[object]:
    return [await worker.answer() for worker in workers]
