"""When a window closes: a pure function of what waits and of ``now``.

A window is what waits in one bucket. It is looked at only while a slot is free, so a batch is formed at the moment it can run and
never earlier: whatever arrives while every slot is busy still joins it.

``full`` and ``window`` are the plain rules; ``deadline`` ends a window sooner for an entry that has less time than that, so that
the call still fits in. The other two are ``close = "early"``:

- ``early``: no company is to be expected. The only arrivals that waiting can gain are those of callers who do not themselves wait
  for the answers held back here, so ``gap_s`` is measured over the times when a call was running: a single client that sends
  its next request after each answer never arrives then, and is never made to wait.
- ``idle``: company may come, but there is no need of it: the slots have rested since the last calls. The rest (``pace``) grows with
  the load, up to the length of a call, since many small calls eat the CPU that parses requests; it ends with the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from batching.policy import Policy

Reason = Literal["full", "window", "deadline", "early", "idle", "closing"]


@dataclass(frozen=True, slots=True)
class View:
    """What a window and its batcher look like now.

    ``oldest``: when its first entry came; ``deadline``: the earliest of its entries; ``rested``: when the slots will have rested;
    ``call_s``: the time its call would take; ``gap_s``: the time to the next arrival. In seconds of one clock.
    """

    rows: int
    oldest: float
    deadline: float
    rested: float
    call_s: float
    gap_s: float


@dataclass(frozen=True, slots=True)
class Close:
    """Take a batch now."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again at that time, unless something arrives before."""

    until: float


def decide(view: View, policy: Policy, now: float) -> Close | Wait:
    """Whether a window that a free slot could take closes now. Never waits past the window of its oldest entry."""
    if view.rows >= policy.max_rows:
        return Close("full")
    end = view.oldest + policy.window_s
    if now >= end:
        return Close("window")
    last_chance = view.deadline - view.call_s
    if now >= last_chance:
        return Close("deadline")
    end = min(end, last_chance)
    if policy.close == "full":
        return Wait(end)
    if end - now < view.gap_s:
        return Close("early")
    if now >= view.rested:
        return Close("idle")
    return Wait(min(end, view.rested))


def share(rows: int, max_rows: int, idle_slots: int) -> int:
    """Rows of the next batch when several slots are idle: the backlog is split among them, not given whole to one."""
    return min(max_rows, -(-rows // max(1, idle_slots)))
