"""What callers who share batches may rely on: their own answer, whatever the others do, and a word at once where there is none."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import pytest_asyncio

from models import Array
from tests.e2e.kitchen import Gate, booster, gate_of
from tests.e2e.patience import PATIENCE_S, until
from tests.e2e.served import Server, serving

MANY = 64
GATE = "/v1/models/gate:predict"
QUEUE_ROWS = 80  # of the model `gate`


@pytest_asyncio.fixture
async def session(server: Server) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(server.url, connector=connector, timeout=aiohttp.ClientTimeout(PATIENCE_S)) as made:
        await ask(made, GATE, row(0))  # from now on the batcher knows how long a call takes
        yield made


def row(x: float, gate: str = "") -> dict[str, object]:
    """A request for the model `gate`."""
    return {"instances": [{"x": x, "gate": gate}]}


async def ask(session: aiohttp.ClientSession, path: str, body: object, **headers: str) -> tuple[int, Any]:
    """Status and parsed body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with session.post(path, data=json.dumps(body), headers=named) as response:
        return response.status, await response.json()


async def in_the_call(session: aiohttp.ClientSession, gate: Gate) -> asyncio.Task[tuple[int, Any]]:
    """A request whose call waits at the gate, so that the model's only slot is taken."""
    task = asyncio.create_task(ask(session, GATE, row(0, gate.name)))
    await reached(gate)
    return task


async def reached(gate: Gate) -> None:
    """Returns once a call has come to the gate."""
    await asyncio.to_thread(gate.await_call)


async def filled(session: aiohttp.ClientSession, gate: Gate) -> list[asyncio.Task[tuple[int, Any]]]:
    """A request in the call, and as many behind it as may wait."""
    taken = [await in_the_call(session, gate)]
    taken += [asyncio.create_task(ask(session, GATE, row(x))) for x in range(QUEUE_ROWS)]
    await queued(session, QUEUE_ROWS)
    return taken


async def queued(session: aiohttp.ClientSession, rows: int, **headers: str) -> None:
    """Returns once so many rows wait: a request that has no time is refused with their number, or it is never computed."""
    for _ in range(round(PATIENCE_S / 0.01)):
        status, answer = await ask(session, GATE, row(0), X_Request_Timeout_Ms="0.0001", **headers)
        assert (status, answer["code"]) in ((504, "deadline_exceeded"), (503, "queue_full"))
        told = re.match(r"(?:the queue holds )?(\d+) (?:rows wait already|of at most)", answer["error"])
        if (int(told[1]) if told else 0) == rows:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"there were never {rows} rows waiting: {answer['error']}")


async def test_many_distinct_requests_get_what_they_get_alone(server: Server, session: aiohttp.ClientSession) -> None:
    rows = np.random.default_rng(5).normal(size=(MANY, 4))
    bodies: list[dict[str, object]] = [{"instances": [values.tolist()]} for values in rows]
    path = "/v1/models/boost/versions/2:predict"
    alone = [server.post(path, body).json() for body in bodies]
    assert len({answer["predictions"][0] for answer in alone}) > MANY // 4
    together = await asyncio.gather(*(ask(session, path, body) for body in bodies))
    assert together == [(200, answer) for answer in alone]


async def test_null_is_a_missing_value_to_a_booster_on_either_protocol_whoever_shares_the_batch(
    session: aiohttp.ClientSession,
) -> None:
    rows = np.random.default_rng(7).normal(size=(MANY, 4))
    rows[::2, 1] = rows[::3, 3] = np.nan
    wanted = np.asarray(booster(trees=8).predict(rows)).tolist()
    sent = [[None if np.isnan(value) else value for value in row] for row in rows.tolist()]
    path = "/v1/models/boost/versions/2:predict"
    answers = await asyncio.gather(*(ask(session, path, {"instances": [row]}) for row in sent))
    assert answers == [(200, {"predictions": [value]}) for value in wanted]
    tensors = [{"name": "input", "datatype": "FP64", "shape": [1, 4], "data": row} for row in sent]
    answers = await asyncio.gather(*(ask(session, "/v2/models/boost/versions/2/infer", {"inputs": [each]}) for each in tensors))
    assert [(status, answer["outputs"][0]["data"]) for status, answer in answers] == [(200, [value]) for value in wanted]


