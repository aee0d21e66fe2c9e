"""Whether an entry may join the queue: decided from what waits already, before anything is kept of it."""

from __future__ import annotations

import math

from batching.errors import DeadlineExceeded, QueueFull, TooManyRows
from batching.pace import Pace
from batching.policy import Policy

#: When to come again, while no call has been measured (seconds).
RETRY_S = 1.0
#: The share of an entry's time within which its answer has to be expected; the rest is for what no clock here sees: the way in, the
#: way out, and that one prediction in two is too short.
AIM = 0.8


def refusal(
    rows: int,
    left_s: float,
    queued: int,
    pace: Pace,
    policy: Policy,
    ahead: int | None = None,
    slot_s: float = 0.0,
) -> Exception | None:
    """Why an entry that has so many seconds left cannot be taken where so many rows are queued; None where it can.

    ``ahead``: those of them that go before it; None where all do. ``slot_s``: when a slot will be free (seconds from now).

    An entry with others before it is answered once a slot is free, the calls before its own have ended, and its own has. One with
    nothing before it is taken: what was measured may be wrong, and only another call can tell.
    """
    if ahead is None:
        ahead = queued
    # Calls, not rows, are what takes time.
    before = int((ahead + rows - 1) // _rows_a_call(pace, policy)) if ahead else 0
    if 0 < rows <= policy.queue_rows - queued and AIM * left_s > slot_s + (before + 1) * (pace.slowest_s + pace.lag_s):
        return None  # most entries: plenty of room and time
    if rows < 1:
        return ValueError(f"an entry has at least 1 row; got {rows}")
    if rows > policy.queue_rows:
        return TooManyRows(rows, policy.queue_rows)
    if not left_s > 0:
        return DeadlineExceeded("the request had no time left when it came", "admission")
    if queued + rows > policy.queue_rows:
        return QueueFull(rows, queued, policy.queue_rows, _drain_s(queued, pace, policy) or RETRY_S)
    call_s = pace.call_s(min(ahead + rows, policy.max_rows)) + pace.lag_s
    end_s = slot_s + (before // policy.instances + 1) * call_s
    if ahead and end_s > AIM * left_s:
        who = f"{queued} rows wait already" if ahead == queued else f"{ahead} of {queued} rows that wait go before the request"
        taken, left = f"about {1000 * end_s:.0f} ms", f"{1000 * left_s:.0f} ms"
        return DeadlineExceeded(f"{who}, so that its answer takes {taken}, and the request has {left}", "admission")
    return None


def room(left_s: float, pace: Pace, policy: Policy, slot_s: float = 0.0) -> int:
    """Below how many rows that wait an entry of one row is taken at any rate that has so many seconds left, or more."""
    call_s, within_s = pace.slowest_s + pace.lag_s, AIM * left_s
    if not within_s > slot_s:
        return 0
    a_call = _rows_a_call(pace, policy)
    most = math.ceil(policy.queue_rows / a_call)
    calls = int(min((within_s - slot_s) / call_s, most)) if call_s > 0 else most
    if not within_s > slot_s + calls * call_s:  # the last of them would end on the very moment
        calls -= 1
    return max(0, min(int(calls * a_call), policy.queue_rows))


def _rows_a_call(pace: Pace, policy: Policy) -> float:
    """How many of the rows that wait one call takes."""
    return max(1.0, policy.max_rows * pace.fill)


def _drain_s(rows: int, pace: Pace, policy: Policy) -> float:
    """The time in which so many rows that wait are computed; 0 while no call has been measured."""
    calls = math.ceil(rows / _rows_a_call(pace, policy))
    return calls * (pace.call_s(min(rows, policy.max_rows)) + pace.lag_s) / policy.instances if rows else 0.0
