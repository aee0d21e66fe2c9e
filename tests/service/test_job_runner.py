"""Jobs as a worker runs them, with the engine and the ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.registry import Registry
from models.repository import Repository
from models.tensor import Array
from service.config import Config
from service.engine import Engine
from service.guard.budgets.budgets import open_budgets
from service.guard.credentials.key import Key, digest, mint
from service.guard.credentials.keyring import Keyring
from service.guard.gate import Gate
from service.guard.principal import Principal, Scope
from service.jobs.desk import Desk
from service.jobs.ledger import Ledger
from service.jobs.ledger_schema import FILE
from service.jobs.record import Job, State
from service.processes.board import Board
from service.processes.place import Place
from service.protocol import tfserving
from service.protocol.infer import Encoded, Infer
from service.sections import Auth, Jobs, Limits
from tests.service.disorder import locked

MODEL = """
import pathlib, time
import numpy as np
from models import PythonModel, TensorSpec

class Double(PythonModel):
    inputs = (TensorSpec("x", "FP64", [-1]),)
    outputs = (TensorSpec("y", "FP64", [-1]),)

    def load(self, directory, models):
        self.held = pathlib.Path(directory) / "held"

    def infer(self, inputs):
        while self.held.exists():
            time.sleep(0.002)
        if (inputs["x"] == -1).any():
            raise ValueError("it is -1")
        return {"y": np.where(inputs["x"] == 7, np.nan, 2 * inputs["x"])}
