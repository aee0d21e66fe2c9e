"""How an entry ends: with its rows, with what the call raised, or with the reason why there is nothing. Each future is set once."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from batching.entry import Answer, Batch, Entry
from batching.errors import DeadlineExceeded
from batching.statistics import Statistics


def answer(batch: Batch, now: float, statistics: Statistics) -> None:
    """Gives every entry of a computed batch what became of it; those who have left meanwhile are counted."""
    statistics.called(batch)
    started, call_s, batch_rows, reason, number = batch.started, batch.call_s, batch.rows, batch.reason, batch.number
    answered, total_s, queued_s = 0, 0.0, 0.0
    for entry, outcome in zip(batch.entries, batch.outcomes, strict=True):
        future = entry.future
        if future.done():
            statistics.cancelled += future.cancelled()
        elif isinstance(outcome, BaseException):
            statistics.fail.add(now - entry.enqueued)
            future.set_exception(_as_exception(outcome))
        else:
            queue_s = started - entry.enqueued
            future.set_result(Answer(outcome, queue_s, call_s, batch_rows, reason, number))
            answered += 1
            total_s += now - entry.enqueued
            queued_s += queue_s
            statistics.rows += entry.rows
    statistics.success.add(total_s, answered)
    statistics.queue.add(queued_s, answered)


def waits(entry: Entry, now: float, statistics: Statistics, spare_s: float = 0.0) -> bool:
    """Whether somebody still waits for a queued entry; tells one whose time is over so, or will be within ``spare_s`` seconds."""
    if entry.future.done():
        statistics.cancelled += entry.future.cancelled()
        return False
    if entry.deadline <= now:
        expire(entry, now, "queue", statistics)
        return False
    if entry.deadline <= now + spare_s:
        statistics.expired += 1
        waited, call = f"{1000 * (now - entry.enqueued):.0f} ms", f"about {1000 * spare_s:.3g} ms"
        left = f"{1000 * (entry.deadline - now):.3g} ms"
        error = DeadlineExceeded(f"after {waited} in the queue the request has {left} left, and a call takes {call}", "queue")
        entry.future.set_exception(error)
        return False
    return True


def expire(entry: Entry, now: float, stage: Literal["queue", "call"], statistics: Statistics) -> None:
    """Tells an entry that its time is over."""
    statistics.expired += 1
    meanwhile = "the request waited for its turn" if stage == "queue" else "the model computed"
    message = f"the deadline passed after {1000 * (now - entry.enqueued):.0f} ms, while {meanwhile}"
    entry.future.set_exception(DeadlineExceeded(message, stage))


def expire_called(batches: Iterable[Batch], now: float, statistics: Statistics) -> float:
    """Tells every entry in a call whose time is over so, and returns the earliest deadline of the others; infinite without any."""
    earliest = math.inf
    for batch in batches:
        for entry in batch.entries:
            if entry.future.done():
                continue
            if entry.deadline <= now:
                expire(entry, now, "call", statistics)
            else:
                earliest = min(earliest, entry.deadline)
    return earliest


def fail(entries: Iterable[Entry], now: float, error: Exception, statistics: Statistics) -> None:
    """Tells every entry that still waits of a failure that is not its own."""
    for entry in entries:
        if not entry.future.done():
            statistics.fail.add(now - entry.enqueued)
            entry.future.set_exception(error)


def _as_exception(raised: BaseException) -> Exception:
    """A future cannot carry StopIteration, nor SystemExit and its kind; the name is kept."""
    if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
        return raised
    error = RuntimeError(f"the call raised {type(raised).__name__}: {raised}")
    error.__cause__ = raised
    return error
