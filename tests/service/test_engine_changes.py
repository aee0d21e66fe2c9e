"""Changes of what is served that fail, and leave everything as it was."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from batching import Policy
from models.manifest import Manifest
from models.registry import Registry
from models.repository import Repository
from service.cache.shelf import Shelf
from service.engine import Engine
from service.settings import policy_of
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


async def test_a_change_of_which_one_version_fails_leaves_no_lease_on_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = repository(tmp_path) / "double" / "1"
    second = first.with_name("2")
    second.mkdir()
    (second / "model.py").write_text((first / "model.py").read_text())
    manifest = tmp_path / "double" / "model.toml"
    manifest.write_text('[versions]\npolicy = "all"\n')
    engine = Engine(Registry(Repository(tmp_path)))
    await engine.start()
    try:
        before = engine.versions()
        assert [served.version for served in before] == ["1", "2"]
        made: list[Manifest] = []

        def fail_at_the_second(settings: Manifest) -> Policy:
            made.append(settings)
            if len(made) == 4:  # a version's policy is asked for twice
                raise MemoryError("there is no room for a slab")
            return policy_of(settings)

        monkeypatch.setattr("service.engine.policy_of", fail_at_the_second)
        manifest.write_text('[versions]\npolicy = "all"\n[batching]\nqueue_rows = 16\n')
        with pytest.raises(MemoryError):
            await engine.load("double")
        await asyncio.gather(*engine._closing)
        assert engine.versions() == before
        assert [served.loaded.hold._leases for served in before] == [1, 1]
    finally:
        await engine.close()
