"""Entries larger than a call: cut, and put together again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random

import numpy as np
import pytest
from bench import run
from hypothesis import given
from hypothesis import strategies as st

from batching import Answer, Arrays
from batching.cut import submit_in_parts
from batching.entry import Array


class Parts:
    """Takes the parts and lets the test answer them."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []
        self.futures: list[asyncio.Future[Answer]] = []

    def enqueue(self, inputs: Arrays, rows: int) -> asyncio.Future[Answer]:
        """Keeps the rows."""
        assert rows == len(inputs["x"])
        self.rows.append(inputs["x"].tolist())
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]

    def submit(self, rows: int, max_rows: int) -> asyncio.Future[Answer]:
        """So many rows, cut."""
        return submit_in_parts(self.enqueue, {"x": np.arange(rows)}, rows, max_rows)

    def answer(self, at: int, outputs: Mapping[str, Array] | None = None) -> None:
        """Answers a part with its own rows, or these."""
        self.futures[at].set_result(Answer(outputs or {"y": np.array(self.rows[at])}, 0.1 * at, 1.0, 7, "full"))


@given(st.integers(1, 40), st.integers(1, 40), st.randoms())
def test_the_parts_come_together_in_order_whatever_the_order_of_their_answers(rows: int, max_rows: int, random: Random) -> None:
    async def submit() -> None:
        parts = Parts()
        whole = parts.submit(rows, max_rows)
        assert max(map(len, parts.rows)) <= max_rows
        order = list(range(len(parts.rows)))
        random.shuffle(order)
        for at in order:
            assert not whole.done()
            parts.answer(at)
            await asyncio.sleep(0)
        assert (await whole).outputs["y"].tolist() == list(range(rows))

    run(submit())


async def test_the_whole_tells_the_longest_wait_the_time_of_all_calls_and_the_rows_of_all_batches() -> None:
    parts = Parts()
    whole = parts.submit(5, 2)
    for at in range(3):
        parts.answer(at)
    answer = await whole
    assert (answer.queue_s, answer.call_s, answer.batch_rows, answer.reason) == (0.2, 3.0, 21, "full")


async def test_the_first_failure_is_the_wholes_and_withdraws_the_other_parts() -> None:
    parts = Parts()
    whole = parts.submit(6, 2)
    parts.answer(0)
    parts.futures[1].set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await whole
    await asyncio.sleep(0)
    assert parts.futures[2].cancelled()


async def test_several_failures_are_one() -> None:
    parts = Parts()
    whole = parts.submit(4, 2)
    for part in parts.futures:
        part.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await whole


async def test_cancelling_the_whole_cancels_every_part() -> None:
    parts = Parts()
    whole = parts.submit(6, 2)
    parts.answer(0)
    whole.cancel()
    for _ in range(2):
        await asyncio.sleep(0)
    assert [part.cancelled() for part in parts.futures] == [False, True, True]


async def test_a_part_cancelled_by_the_loop_cancels_the_whole() -> None:
    parts = Parts()
    whole = parts.submit(4, 2)
    parts.futures[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await whole


@pytest.mark.parametrize("unlike", [{"y": np.zeros((2, 3))}, {"other": np.zeros(2)}])
async def test_parts_that_do_not_fit_together_fail_the_whole_rather_than_leave_it_waiting(unlike: dict[str, Array]) -> None:
    parts = Parts()
    whole = parts.submit(4, 2)
    parts.answer(0)
    parts.answer(1, unlike)
    with pytest.raises((ValueError, KeyError)):
        await whole
