"""An entry of more rows than one call may hold: cut into several, put together again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

from batching.collate import join
from batching.entry import Answer, Arrays

Enqueue = Callable[[Arrays, int, tuple[str, ...], Hashable, float], asyncio.Future[Answer]]


def submit_in_parts(
    enqueue: Enqueue, inputs: Arrays, rows: int, outputs: tuple[str, ...], group: Hashable, deadline: float, max_rows: int
) -> asyncio.Future[Answer]:
    """One future for all parts: it fails with the first that fails, and its cancellation withdraws the rest."""
    parts = [
        enqueue(
            {name: array[start : start + max_rows] for name, array in inputs.items()},
            min(max_rows, rows - start),
            outputs,
            group,
            deadline,
        )
        for start in range(0, rows, max_rows)
    ]
    whole: asyncio.Future[Answer] = parts[0].get_loop().create_future()

    def part_done(part: asyncio.Future[Answer]) -> None:
        error = None if part.cancelled() else part.exception()  # retrieved from each part, so that none is reported as lost
        if whole.done():
            return
        if part.cancelled():
            whole.cancel()
        elif error is not None:
            whole.set_exception(error)
        elif all(other.done() and not other.cancelled() and other.exception() is None for other in parts):
            whole.set_result(_joined([other.result() for other in parts]))

    def whole_done(_: asyncio.Future[Answer]) -> None:
        for part in parts:
            part.cancel()

    for part in parts:
        part.add_done_callback(part_done)
    whole.add_done_callback(whole_done)
    return whole


def _joined(answers: list[Answer]) -> Answer:
    last = answers[-1]
    return Answer(
        join([answer.outputs for answer in answers]),
        max(answer.queue_s for answer in answers),
        sum(answer.call_s for answer in answers),
        sum(answer.batch_rows for answer in answers),
        last.reason,
    )
