"""Changes of what is served that fail, and leave everything as it was."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from models.registry import Registry
from models.repository import Repository
from service.cache.shelf import Shelf
from service.engine import Engine
from tests.service.measured import repository

ROWS = {"batching": {"queue_rows": 16}}
KEPT = {"cache": {"ttl_s": 5.0}}


async def test_a_change_that_fails_takes_back_none_that_was_made_meanwhile(tmp_path: Path) -> None:
    begun, let_go = threading.Event(), threading.Event()

    def open_shelf() -> Shelf:
        begun.set()
        assert let_go.wait(30)
        raise OSError("there is no room for answers")

    engine = Engine(Registry(Repository(repository(tmp_path))), open_shelf)
    await engine.start()
    try:
        fails = asyncio.create_task(engine.configure("double", KEPT))
        await asyncio.to_thread(begun.wait)
        holds = asyncio.create_task(engine.configure("double", ROWS))
        await asyncio.sleep(0)
        let_go.set()
        with pytest.raises(OSError, match="no room"):
            await fails
        await holds
        assert engine.settings.changed == {"double": ROWS}
        assert engine.served("double").batcher.policy.queue_rows == 16
    finally:
        await engine.close()
