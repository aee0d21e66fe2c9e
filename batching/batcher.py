"""The batcher: entries in, one call for many of them, each entry's own rows out.

A thin shell around the decisions in ``window``: it keeps the queue, the slots and the timers of one event loop. Its state changes
on that loop alone; only ``collate.compute`` runs in a thread. Everything that the loop calls back goes through ``_guarded``, so
that a defect fails what the batcher holds, is logged, and never leaves a future waiting.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Hashable
from concurrent.futures import Executor

from batching.collate import Outcome, compute
from batching.cut import submit_in_parts
from batching.entry import Answer, Arrays, Batch, Call, Entry
from batching.errors import Closed, DeadlineExceeded, Defect, QueueFull, TooManyRows
from batching.pace import Pace
from batching.policy import Policy
from batching.queue import Queue
from batching.statistics import Statistics
from batching.window import Close, Reason, View, decide, share

log = logging.getLogger("tureen.batching")

#: After a defect the batcher refuses for this long, doubled with each further defect in a row (seconds).
RESTART_S, RESTART_MAX_S = 1.0, 30.0


class Batcher:
    """Collects entries on the running event loop and runs them as few, large calls on ``pool``.

    ``stacked=False`` is for calls that do not take rows: each entry is computed on its own. ``pure=False`` is for calls that
    change something: a failed batch is not tried again in halves.
    """

    def __init__(
        self,
        call: Call,
        policy: Policy,
        pool: Executor,
        *,
        name: str = "batcher",
        stacked: bool = True,
        pure: bool = True,
    ) -> None:
        self.policy = policy
        self.name = name
        self.statistics = Statistics()
        self._call, self._pool, self._stacked, self._pure = call, pool, stacked, pure
        self._loop = asyncio.get_running_loop()
        self._queue = Queue()
        self._running: dict[int, Batch] = {}
        self._pace = Pace()
        self._arrivals = 0
        self._seen = 0
        self._last_start = -math.inf
        self._turn_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._closing: asyncio.Future[None] | None = None
        self._down_until = 0.0
        self._defects_in_a_row = 0

    @property
    def healthy(self) -> bool:
        """False after a defect, until the batcher has started again."""
        return self._loop.time() >= self._down_until

    @property
    def queued_rows(self) -> int:
        """Rows that wait for a slot."""
        return self._queue.rows

    @property
    def calls_in_flight(self) -> int:
        """Slots in use."""
        return len(self._running)

    def submit(
        self,
        inputs: Arrays,
        rows: int,
        outputs: tuple[str, ...] = (),
        *,
        group: Hashable = None,
        timeout_s: float | None = None,
    ) -> asyncio.Future[Answer]:
        """Queues checked rows and returns the future of their answer; cancelling it withdraws them.

        Entries share a call when ``group`` and ``outputs`` agree. Raises Closed, QueueFull, TooManyRows, and DeadlineExceeded where
        the answer cannot come within ``timeout_s`` (default: the policy's). The future ends with an Answer, with what the call
        raised, or with a BatchingError.
        """
        now = self._loop.time()
        self._admit(rows, now, timeout_s)
        if rows > self.policy.max_rows and self._stacked:
            return submit_in_parts(
                self._enqueue, inputs, rows, outputs, group, self._deadline(now, timeout_s), self.policy.max_rows
            )
        return self._enqueue(inputs, rows, outputs, group, self._deadline(now, timeout_s))

    async def close(self) -> None:
        """Takes nothing more, finishes what it holds, and returns when the last call has ended."""
        if self._closing is None:
            self._closing = self._loop.create_future()
        self._guarded(self._advance)
        await asyncio.shield(self._closing)

    # -- the door --------------------------------------------------------------------------------------------------------

    def _deadline(self, now: float, timeout_s: float | None) -> float:
        return now + (self.policy.timeout_s if timeout_s is None else timeout_s)

    def _admit(self, rows: int, now: float, timeout_s: float | None) -> None:
        if self._closing is not None:
            raise Closed(f"{self.name} is being closed and takes no more requests")
        if now < self._down_until:
            raise Closed(f"{self.name} failed and starts again", self._down_until - now)
        queued = self._queue.rows
        if queued + rows > self.policy.queue_rows:
            if rows > self.policy.queue_rows:
                raise TooManyRows(rows, self.policy.queue_rows)
            self._queue.prune(self._alive)  # those whose callers have left make room
            queued = self._queue.rows
            if queued + rows > self.policy.queue_rows:
                self.statistics.refused += 1
                raise QueueFull(rows, queued, self.policy.queue_rows, self._wait_s(queued))
        if queued:
            left = self.policy.timeout_s if timeout_s is None else timeout_s
            wait_s = self._wait_s(queued)
            if wait_s > left:
                self.statistics.refused += 1
                raise DeadlineExceeded(
                    f"{queued} rows wait already, for about {1000 * wait_s:.0f} ms, and the request has {1000 * left:.0f} ms",
                    "admission",
                )

    def _wait_s(self, queued: int) -> float:
        """How long rows queued behind so many others wait: calls, not rows, are what takes time."""
        calls = -(-queued // self.policy.max_rows)
        return calls * self._pace.call_s(min(queued, self.policy.max_rows)) / self.policy.instances

    def _enqueue(
        self, inputs: Arrays, rows: int, outputs: tuple[str, ...], group: Hashable, deadline: float
    ) -> asyncio.Future[Answer]:
        loop = self._loop
        future: asyncio.Future[Answer] = loop.create_future()
        self._arrivals += 1
        entry = Entry(inputs, rows, outputs, group if self._stacked else self._arrivals, loop.time(), deadline, future)
        self._queue.put(entry)
        if self._expiry is None or deadline < self._expiry.when():
            self._expire_at(deadline)
        if not self._turn_due:
            self._turn_due = True
            loop.call_soon(self._guarded, self._turn)
        return future

    # -- the turn: which windows close now -------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Runs once in each turn of the loop that brought entries, after all of them have joined their windows."""
        if self._arrivals != self._seen and self._queue.rows < self.policy.max_rows and len(self._running) < self.policy.instances:
            # While every turn of the loop still brings company, what is already in the sockets is awaited; the first turn
            # that brings none, or the window's end, closes.
            self._seen = self._arrivals
            self._loop.call_soon(self._guarded, self._turn)
            return
        self._turn_due = False
        self._advance()

    def _may_hold(self) -> bool:
        oldest = self._queue.oldest
        return (
            oldest is not None
            and self._queue.rows < self.policy.max_rows
            and len(self._running) < self.policy.instances
            and self._loop.time() < oldest.enqueued + self.policy.window_s
        )

    def _advance(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._loop.time()
        wake = math.inf
        for bucket in list(self._queue.windows):
            while bucket in self._queue.windows:
                idle = self.policy.instances - len(self._running)
                if idle <= 0:
                    return
                window = self._queue.windows[bucket]
                reason: Reason = "closing"
                if self._closing is None:
                    rows = share(window.rows, self.policy.max_rows, idle)
                    view = View(
                        window.rows, window.entries[0].enqueued, self._last_start, self._pace.call_s(rows), self._pace.gap_s
                    )
                    decision = decide(view, self.policy, now) if self._stacked else Close("early")
                    if not isinstance(decision, Close):
                        wake = min(wake, decision.until)
                        break
                    reason = decision.reason
                entries = self._queue.take(bucket, share(window.rows, self.policy.max_rows, idle), self._alive)
                if entries:
                    self._start(Batch(reason, sum(entry.rows for entry in entries), entries, now, self._arrivals))
        if wake < math.inf:
            self._timer = self._loop.call_at(wake, self._guarded, self._advance)
        if self._closing is not None and not self._closing.done() and not self._running and not self._queue.rows:
            self._close_now(self._closing)

    def _alive(self, entry: Entry) -> bool:
        """Whether somebody still waits for it; tells an entry whose time is over so."""
        if entry.future.done():
            self.statistics.cancelled += entry.future.cancelled()
            return False
        if entry.deadline <= self._loop.time():
            self._expire(entry, "queue")
            return False
        return True

    # -- a call and its end ----------------------------------------------------------------------------------------------

    def _start(self, batch: Batch) -> None:
        self._last_start = batch.started
        self._running[id(batch)] = batch
        self._pool.submit(self._work, batch)

    def _work(self, batch: Batch) -> None:
        """In a thread of the pool."""
        outcomes = compute(batch, self._call, stacked=self._stacked, pure=self._pure)
        try:
            self._loop.call_soon_threadsafe(self._guarded, self._finish, batch, outcomes)
        except RuntimeError:  # the loop was closed while the call ran: nobody is left to tell
            log.warning("%s: a call ended after its event loop", self.name)

    def _finish(self, batch: Batch, outcomes: list[Outcome]) -> None:
        if id(batch) not in self._running:
            return  # a defect has failed these entries already
        now = self._loop.time()
        self._pace.called(batch.rows, now - batch.started, self._arrivals - batch.arrivals_before)
        self._defects_in_a_row = 0
        statistics = self.statistics
        statistics.called(batch)
        for entry, outcome in zip(batch.entries, outcomes, strict=True):
            took = now - entry.enqueued
            if entry.future.done():
                statistics.cancelled += entry.future.cancelled()
            elif isinstance(outcome, BaseException):
                statistics.fail.add(took)
                entry.future.set_exception(outcome if isinstance(outcome, Exception) else _as_exception(outcome))
            else:
                statistics.success.add(took)
                statistics.rows += entry.rows
                queue_s = batch.started - entry.enqueued
                statistics.queue.add(queue_s)
                entry.future.set_result(Answer(outcome, queue_s, batch.call_s, batch.rows, batch.reason))
        del self._running[id(batch)]
        if self._closing is not None:
            self._advance()
        elif self._queue.rows and not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._guarded, self._turn)

    # -- deadlines -------------------------------------------------------------------------------------------------------

    def _expire_at(self, when: float) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = self._loop.call_at(when, self._guarded, self._expire_all)

    def _expire_all(self) -> None:
        """Answers every entry whose time is over, queued or in a call; the one timer of all deadlines, armed for the earliest."""
        self._expiry = None
        self._queue.prune(self._alive)
        now = self._loop.time()
        earliest = min((entry.deadline for entry in self._queue), default=math.inf)
        for batch in self._running.values():
            for entry in batch.entries:
                if entry.future.done():
                    continue
                if entry.deadline <= now:
                    self._expire(entry, "call")
                else:
                    earliest = min(earliest, entry.deadline)
        if earliest < math.inf:
            self._expire_at(earliest)

    def _expire(self, entry: Entry, stage: str) -> None:
        self.statistics.expired += 1
        waited = 1000 * (self._loop.time() - entry.enqueued)
        if stage == "queue":
            error = DeadlineExceeded(f"the deadline passed after {waited:.0f} ms, while the request waited for its turn", "queue")
        else:
            error = DeadlineExceeded(f"the deadline passed after {waited:.0f} ms, while the model computed", "call")
        entry.future.set_exception(error)

    # -- supervision -----------------------------------------------------------------------------------------------------

    def _guarded(self, step: Callable[..., None], *arguments: object) -> None:
        try:
            step(*arguments)
        except Exception:
            log.exception("%s: a defect in the batcher; it fails what it holds and starts again", self.name)
            self._restart()

    def _restart(self) -> None:
        self.statistics.defects += 1
        pause = min(RESTART_S * 2**self._defects_in_a_row, RESTART_MAX_S)
        self._defects_in_a_row += 1
        self._down_until = self._loop.time() + pause
        held = self._queue.clear() + [entry for batch in self._running.values() for entry in batch.entries]
        self._running.clear()
        self._turn_due = False
        for entry in held:
            if not entry.future.done():
                entry.future.set_exception(Defect(f"{self.name} failed while it held the request"))
        if self._closing is not None and not self._closing.done():
            self._close_now(self._closing)

    def _close_now(self, closing: asyncio.Future[None]) -> None:
        for timer in (self._timer, self._expiry):
            if timer is not None:
                timer.cancel()
        self._timer = self._expiry = None
        closing.set_result(None)


def _as_exception(raised: BaseException) -> Exception:
    """A future cannot carry SystemExit and its kind; the name is kept."""
    error = RuntimeError(f"the call raised {type(raised).__name__}: {raised}")
    error.__cause__ = raised
    return error
