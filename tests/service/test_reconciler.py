"""A worker follows the store: from its start, while the store is out of order, and once that is mended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.store import connection as connections
from service.store import prepare
from tests.service.disorder import damaged, gone, locked
from tests.service.workers import LOAD, UNLOAD, Kitchen, answers, until


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


async def test_a_worker_that_starts_has_what_is_wanted_before_it_serves(kitchen: Kitchen) -> None:
    async with kitchen.worker(0) as one:
        await one.ask("POST", LOAD, {"parameters": {"config": '{"batching": {"max_rows": 7}}'}})
        async with kitchen.worker(1) as other:
            assert (await other.ask("GET", "/v2/models/m/config"))[1]["max_batch_size"] == 7
        await one.ask("POST", UNLOAD)
        async with kitchen.worker(1) as other:
            assert await other.answer() == "model_not_ready"
            _, of_one = await one.ask("POST", "/v2/repository/index")
            assert (await other.ask("POST", "/v2/repository/index"))[1] == of_one
    async with kitchen.worker(0) as again:
        assert await again.answer() == "model_not_ready"


@pytest.mark.parametrize("cause", [locked, damaged, gone])
async def test_while_the_store_is_out_of_order_models_serve_and_a_change_is_refused(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch, cause: Callable[[Path], Any]
) -> None:
    monkeypatch.setattr(connections, "BUSY_S", 0.1)
    async with kitchen.pair() as (one, other):
        with cause(kitchen.database):
            status, body = await one.ask("POST", UNLOAD)
            assert (status, body["code"]) == (503, "store_unavailable")
            assert str(kitchen.repository.parent) not in body["error"]
            assert await answers(one, other) == [3.0, 3.0]
            assert (await one.ask("GET", "/v2/health/ready"))[0] == 200
        assert await one.ask("POST", UNLOAD) == (200, {})
        assert await answers(one, other) == ["model_not_ready", "model_not_ready"]


async def test_that_the_store_is_out_of_order_is_logged_once_and_its_recovery_too(
    kitchen: Kitchen, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tureen.follower")

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "tureen.follower"]

    async with kitchen.worker(0):
        with gone(kitchen.database):
            await until(lambda: len(told()) == 1)
            looked = time.monotonic()
            await until(lambda: time.monotonic() > looked + 1.2)  # it has been looked at again, twice
        await until(lambda: len(told()) == 2)
    assert told()[0].startswith("the control store cannot be used")
    assert told()[1] == "the control store can be used again"


async def test_a_worker_that_starts_while_the_store_is_damaged_serves_and_follows_once_it_is_whole(kitchen: Kitchen) -> None:
    async with kitchen.worker(0) as one:
        await one.ask("POST", UNLOAD)
    with damaged(kitchen.database):
        async with kitchen.worker(0) as again:
            assert await again.answer() == 3.0
            assert (await again.ask("POST", LOAD))[1]["code"] == "store_unavailable"
    async with kitchen.worker(0) as once_more:
        assert await once_more.answer() == "model_not_ready"


async def test_a_database_that_is_made_anew_wants_what_the_repository_has(kitchen: Kitchen, tmp_path: Path) -> None:
    async with kitchen.worker(0) as one:
        await one.ask("POST", UNLOAD)
        (tmp_path / "new").mkdir()
        prepare(tmp_path / "new")
        for name in ("control.db", "control.db-wal", "control.db-shm"):
            kitchen.database.with_name(name).unlink(missing_ok=True)
        (tmp_path / "new" / "control.db").rename(kitchen.database)
        await until(lambda: bool(one.service.engine.versions()))
        assert await one.ask("POST", UNLOAD) == (200, {})
        assert await one.answer() == "model_not_ready"
