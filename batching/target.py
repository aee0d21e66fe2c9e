"""Keeping to ``target_p99_ms``: how large calls are, how long a window may wait, and who is refused, by what was measured.

All of it follows from one number, the *goal*: ``AIM`` of the target, less a *correction*.

- **Rows of a call.** An entry that comes just after a call has begun waits for that and its own: two calls have to fit the goal.
  Of a size whose call is longer than half of it only those can be taken who come late enough, a share of ``(goal - call) / call``.
  So of all classes up to where larger calls pay (``sizes``) it is the one with the most rows a second times that share.
- **Wait.** A window may wait for the goal less such a call's ninth decile, and never for longer than ``window_ms``.
- **The door.** An entry is answered once a slot is free, the calls before its own are done, and its own is: where that is later
  than the goal it is refused. A call that is overdue is expected to take as long again as it is overdue, so that a stall shuts the
  door. An entry with nothing before it is always taken: refusing it would help nobody, and nothing would be measured any more.
- **The correction** is what the predictions miss. Where the measured p99 of a hundred entries or more that came since the last
  correction is above ``AIM`` of the target, it grows by the difference; where it is below, it gives back ``LOOSEN`` of it. So it
  tightens at once and loosens slowly, as Clipper's batch sizes do by additive increase and multiplicative decrease (D. Crankshaw et
  al., "Clipper: a low-latency online prediction serving system", NSDI 2017, section 4.3). Unlike those it need not miss the target
  to find the size, since the calls' times are measured.

Entries of low priority have given way already: they are neither refused for the target nor counted in what is measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import islice

from batching.entry import Batch, Entry
from batching.errors import PastTarget
from batching.latencies import Latencies, Sketch
from batching.policy import Policy
from batching.sizes import Sizes

#: The share of the target that is aimed at; the rest is for what no clock here sees.
AIM = 0.85
#: The most of the target that a correction takes.
MOST = 0.6
#: The share that a correction gives back of what p99 is below the aim, and the time in which it halves by itself (seconds).
LOOSEN = 0.05
HALF_S = 5.0
#: Entries whose latencies say how wrong the predictions are, and how often that is looked at (seconds).
ENOUGH = 100
CORRECT_S = 0.25
#: Of the calls in flight so many are looked at to tell when a slot is free.
LOOKED_AT = 16


@dataclass(frozen=True, slots=True)
class Tuned:
    """How a batcher with a target works now: rows of a call at most, the longest wait of a window, and the latency that 99 of 100
    accepted entries of the last seconds did not exceed, None where there were none. In seconds."""

    target_s: float
    max_rows: int
    window_s: float
    p99_s: float | None


class Target:
    """What has been measured for one batcher with a target, and what follows from it. ``policy`` is the one that was set.

    ``stacked=False``: every entry is a call of its own. All times are of one clock, in seconds.
    """

    __slots__ = (
        "_correction_s",
        "_fresh",
        "_latencies",
        "_long_s",
        "_looked",
        "_sizes",
        "_stacked",
        "_typical_s",
        "policy",
        "rules",
    )

    def __init__(self, policy: Policy, stacked: bool) -> None:
        self.policy = policy
        #: The policy to work by now: no more rows and no longer a window than that which was set.
        self.rules = policy
        self._stacked = stacked
        self._sizes = Sizes()
        self._latencies, self._fresh = Latencies(), Sketch()
        self._correction_s = 0.0
        self._looked = 0.0  # since when entries count for the next correction
        self._typical_s = self._long_s = 0.0  # of a call of as many rows as may be

    def adopt(self, policy: Policy, now: float) -> Policy:
        """The rules by another policy that was set; what was measured of the calls still holds."""
        self.policy = self.rules = policy
        return self._ruled(now)

    def called(self, batch: Batch, now: float) -> Policy:
        """The rules, now that a batch has ended; call before its entries are answered."""
        if batch.calls == 1:  # the time of a batch that was tried again in halves says nothing of the next
            self._sizes.called(batch.rows, now - batch.started, now)
        self._observe(batch.entries, now)
        return self._ruled(now)

    def refusal(self, rows: int, ahead: int, windows: int, running: Collection[Batch], now: float) -> PastTarget | None:
        """Why an entry is not taken that comes now; None where it is.

        ``ahead`` rows, in so many ``windows``, go before it, and ``running`` are the calls in flight.
        """
        slots, size = self.policy.instances, self.rules.max_rows if self._stacked else 1
        slot_s = 0.0
        if len(running) >= slots:
            slot_s = min([self._left_s(batch, now) for batch in islice(running, LOOKED_AT)])
        elif not ahead:
            return None
        calls = (ahead + rows - 1) // size + max(0, windows - 1)
        end_s, goal_s = slot_s + calls * self._typical_s / slots + self._long_s, self.goal_s(now)
        if end_s <= goal_s:
            return None
        before = (goal_s - slot_s - self._long_s) * slots / self._typical_s if self._typical_s else 0.0
        limit = max(0, (int(before) + 1) * size) if before >= 0 else 0
        return PastTarget(rows, ahead, min(limit, self.policy.queue_rows), end_s, self._target_s, end_s - goal_s)

    def goal_s(self, now: float) -> float:
        """The latency to keep to: less than the target, by as much as predictions were wrong lately."""
        return AIM * self._target_s - self._corrected_s(now)

    def tuned(self, now: float) -> Tuned:
        """How it works now."""
        return Tuned(self._target_s, self.rules.max_rows, self.rules.window_s, self._latencies.quantile(0.99, now))

    @property
    def _target_s(self) -> float:
        return self.policy.target_s or 0.0

    def _corrected_s(self, now: float) -> float:
        return self._correction_s * 0.5 ** ((now - self._looked) / HALF_S) if self._correction_s else 0.0

    def _observe(self, entries: Iterable[Entry], now: float) -> None:
        looked, latencies, fresh = self._looked, self._latencies, self._fresh
        for entry in entries:
            if entry.place <= entry.enqueued and not entry.future.cancelled():
                latencies.add(now - entry.enqueued, now)
                if entry.enqueued >= looked:  # it was taken by the present correction
                    fresh.add(now - entry.enqueued)
        if now < looked + CORRECT_S:
            return
        if fresh.count >= ENOUGH:
            over_s = (fresh.quantile(0.99) or 0.0) - AIM * self._target_s
            step_s = over_s if over_s > 0 else LOOSEN * over_s
            self._correction_s = min(max(0.0, self._corrected_s(now) + step_s), MOST * self._target_s)
        elif now < looked + HALF_S:
            return
        else:  # too few to tell
            self._correction_s = self._corrected_s(now)
        self._looked, self._fresh = now, Sketch()

    def _ruled(self, now: float) -> Policy:
        """Rows and wait, from what is known now."""
        goal_s = self.goal_s(now)
        rows = self._rows(goal_s, now) if self._stacked else 1
        self._typical_s, self._long_s = self._sizes.expected(rows, now)
        window_ms = min(self.policy.window_ms, 1000 * max(0.0, goal_s - self._long_s))
        max_rows = rows if self._stacked else self.policy.max_rows
        if (max_rows, window_ms) != (self.rules.max_rows, self.rules.window_ms):
            self.rules = replace(self.policy, max_rows=max_rows, window_ms=window_ms)
        return self.rules

    def _rows(self, goal_s: float, now: float) -> int:
        """Rows of a call: those with which most are answered within the goal; of equal ones the most."""
        rows = best = self._sizes.worthwhile(self.policy.max_rows, now)
        most = 0.0
        while rows >= 1:
            call_s = self._sizes.expected(rows, now)[1]
            if not call_s:
                return rows
            rate = rows / call_s * min(1.0, goal_s / call_s - 1)
            if rate > most:
                best, most = rows, rate
            rows = 1 << ((rows - 1).bit_length() - 1) if rows > 1 else 0
        return best

    def _left_s(self, batch: Batch, now: float) -> float:
        """How long a call in flight will take yet."""
        return abs(self._sizes.expected(batch.rows, now)[0] - (now - batch.started))
