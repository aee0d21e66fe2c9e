"""A small engine whose model `double` doubles `x`, raises below 0, and waits at 99 until `go` lies beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from models.registry import Registry
from models.repository import Repository
from service.engine import Engine

MODEL = """
import pathlib, time
import numpy as np
from models import PythonModel, TensorSpec

class Double(PythonModel):
    inputs = (TensorSpec("x", "FP64", [-1]),)
    outputs = (TensorSpec("y", "FP64", [-1]),)

    def load(self, directory, models):
        self.go = pathlib.Path(directory) / "go"

    def infer(self, inputs):
        if (inputs["x"] == 99).any():
            last = time.monotonic() + 30
            while not self.go.exists() and time.monotonic() < last:
                time.sleep(0.002)
        if (inputs["x"] < 0).any():
            raise ValueError("below 0")
        return {"y": 2 * inputs["x"]}
"""


def repository(directory: Path) -> Path:
    """Makes the repository there."""
    version = directory / "double" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(MODEL)
    (directory / "double" / "model.toml").write_text("[batching]\nqueue_rows = 8\nmax_rows = 4\n")
    return directory


@asynccontextmanager
async def started(directory: Path) -> AsyncIterator[Engine]:
    """An engine that serves what ``repository`` made."""
    engine = Engine(Registry(Repository(directory)))
    await engine.start()
    try:
        yield engine
    finally:
        (directory / "double" / "1" / "go").touch()
        await engine.close()
