"""Requests that a reload overtakes: they took a version, and are submitted once another stands in its place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from models import NotReady
from models.registry import Registry
from models.repository import Repository
from service.cache.flight import Given
from service.cache.shelf import open_shelf
from service.engine import Engine
from service.protocol.infer import Infer
from service.sections import Cache

MODEL = """
import pathlib, time
from models import PythonModel, TensorSpec

class Scaled(PythonModel):
    inputs = (TensorSpec("x", "FP32", [-1, {columns}]),)
    outputs = (TensorSpec("y", "FP32", [-1]),)

    def load(self, directory, models):
        self.go = pathlib.Path(directory) / "go"

    def infer(self, inputs):
        if (inputs["x"] == 99).any():
            last = time.monotonic() + 30
            while not self.go.exists() and time.monotonic() < last:
                time.sleep(0.002)
        return {{"y": {factor} * inputs["x"].sum(axis=1)}}
"""


class Served:
    """A model that is written anew and loaded again; its answers are kept."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "scaled"
        (self.directory / "1").mkdir(parents=True)
        (self.directory / "model.toml").write_text('[cache]\nttl_s = 600\n[batching]\nwindow_ms = 20\nclose = "full"\n')
        self.engine = Engine(Registry(Repository(directory)), lambda: open_shelf(Cache(), None))

    def write(self, columns: int, factor: int) -> None:
        new = self.directory / "1" / "new"
        new.write_text(MODEL.format(columns=columns, factor=factor))
        new.rename(self.directory / "1" / "model.py")

    @property
    def kept(self) -> int:
        assert self.engine.shelf is not None
        return self.engine.shelf.standing.values

    def let_go(self) -> None:
        (self.directory / "1" / "go").touch()

    async def retired(self) -> None:
        await asyncio.gather(*self.engine._closing)


@asynccontextmanager
async def started(directory: Path) -> AsyncIterator[Served]:
    served = Served(directory)
    served.write(columns=2, factor=1)
    await served.engine.start()
    try:
        yield served
    finally:
        served.let_go()
        await served.engine.close()


def row(columns: int, value: float = 1.0) -> Infer:
    return Infer({"x": np.full((1, columns), value, np.float32)}, 1, ("y",))


async def test_who_comes_late_is_answered_by_what_is_loaded_now_and_that_is_not_kept_as_the_others(tmp_path: Path) -> None:
    async with started(tmp_path) as served:
        before = served.engine.served("scaled")
        served.write(columns=2, factor=100)
        await served.engine.load("scaled")
        await served.retired()
        late = await served.engine.submit(before, row(2))
        assert late.outputs["y"].tolist() == [200.0]
        assert served.kept == 0


async def test_nor_is_it_kept_while_the_old_ones_last_call_is_waited_for(tmp_path: Path) -> None:
    async with started(tmp_path) as served:
        before = served.engine.served("scaled")
        last = served.engine.submit(before, row(2, 99.0))
        served.write(columns=2, factor=100)
        await served.engine.load("scaled")
        await served.engine.submit(before, row(2))
        again = await served.engine.submit(before, row(2))
        assert not isinstance(again, Given)
        assert served.kept == 0
        served.let_go()
        assert (await last).outputs["y"].tolist() == [198.0]
        await served.retired()
        assert served.kept == 0


async def test_who_comes_late_with_tensors_that_are_not_taken_any_more_is_sent_back_and_spoils_nobodys_batch(
    tmp_path: Path,
) -> None:
    async with started(tmp_path) as served:
        before = served.engine.served("scaled")
        served.write(columns=3, factor=1)
        await served.engine.load("scaled")
        await served.retired()
        now = served.engine.served("scaled")
        others = [served.engine.submit(now, row(3, value)) for value in (1.0, 2.0)]
        with pytest.raises(NotReady, match="version 1 of model 'scaled' was loaded again"):
            await served.engine.submit(before, row(2))
        assert [answer.outputs["y"].tolist() for answer in await asyncio.gather(*others)] == [[3.0], [6.0]]