async def test_many_onnx_requests_of_several_rows_get_what_they_get_alone(server: Server, session: aiohttp.ClientSession) -> None:
    random = np.random.default_rng(6)
    tensors: list[Array] = [random.integers(-50, 50, size=(1 + number % 5, 4)).astype(np.float32) for number in range(MANY)]
    bodies = [
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": list(values.shape), "data": values.ravel().tolist()}]}
        for values in tensors
    ]
    path = "/v2/models/affine/infer"
    alone = [server.post(path, body).json() for body in bodies]
    assert await asyncio.gather(*(ask(session, path, body) for body in bodies)) == [(200, answer) for answer in alone]


async def test_requests_that_wait_together_share_a_call(server: Server, session: aiohttp.ClientSession, gate: Gate) -> None:
    before = server.statistics("gate")
    first = await in_the_call(session, gate)
    waiting = [asyncio.create_task(ask(session, GATE, row(x))) for x in range(1, MANY + 1)]
    await queued(session, MANY)
    gate.open()
    assert await asyncio.gather(*waiting) == [(200, {"predictions": [{"y": 2.0 * x, "rows": MANY}]}) for x in range(1, MANY + 1)]
    assert (await first)[0] == 200
    after = server.statistics("gate")
    assert after["execution_count"] - before["execution_count"] == 2
    assert after["inference_count"] - before["inference_count"] == MANY + 1
    assert MANY in [batch["batch_size"] for batch in after["batch_stats"]]


async def test_high_requests_go_before_low_ones_that_came_sooner(session: aiohttp.ClientSession, gate: Gate) -> None:
    first = await in_the_call(session, gate)
    low = [asyncio.create_task(ask(session, GATE, row(x), X_Priority="low")) for x in range(MANY)]
    await queued(session, MANY, X_Priority="low")
    tensors = [
        {"name": "x", "shape": [1], "datatype": "FP64", "data": [2]},
        {"name": "gate", "shape": [1], "datatype": "BYTES", "data": [""]},
    ]
    body = {"inputs": tensors, "outputs": [{"name": "rows"}], "parameters": {"priority": 1}}
    high = asyncio.create_task(ask(session, GATE, row(1), X_Priority="high"))
    high_too = asyncio.create_task(ask(session, "/v2/models/gate/infer", body))
    await queued(session, MANY + 2, X_Priority="low")
    gate.open()
    assert await high == (200, {"predictions": [{"y": 2, "rows": MANY}]})
    assert (await high_too)[1]["outputs"][0]["data"] == [1]  # asks for other outputs, so in a call of its own
    calls = [answer["predictions"][0]["rows"] for _, answer in await asyncio.gather(*low)]
    assert calls[0] == MANY
    assert calls.count(1) == 1
    assert (await first)[0] == 200


