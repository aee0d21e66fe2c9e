"""One caller's rows in several entries: cut for what one call may hold, put together again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from batching.collate import join
from batching.entry import Answer, Arrays

#: Queues some of the rows.
Enqueue = Callable[[Arrays, int], asyncio.Future[Answer]]


def submit_in_parts(enqueue: Enqueue, inputs: Arrays, rows: int, max_rows: int) -> asyncio.Future[Answer]:
    """One future for entries of at most ``max_rows``."""
    return together(
        [
            enqueue({name: array[start : start + max_rows] for name, array in inputs.items()}, min(max_rows, rows - start))
            for start in range(0, rows, max_rows)
        ]
    )


def together(parts: Sequence[asyncio.Future[Answer]]) -> asyncio.Future[Answer]:
    """One future for all parts: it fails with the first that fails, and its end, or cancellation, withdraws the rest."""
    whole: asyncio.Future[Answer] = parts[0].get_loop().create_future()
    missing = len(parts)

    def part_done(part: asyncio.Future[Answer]) -> None:
        nonlocal missing
        missing -= 1
        error = None if part.cancelled() else part.exception()  # retrieved from each part, so that none is reported as lost
        if whole.done():
            return
        if part.cancelled():
            whole.cancel()
        elif error is not None:
            whole.set_exception(error)
        elif not missing:
            try:
                whole.set_result(_joined([other.result() for other in parts]))
            except Exception as unlike:  # the calls' outputs do not fit together: no callback may fail and leave a caller waiting
                whole.set_exception(unlike)

    def whole_done(_: asyncio.Future[Answer]) -> None:
        for part in parts:
            part.cancel()

    for part in parts:
        part.add_done_callback(part_done)
    whole.add_done_callback(whole_done)
    return whole


def _joined(answers: list[Answer]) -> Answer:
    """What the caller of all parts is told: the longest wait, the calls' time together, the rows of all their batches.

    Of these it names the last.
    """
    return Answer(
        join([answer.outputs for answer in answers]),
        max(answer.queue_s for answer in answers),
        sum(answer.call_s for answer in answers),
        sum(answer.batch_rows for answer in answers),
        answers[-1].reason,
        answers[-1].batch,
    )