"""
UNLIMITED = Limits()
ANYBODY = Principal("address:127.0.0.1", frozenset(Scope))


class Bench:
    """A repository with the model `double`, and workers that share a state directory."""

    def __init__(self, root: Path) -> None:
        self.repository, self.state = root / "repository", root / "state"
        self.state.mkdir()
        self.version = self.repository / "double" / "1"
        self.version.mkdir(parents=True)
        (self.version / "model.py").write_text(MODEL)
        (self.repository / "double" / "model.toml").write_text("[batching]\nqueue_rows = 8\nmax_rows = 4\n")
        self.keyring = Keyring()

    @property
    def held(self) -> Path:
        """While it is there, no call of the model ends."""
        return self.version / "held"

    @asynccontextmanager
    async def worker(self, limits: Limits = UNLIMITED, *, asks: bool = False) -> AsyncIterator[Worker]:
        """One more worker, that runs jobs once its models are there."""
        config = Config(repository=self.repository, limits=limits, jobs=Jobs(chunk_rows=16, max_age_s=1000.0))
        place = Place(0, Board.create(1), self.state)
        engine = Engine(Registry(Repository(self.repository)))
        budgets = open_budgets(config, place, engine.limits)
        gate = Gate(Auth(api_keys=asks), config.limits, self.keyring, None, budgets)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(engine.close)
            desk = Desk(config, place, engine, gate)
            await desk.start()
            stack.push_async_callback(desk.close)
            await engine.start()
            yield Worker(engine, desk)
            self.held.unlink(missing_ok=True)


class Worker:
    """An engine and the desk beside it."""

    def __init__(self, engine: Engine, desk: Desk) -> None:
        self.engine, self.desk = engine, desk

    async def post(self, rows: list[Any], owner: Principal = ANYBODY, model: str = "double", version: str | None = None) -> Job:
        """A job of those rows, which waits to be run."""
        ledger = self.desk.ledger
        job, _ = await self.desk.ask(ledger.create, owner, model, version)
        await self.desk.ask(ledger.append, job.id, [json.dumps(row).encode() for row in rows])
        await self.desk.ask(ledger.seal, job.id)
        self.desk.wake()
        return job

    async def until(self, job: Job, reached: Callable[[Job], bool]) -> Job:
        """The job, once it has come to that."""
        async with asyncio.timeout(20):
            while not reached(now := await self.desk.ask(self.desk.ledger.get, job.id)):  # noqa: ASYNC110 - a database wakes nobody
                await asyncio.sleep(0.005)
            return now

    async def over(self, job: Job) -> Job:
        """The job, once it is over."""
        return await self.until(job, lambda now: now.state.final)

    async def results(self, job: Job) -> list[dict[str, Any]]:
        """The results that it has."""
        found: list[bytes] = []
        while more := await self.desk.ask(self.desk.ledger.results, job.id, len(found), 1000):
            found += more
        return [json.loads(line) for line in found]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def rows(count: int, start: int = 100) -> list[dict[str, float]]:
    return [{"x": float(number)} for number in range(start, start + count)]


def answers(count: int, start: int = 100) -> list[dict[str, Any]]:
    return [{"row": row, "prediction": 2.0 * (start + row)} for row in range(count)]


async def test_a_job_gets_one_result_a_row_in_order(bench: Bench) -> None:
    async with bench.worker() as worker:
        job = await worker.post(rows(100))
        over = await worker.over(job)
        assert (over.state, over.done, over.failed, over.error) == (State.SUCCEEDED, 100, 0, None)
        assert await worker.results(job) == answers(100)
        read = {(family.exposed, *labels): value for (family, labels), value in worker.desk.readings().items()}
        assert (read["tureen_job_rows_total", "prediction"], read["tureen_job_rows_total", "error"]) == (100, 0)


async def test_a_bad_row_harms_no_other(bench: Bench) -> None:
    asked: list[Any] = [*rows(20)]
    asked[3], asked[9], asked[10], asked[17] = {"x": "a"}, {"x": -1}, {"z": 1}, {"x": 7}
    async with bench.worker() as worker:
        job = await worker.post(asked)
        over = await worker.over(job)
        assert (over.state, over.done, over.failed) == (State.SUCCEEDED, 20, 4)
        found = await worker.results(job)
        assert [line["row"] for line in found] == list(range(20))
        assert {line["row"]: line["code"] for line in found if "code" in line} == {
            3: "invalid_input",
            9: "model_failed",
            10: "invalid_input",
            17: "not_finite",
        }
        assert [line for line in found if "prediction" in line] == [a for a in answers(20) if a["row"] not in (3, 9, 10, 17)]


async def test_of_rows_whose_results_cannot_be_written_the_log_tells_once_why(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    encode = tfserving.encode

    def broken(infer: Infer, outputs: Mapping[str, Array], model: str, version: str) -> Encoded:
        if (outputs["y"] > 2 * 105).any():
            raise RuntimeError("of our own making")
        return encode(infer, outputs, model, version)

    monkeypatch.setattr(tfserving, "encode", broken)
    async with bench.worker() as worker:
        job = await worker.post(rows(8))
        assert (await worker.over(job)).failed == 2
        found = [line for line in await worker.results(job) if "code" in line]
        why = "the server failed to answer this row; its log has the reason"
        assert found == [{"row": row, "error": why, "code": "internal"} for row in (6, 7)]
    told = [record for record in caplog.records if record.name == "tureen.jobs" and record.exc_info]
    assert [record.message for record in told] == [f"row 6 of job {job.id} failed, and perhaps others after it"]


async def test_jobs_of_an_earlier_life_go_on_where_they_were(bench: Bench) -> None:
    async with bench.worker() as first:
        bench.held.touch()
        job = await first.post(rows(40))
        await first.until(job, lambda now: now.state is State.RUNNING)
    async with bench.worker() as second:
        assert (await second.over(job)).done == 40
        assert await second.results(job) == answers(40)


async def test_a_worker_takes_over_from_one_that_is_gone(bench: Bench) -> None:
    async with bench.worker() as worker:
        bench.held.touch()
        job = await worker.post(rows(40))
        await worker.until(job, lambda now: now.state is State.RUNNING)
        # The one that runs it now stands still, and all that it says comes too late.
        late = Ledger(bench.state, Jobs(), clock=lambda: 4e9)
        taken = late.claim()
        assert taken is not None
        assert late.put_results(taken, 0, [json.dumps(line).encode() for line in answers(5)], 0)
        bench.held.unlink()
        await asyncio.sleep(0.1)
        assert await worker.results(job) == answers(5)
        late.defer(taken, -3e9)
        late.close()
        worker.desk.wake()
        assert (await worker.over(job)).done == 40
        assert await worker.results(job) == answers(40)


async def test_a_cancelled_job_stops_and_leaves_the_worker_to_the_next(bench: Bench) -> None:
    async with bench.worker() as worker:
        bench.held.touch()
        job = await worker.post(rows(40))
        await worker.until(job, lambda now: now.state is State.RUNNING)
        cancelled = await worker.desk.ask(worker.desk.ledger.cancel, job.id)
        bench.held.unlink()
        after = await worker.post(rows(3))
        assert (await worker.over(after)).state is State.SUCCEEDED
        assert await worker.until(job, lambda now: now.state.final) == cancelled


async def test_a_full_queue_is_waited_for(bench: Bench) -> None:
    async with bench.worker() as worker:
        served = worker.engine.served("double")
        bench.held.touch()
        infer = tfserving.decode(b'{"instances": [1, 2, 3, 4]}', served.signature)
        others = [worker.engine.submit(served, infer, 30.0) for _ in range(2)]
        job = await worker.post(rows(9))
        await worker.until(job, lambda now: now.state is State.RUNNING)
        bench.held.unlink()
        await asyncio.gather(*others)
        assert (await worker.over(job)).failed == 0


async def test_a_model_that_is_not_ready_is_waited_for(bench: Bench) -> None:
    async with bench.worker() as worker:
        await worker.engine.unload("double")
        job = await worker.post(rows(9))
        await worker.until(job, lambda now: now.state is State.RUNNING)
        await worker.engine.load("double")
        assert (await worker.over(job)).done == 9
        assert await worker.results(job) == answers(9)


async def test_a_job_for_what_there_is_not_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.jobs.runner.UNKNOWN_S", 0.0)
    async with bench.worker() as worker:
        job = await worker.post(rows(9), version="5")
        over = await worker.over(job)
        assert (over.state, over.error) == (State.FAILED, "model 'double' does not serve version 5; it serves 1")


async def test_rows_are_paid_for_and_waited_for_where_the_budget_is_spent(bench: Bench) -> None:
    async with bench.worker(Limits(rows_per_s=1e-3, rows_burst=10)) as worker:
        job = await worker.post(rows(30))
        waiting = await worker.until(job, lambda now: now.done > 0 and now.state is State.QUEUED)
        assert 7 <= waiting.done <= 10  # pieces of up to 4 rows
        assert await worker.results(job) == answers(waiting.done)


async def test_pieces_are_no_larger_than_a_budget_may_ever_hold(bench: Bench) -> None:
    async with bench.worker(Limits(rows_per_s=1e4, rows_burst=1)) as worker:
        assert (await worker.over(await worker.post(rows(20)))).done == 20


def key_of(models: frozenset[str] | None = None) -> Key:
    made, secret = mint()
    return Key(made, "ada", digest(secret.encode()), frozenset({Scope.INFER}), models)


async def test_a_job_ends_with_its_owners_key(bench: Bench) -> None:
    key = key_of()
    bench.keyring.replace([key])
    owner = Principal(f"key:{key.id}", key.scopes)
    async with bench.worker(asks=True) as worker:
        assert (await worker.over(await worker.post(rows(9), owner))).done == 9
        bench.held.touch()
        job = await worker.post(rows(40), owner)
        await worker.until(job, lambda now: now.state is State.RUNNING)
        bench.keyring.replace([replace(key, revoked=1.0)])
        bench.held.unlink()
        over = await worker.over(job)
        assert (over.state, over.error) == (State.FAILED, f"the job's owner is not known any more: key {key.id} is revoked")


async def test_a_job_ends_where_its_owner_may_not_ask_the_model_any_more(bench: Bench) -> None:
    key = key_of(frozenset({"other"}))
    bench.keyring.replace([key])
    async with bench.worker(asks=True) as worker:
        over = await worker.over(await worker.post(rows(9), Principal(f"key:{key.id}", key.scopes)))
        assert over.state is State.FAILED
        assert over.error is not None
        assert "may not ask the model" in over.error


async def test_what_came_when_nobody_was_asked_is_not_run_where_everybody_is(bench: Bench) -> None:
    async with bench.worker(asks=True) as worker:
        assert (await worker.over(await worker.post(rows(9)))).state is State.FAILED


async def test_while_another_process_holds_the_ledger_jobs_wait_and_then_go_on(bench: Bench) -> None:
    async with bench.worker() as worker:
        job = await worker.post(rows(3))
        await worker.over(job)
        with locked(bench.state / FILE):
            await asyncio.sleep(0.1)
        assert (await worker.over(await worker.post(rows(30)))).done == 30
