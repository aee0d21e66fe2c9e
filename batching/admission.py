"""Whether an entry may join the queue: decided from what waits already, before anything is kept of it."""

from __future__ import annotations

from batching.errors import DeadlineExceeded, QueueFull, TooManyRows
from batching.pace import Pace
from batching.policy import Policy

#: When to come again, while no call has been measured (seconds).
RETRY_S = 1.0


def refusal(rows: int, left_s: float, queued: int, pace: Pace, policy: Policy) -> Exception | None:
    """Why an entry that has so many seconds left cannot be taken behind so many queued rows; None where it can."""
    calls = -(-queued // policy.max_rows)  # calls, not rows, are what takes time
    if 0 < rows <= policy.queue_rows - queued and left_s > calls * pace.slowest_s / policy.instances:
        return None  # most entries: plenty of room and time
    if rows < 1:
        return ValueError(f"an entry has at least 1 row; got {rows}")
    if rows > policy.queue_rows:
        return TooManyRows(rows, policy.queue_rows)
    if not left_s > 0:
        return DeadlineExceeded("the request had no time left when it came", "admission")
    wait_s = calls * pace.call_s(min(queued, policy.max_rows)) / policy.instances if queued else 0.0
    if queued + rows > policy.queue_rows:
        return QueueFull(rows, queued, policy.queue_rows, wait_s or RETRY_S)
    if wait_s > left_s:
        wait, left = f"about {1000 * wait_s:.0f} ms", f"{1000 * left_s:.0f} ms"
        return DeadlineExceeded(f"{queued} rows wait already, for {wait}, and the request has {left}", "admission")
    return None
