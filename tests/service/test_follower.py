"""What one worker is asked for, and what becomes of it in all; and whether they are ready."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.app import create_app
from service.config import Config
from service.processes.board import Phase
from service.store import Asked, ControlStore, Wanted
from service.store.follower import Follower
from tests.service.disorder import locked
from tests.service.workers import BROKEN, LOAD, TIMES, UNLOAD, Kitchen, Worker, answers, until


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


@pytest.fixture
async def pair(kitchen: Kitchen) -> AsyncIterator[tuple[Worker, Worker]]:
    async with kitchen.pair() as two:
        yield two


async def test_what_one_worker_is_asked_for_all_have_done_when_it_answers(kitchen: Kitchen, pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    assert await one.ask("POST", UNLOAD) == (200, {})
    assert await answers(one, other) == ["model_not_ready", "model_not_ready"]
    kitchen.put(2, TIMES.replace("FACTOR", "10"))
    assert await other.ask("POST", LOAD) == (200, {})
    assert await answers(one, other) == [30.0, 30.0]


async def test_an_override_holds_in_every_worker_until_the_next_load(pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    assert await one.ask("POST", LOAD, {"parameters": {"config": '{"batching": {"max_rows": 7}}'}}) == (200, {})
    for worker in pair:
        assert (await worker.ask("GET", "/v2/models/m/config"))[1]["max_batch_size"] == 7
    assert await other.ask("POST", LOAD) == (200, {})
    for worker in pair:
        assert (await worker.ask("GET", "/v2/models/m/config"))[1]["max_batch_size"] == 64


async def test_a_load_that_fails_everywhere_is_taken_back_and_the_old_serves_on(
    kitchen: Kitchen, pair: tuple[Worker, Worker]
) -> None:
    one, other = pair
    kitchen.put(2, BROKEN)
    status, body = await one.ask("POST", LOAD)
    assert (status, body["code"]) == (400, "load_failed")
    assert "the model is out of salt" in body["error"]
    assert await answers(one, other) == [3.0, 3.0]
    snapshot = ControlStore(kitchen.database.parent).look()
    assert snapshot is not None
    assert snapshot.wishes == ()
    await until(lambda: all(line.text == "" for line in kitchen.board))
    assert (await other.ask("GET", "/v2/models/m/ready"))[0] == 200


async def test_what_fails_at_once_changes_nothing_and_is_in_the_audit(kitchen: Kitchen, pair: tuple[Worker, Worker]) -> None:
    one, _ = pair
    assert (await one.ask("POST", "/v2/repository/models/n/load"))[1]["code"] == "unknown_model"
    assert (await one.ask("POST", "/v2/repository/models/n/unload"))[1]["code"] == "unknown_model"
    assert (await one.ask("POST", LOAD, {"parameters": {"config": "{"}}))[1]["code"] == "load_failed"
    assert (await one.ask("POST", LOAD, {"parameters": {"config": " " * 2**21}}))[1]["code"] == "load_failed"
    store = ControlStore(kitchen.database.parent)
    await until(lambda: len(store.audit()) == 4)
    told = sorted((entry.action, entry.target, entry.outcome) for entry in store.audit())
    assert told == [("load", "m", "failed"), ("load", "m", "failed"), ("load", "n", "failed"), ("unload", "n", "failed")]


async def test_who_could_not_follow_is_named_and_the_wish_stays(kitchen: Kitchen, tmp_path: Path) -> None:
    other_repository = tmp_path / "other"
    shutil.copytree(kitchen.repository, other_repository)
    async with kitchen.worker(0) as one, kitchen.worker(1, other_repository) as other:
        kitchen.put(2, TIMES.replace("FACTOR", "10"))
        kitchen.put(2, BROKEN, other_repository)
        status, body = await one.ask("POST", LOAD)
        assert (status, body["code"]) == (503, "not_followed")
        (detail,) = body["details"]
        assert detail["path"].startswith("worker 1 (pid ")
        assert "the model is out of salt" in detail["problem"]
        assert await answers(one, other) == [30.0, 3.0]
        await until(lambda: "+" in kitchen.board[1].text)
        for worker in (one, other):
            status, body = await worker.ask("GET", "/v2/models/m/ready")
            assert (status, [problem["worker"] for problem in body["problems"]]) == (503, [1])
            assert (await worker.ask("GET", "/v2/health/ready"))[0] == 200
        kitchen.put(2, TIMES.replace("FACTOR", "10"), other_repository)
        assert await other.ask("POST", LOAD) == (200, {})
        assert await answers(one, other) == [30.0, 30.0]
        assert (await one.ask("GET", "/v2/models/m/ready"))[0] == 200


async def test_a_worker_that_does_not_follow_in_time_is_named(kitchen: Kitchen) -> None:
    async with kitchen.worker(0) as one:
        stuck = kitchen.board[1]
        stuck.phase, stuck.pid = Phase.SERVING, 4711
        impatient = Follower(one.service.engine, one.service.place, 2, patience_s=0.1)
        await one.service.follower.close()
        impatient.open()
        await impatient.start()
        one.service.follower = impatient
        status, body = await one.ask("POST", UNLOAD)
        assert (status, body["code"]) == (503, "not_followed")
        assert body["details"] == [{"path": "worker 1 (pid 4711)", "problem": "it has not followed yet"}]
        assert await one.answer() == "model_not_ready"


async def test_changes_asked_of_several_workers_at_once_end_alike(kitchen: Kitchen, pair: tuple[Worker, Worker]) -> None:
    asked = [worker.ask("POST", path) for worker in pair for path in (UNLOAD, LOAD, LOAD, UNLOAD, LOAD)]
    assert [status for status, _ in await asyncio.gather(*asked)] == [200] * 10
    first, second = await answers(*pair)
    assert first == second
    snapshot = ControlStore(kitchen.database.parent).look()
    assert snapshot is not None
    assert first == (3.0 if snapshot.wishes[-1].wanted is Wanted.LOADED else "model_not_ready")


async def test_who_asks_and_leaves_has_its_change_brought_to_its_end(kitchen: Kitchen, pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    with locked(kitchen.database):
        asking = asyncio.create_task(one.service.follower.unload("m", Asked("anonymous", "r1")))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    await until(lambda: not one.service.engine.versions() and not other.service.engine.versions())


# -- without a store ---------------------------------------------------------------------------------------------------------


async def test_without_a_store_a_worker_that_is_alone_loads_and_unloads_by_itself(tmp_path: Path) -> None:
    kitchen = Kitchen(tmp_path, slots=1, stored=False)
    async with kitchen.worker(0) as one:
        assert await one.ask("POST", UNLOAD) == (200, {})
        assert await one.answer() == "model_not_ready"
        assert await one.ask("POST", LOAD) == (200, {})
        assert await one.answer() == 3.0


async def test_without_a_store_one_of_several_workers_refuses(tmp_path: Path) -> None:
    kitchen = Kitchen(tmp_path, stored=False)
    async with kitchen.worker(0) as one:  # the other has died, or has yet to start
        status, body = await one.ask("POST", UNLOAD)
        assert (status, body["code"]) == (503, "store_unavailable")
        assert "no state directory" in body["error"]
        assert await one.answer() == 3.0


# -- health ------------------------------------------------------------------------------------------------------------------


async def test_a_batcher_that_failed_turns_every_workers_readiness_red(kitchen: Kitchen, pair: tuple[Worker, Worker]) -> None:
    one, other = pair
    broken, one.service.engine.threads.calls = one.service.engine.threads.calls, ThreadPoolExecutor(1)
    broken.shutdown()  # a batcher whose pool takes no calls has a defect
    assert await one.answer() == "internal"
    await until(lambda: not kitchen.board[0].ready)
    for worker in pair:
        status, body = await worker.ask("GET", "/v2/health/ready")
        assert status == 503
        (problem,) = body["problems"]
        assert (problem["worker"], problem["problem"]) == (0, "the batcher of model 'm' version 1 failed and starts again")
    await until(lambda: kitchen.board[0].ready)
    assert (await other.ask("GET", "/v2/health/ready"))[0] == 200


async def test_a_worker_that_stops_is_not_ready_and_says_so(kitchen: Kitchen) -> None:
    async with kitchen.worker(0) as one, kitchen.worker(1) as other:
        one.service.engine.draining = True
        assert (await one.ask("GET", "/v2/health/ready"))[0] == 503
        status, body = await other.ask("GET", "/v2/health/ready")
        assert (status, body["problems"][0]["problem"]) == (503, "it is about to stop")
        one.service.engine.draining = False


async def test_an_app_that_is_alone_is_ready_once_it_has_loaded(kitchen: Kitchen) -> None:
    app = create_app(Config(repository=kitchen.repository, workers=2))
    async with app.test_app():
        worker = Worker(app)
        loading = worker.service.loading
        assert loading is not None
        status, body = await worker.ask("GET", "/v2/health/ready")
        assert (status, body["problems"][0]["problem"]) == (503, "its models are being loaded")
        await loading
        assert await worker.ask("GET", "/v2/health/ready") == (200, {"ready": True})
