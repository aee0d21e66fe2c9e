"""Whether an entry may join the queue: decided from what waits already, before anything is kept of it."""

from __future__ import annotations

from batching.errors import DeadlineExceeded, QueueFull, TooManyRows
from batching.pace import Pace
from batching.policy import Policy

#: When to come again, while no call has been measured (seconds).
RETRY_S = 1.0


def refusal(rows: int, left_s: float, queued: int, pace: Pace, policy: Policy, ahead: int | None = None) -> Exception | None:
    """Why an entry that has so many seconds left cannot be taken where so many rows are queued; None where it can.

    ``ahead``: those of them that go before it; None where all do.
    """
    if ahead is None:
        ahead = queued
    calls = -(-ahead // policy.max_rows)  # calls, not rows, are what takes time
    if 0 < rows <= policy.queue_rows - queued and left_s > calls * pace.slowest_s / policy.instances:
        return None  # most entries: plenty of room and time
    if rows < 1:
        return ValueError(f"an entry has at least 1 row; got {rows}")
    if rows > policy.queue_rows:
        return TooManyRows(rows, policy.queue_rows)
    if not left_s > 0:
        return DeadlineExceeded("the request had no time left when it came", "admission")
    if queued + rows > policy.queue_rows:
        return QueueFull(rows, queued, policy.queue_rows, _drain_s(queued, pace, policy) or RETRY_S)
    wait_s = _drain_s(ahead, pace, policy)
    if wait_s > left_s:
        who = f"{queued} rows wait already" if ahead == queued else f"{ahead} of {queued} rows that wait go before the request"
        wait, left = f"about {1000 * wait_s:.0f} ms", f"{1000 * left_s:.0f} ms"
        return DeadlineExceeded(f"{who}, for {wait}, and the request has {left}", "admission")
    return None


def _drain_s(rows: int, pace: Pace, policy: Policy) -> float:
    """The time in which so many rows that wait are computed; 0 while no call has been measured."""
    calls = -(-rows // policy.max_rows)
    return calls * pace.call_s(min(rows, policy.max_rows)) / policy.instances if rows else 0.0