async def test_one_bad_request_and_clients_that_leave_cost_the_others_nothing(
    server: Server, session: aiohttp.ClientSession, gate: Gate
) -> None:
    before = server.statistics("gate")["inference_count"]
    first = await in_the_call(session, gate)
    bad = asyncio.create_task(ask(session, GATE, row(-5)))
    good = {x: asyncio.create_task(ask(session, GATE, row(x))) for x in range(1, MANY)}
    await queued(session, MANY)
    for x in range(3, MANY, 3):
        good.pop(x).cancel()
    await queued(session, MANY - MANY // 3)
    gate.open()
    status, answer = await bad
    assert (status, answer["code"], answer["error"]) == (500, "model_failed", "the model raised ValueError: -5 is below 0")
    for x, task in good.items():
        status, answer = await task
        assert (status, answer["predictions"][0]["y"]) == (200, 2 * x)
    assert (await first)[0] == 200
    after = server.statistics("gate")
    assert after["inference_count"] - before == len(good) + 1
    assert len(good) + 1 in [batch["batch_size"] for batch in after["batch_stats"]]


async def test_who_leaves_while_queued_is_never_computed(server: Server, session: aiohttp.ClientSession, gate: Gate) -> None:
    with gate_of(gate.directory.parent.parent) as never:
        first = await in_the_call(session, gate)
        leaving = [asyncio.create_task(ask(session, GATE, row(x, never.name))) for x in range(8)]
        await queued(session, 8)
        for task in leaving:
            task.cancel()
        await queued(session, 0)
        gate.open()
        assert (await first)[0] == 200
        assert (await ask(session, GATE, row(7)))[1] == {"predictions": [{"y": 14, "rows": 1}]}
        assert not never.reached


async def test_who_leaves_in_the_middle_of_a_call_costs_the_next_nothing(session: aiohttp.ClientSession, gate: Gate) -> None:
    first = await in_the_call(session, gate)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    neighbour = asyncio.create_task(ask(session, GATE, row(4)))
    await queued(session, 1)
    gate.open()
    assert await neighbour == (200, {"predictions": [{"y": 8, "rows": 1}]})


async def test_a_deadline_passes_for_its_own_request_alone(server: Server, session: aiohttp.ClientSession, gate: Gate) -> None:
    first = await in_the_call(session, gate)
    patient = asyncio.create_task(ask(session, GATE, row(1)))
    status, answer = await ask(session, GATE, row(2), X_Request_Timeout_Ms="30")
    assert (status, answer["code"]) == (504, "deadline_exceeded")
    gate.open()
    assert await patient == (200, {"predictions": [{"y": 2, "rows": 1}]})
    assert (await first)[0] == 200


async def test_a_deadline_passes_while_the_model_computes(server: Server, session: aiohttp.ClientSession, gate: Gate) -> None:
    status, answer = await ask(session, GATE, row(1, gate.name), X_Request_Timeout_Ms="100")
    assert (status, answer["code"]) == (504, "deadline_exceeded")
    assert gate.reached
    assert "while the model computed" in answer["error"]
    other = asyncio.create_task(ask(session, GATE, row(3)))
    gate.open()
    assert (await other)[0] == 200


async def test_a_full_queue_refuses_at_once_and_says_when_to_come_again(
    server: Server, session: aiohttp.ClientSession, gate: Gate
) -> None:
    taken = await filled(session, gate)
    async with session.post(GATE, data=json.dumps(row(1))) as response:
        refused = await response.json()
        assert (response.status, refused["code"]) == (503, "queue_full")
        assert int(response.headers["Retry-After"]) >= 1
    assert refused["details"][0]["got"] == f"{QUEUE_ROWS} rows waiting"
    gate.open()
    assert [status for status, _ in await asyncio.gather(*taken)] == [200] * (QUEUE_ROWS + 1)


async def test_a_full_queue_reads_only_what_may_ask_for_another_place_or_time(
    server: Server, session: aiohttp.ClientSession, gate: Gate
) -> None:
    taken = await filled(session, gate)
    for body, status in (("{", 503), ('{"parameters": {"priority": 1', 400), ('{"parameters": {"timeout": 9', 400)):
        async with session.post("/v2/models/gate/infer", data=body) as response:
            assert response.status == status
    gate.open()
    assert [status for status, _ in await asyncio.gather(*taken)] == [200] * (QUEUE_ROWS + 1)


async def test_a_model_that_is_not_pure_is_never_tried_again(server: Server, session: aiohttp.ClientSession) -> None:
    path = "/v1/models/ledger:predict"
    start = (await ask(session, path, {"instances": [0]}))[1]["predictions"][0]
    status, answer = await ask(session, path, {"instances": [1, -2, 4]})
    assert (status, answer["code"]) == (500, "model_failed")
    assert (await ask(session, path, {"instances": [0]}))[1]["predictions"][0] - start == 7


@pytest.fixture(params=["hypercorn", "uvicorn"])
def growing(kitchen: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of one model, `boost`, of which new versions may be added."""
    repository = tmp_path / "repository"
    shutil.copytree(kitchen / "boost" / "1", repository / "boost" / "1")
    with serving(repository, kind=request.param, cwd=tmp_path) as server:
        yield server


async def test_no_request_fails_while_a_new_version_takes_over(growing: Server) -> None:
    path, body = "/v1/models/boost:predict", {"instances": [[0.1, 0.2, 0.3, 0.4]]}
    stop = asyncio.Event()
    seen: list[tuple[int, str]] = []

    async def load(session: aiohttp.ClientSession) -> None:
        while not stop.is_set():
            async with session.post(path, data=json.dumps(body)) as response:
                await response.read()
                seen.append((response.status, response.headers.get("X-Model-Version", "")))

    async with aiohttp.ClientSession(growing.url) as session, asyncio.TaskGroup() as callers:
        for _ in range(8):
            callers.create_task(load(session))
        for version in range(2, 6):
            new = growing.repository / "boost" / str(version)
            new.mkdir()
            await asyncio.to_thread(booster(trees=version).save_model, new / "model.txt")
            assert (await asyncio.to_thread(growing.post, "/v2/repository/models/boost/load")).status == 200
            await asyncio.to_thread(until, partial(lambda enough: len(seen) > enough, len(seen) + 20), "more are answered")
        stop.set()
    assert {status for status, _ in seen} == {200}
    versions = [version for _, version in seen]
    assert list(dict.fromkeys(versions)) == ["1", "2", "3", "4", "5"]
    assert [entry["version"] for entry in growing.post("/v2/repository/index").json()] == ["5"]
