"""``@batched``: on its own, in a Quart app, and in the example that the documentation shows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bench import run
from quart import Quart, jsonify, request
from quart.typing import ResponseReturnValue

from batching import Closed, Priority, RowsMismatch, batched
from batching.decorator import Batched
from batching.entry import Array
from examples.batched_route import app as example
from examples.batched_route import score as example_score

MINUTES = 1e6


def squares(calls: list[int], **settings: Any) -> Batched:
    @batched(**{"window_ms": 20, "timeout_ms": MINUTES} | settings)
    def square(rows: Array) -> Array:
        """x -> x^2."""
        calls.append(len(rows))
        if rows.min() < 0:
            raise ValueError("negative")
        return rows**2

    return square


async def test_callers_at_the_same_time_share_one_call_and_each_gets_its_own() -> None:
    calls: list[int] = []
    square = squares(calls)
    results = await asyncio.gather(*[square(float(value)) for value in range(10)])
    assert results == [value**2 for value in range(10)]
    assert calls == [10]
    await square.close()


async def test_one_row_in_is_one_row_out_and_many_are_many() -> None:
    @batched(timeout_ms=MINUTES)
    def total(left: Array, right: Array) -> Array:
        return np.stack([left.sum(axis=1), right], axis=1)

    assert (await total([1, 2, 3], 10)).tolist() == [6, 10]
    assert (await total.rows([[1, 2], [3, 4]], [10, 20])).tolist() == [[3, 10], [7, 20]]
    await total.close()


async def test_a_caller_may_say_that_its_row_goes_first() -> None:
    calls: list[Array] = []

    @batched(max_rows=2, window_ms=0, timeout_ms=MINUTES)
    def same(rows: Array) -> Array:
        calls.append(rows)
        return rows

    priorities = (Priority.LOW, Priority.NORMAL, Priority.LOW, Priority.HIGH)
    await asyncio.gather(*[same(row, priority=priority) for row, priority in enumerate(priorities)])
    assert [rows.tolist() for rows in calls] == [[3, 1], [0, 2]]
    await same.close()


async def test_rows_of_another_shape_or_datatype_never_share_a_call() -> None:
    calls: list[int] = []
    square = squares(calls)
    await asyncio.gather(square([1.0]), square([1.0, 2.0]), square([1]), square([3.0]))
    assert sorted(calls) == [1, 1, 2]
    await square.close()


async def test_one_bad_row_fails_alone_with_what_the_function_raised() -> None:
    square = squares([])
    results = await asyncio.gather(*[square(value) for value in (1.0, -2.0, 3.0)], return_exceptions=True)
    assert results[::2] == [1.0, 9.0]
    assert isinstance(results[1], ValueError)
    await square.close()


async def test_a_function_that_loses_rows_shifts_no_answer() -> None:
    @batched(timeout_ms=MINUTES)
    def broken(rows: Array) -> Array:
        return rows[1:]

    results = await asyncio.gather(*[broken(value) for value in range(3)], return_exceptions=True)
    assert {type(result) for result in results} == {RowsMismatch}
    await broken.close()


@pytest.mark.parametrize("arrays", [(), ([],), (1.0,), ([1, 2], [1])])
async def test_arguments_that_are_not_rows_are_refused_before_they_are_queued(arrays: tuple[Any, ...]) -> None:
    square = squares([])
    with pytest.raises(ValueError, match="square takes arrays of one and the same number of rows, at least 1; got shapes"):
        await square.rows(*arrays)
    await square.close()


async def test_a_caller_that_is_cancelled_harms_nobody() -> None:
    square = squares([])
    tasks = [asyncio.create_task(square(float(value))) for value in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    assert list(await asyncio.gather(tasks[0], tasks[2])) == [0, 4]
    await square.close()


async def test_it_keeps_the_functions_name_and_words() -> None:
    square = squares([])
    assert (square.__name__, square.__doc__) == ("square", "x -> x^2.")
    assert square.__wrapped__(np.array([3])).tolist() == [9]


async def test_after_close_the_loop_takes_no_more_calls() -> None:
    square = squares([])
    assert await square(2.0) == 4
    await square.close()
    with pytest.raises(Closed):
        await square(2.0)


def test_each_event_loop_has_a_batcher_of_its_own_and_closed_loops_keep_no_threads() -> None:
    square = squares([])
    others = set(threading.enumerate())  # an earlier test's may end late

    async def use(*, close: bool = False) -> set[threading.Thread]:
        assert await square(3.0) == 9
        if close:
            await square.close()
        return {thread for thread in threading.enumerate() if thread.name.startswith("square")} - others

    threads = [run(use()), run(use()), run(use(close=True))]
    for thread in set.union(*threads):
        thread.join(60)
        assert not thread.is_alive()
    assert len(set.union(*threads)) == 3


def batched_app(score: Callable[..., Any]) -> Quart:
    app = Quart(__name__)

    @app.post("/square")
    async def answer() -> ResponseReturnValue:
        return jsonify(square=float(await score(float((await request.get_json())["value"]))))

    return app


async def test_requests_of_a_quart_app_share_calls_and_each_gets_its_own_answer() -> None:
    calls: list[int] = []
    square = squares(calls, close="full", window_ms=200)
    client = batched_app(square).test_client()

    async def post(value: int) -> float:
        response = await client.post("/square", json={"value": value})
        result: float = (await response.get_json())["square"]
        return result

    assert await asyncio.gather(*[post(value) for value in range(64)]) == [value**2 for value in range(64)]
    assert sum(calls) == 64
    assert len(calls) < 32
    await square.close()


async def test_the_example_of_the_documentation_batches_its_route() -> None:
    async with example.test_app() as running:
        client = running.test_client()
        rows = np.random.default_rng(0).normal(size=(32, 4))
        responses = await asyncio.gather(*[client.post("/score", json={"row": row.tolist()}) for row in rows])
        scores = [(await response.get_json())["score"] for response in responses]
        assert scores == pytest.approx(example_score.__wrapped__(rows).tolist())
        stats = await (await client.get("/stats")).get_json()
        assert stats["requests"] == 32
        assert stats["calls"] < 32
        malformed: list[Any] = [{"row": [1, 2]}, {"row": "x"}, {}, [], {"row": None}]
        for body in malformed:
            assert (await client.post("/score", json=body)).status_code == 400
