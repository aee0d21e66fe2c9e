"""The batcher: entries in, one call for many of them, each entry's own rows out.

A thin shell around the decisions in ``window``: it keeps the queue, the slots and the timers of one event loop. Its state changes
on that loop alone; only ``collate.compute`` runs in a thread. Everything that the loop calls back goes through ``_guarded``, so
that a defect fails what the batcher holds, is logged, and never leaves a future waiting.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Executor
from functools import partial

from batching import settle
from batching.alarm import Alarm
from batching.collate import compute
from batching.company import Company
from batching.cut import submit_in_parts
from batching.door import Door
from batching.entry import Answer, Arrays, Batch, Call, Entry
from batching.errors import Defect
from batching.outage import Outage
from batching.pace import Pace
from batching.policy import Policy
from batching.priority import NORMAL, Priority, place_of
from batching.queue import Queue, Window
from batching.statistics import Statistics
from batching.target import Target, Tuned
from batching.window import Close, View, Wait, decide, share

log = logging.getLogger("tureen.batching")

#: A hop to a thread and back costs the loop about as much as such a call does (seconds).
BRIEF_S = 100e-6


class Batcher:
    """Collects entries on the running event loop and runs them as few, large calls on ``pool``.

    ``stacked=False`` is for calls that do not take rows: each entry is computed on its own. ``pure=False`` is for calls that
    change something: a failed batch is not tried again in halves. ``steady=True`` is for calls whose time depends on their rows
    alone: one that was measured to take less than a hop to a thread costs, and that nobody shares, runs on the loop.
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
        steady: bool = False,
    ) -> None:
        self.name = name
        self.statistics = Statistics()
        self._call, self._pool, self._stacked, self._pure, self._steady = call, pool, stacked, pure, steady
        self._loop = loop = asyncio.get_running_loop()
        # uvloop's own clock stands still within a turn and has steps of 1 ms, too coarse to measure calls with.
        self._clock = loop.time if isinstance(loop, asyncio.BaseEventLoop) else time.monotonic
        self._queue = Queue()
        self._running: set[Batch] = set()
        self._pace = Pace()
        self._arrivals = self._seen = 0
        self._turn_due = False
        self._company = Company()
        self._wake = Alarm(loop, self._clock, partial(self._guarded, self._advance))
        self._expiry = Alarm(loop, self._clock, partial(self._guarded, self._expire_due))
        self._moment = -math.inf
        self._closing: asyncio.Future[None] | None = None
        self._outage = Outage()
        self._door = Door(name, self._queue, self._running, self._pace, self._outage, self.statistics)
        self._target: Target | None = None
        self._adopt(policy)

    @property
    def healthy(self) -> bool:
        """False after a defect, until the batcher has started again."""
        return self._clock() >= self._outage.until

    @property
    def queued_rows(self) -> int:
        """Rows that wait for a slot."""
        return self._queue.rows

    @property
    def crowded(self) -> bool:
        """Whether more rows wait than one call takes, so that somebody may be refused."""
        return self._queue.rows >= self._rules.max_rows

    @property
    def calls_in_flight(self) -> int:
        """Slots in use."""
        return len(self._running)

    @property
    def tuned(self) -> Tuned | None:
        """What its target makes it do now; None where it has none."""
        return None if self._target is None else self._target.tuned(self._clock())

    def submit(
        self,
        inputs: Arrays,
        rows: int,
        outputs: tuple[str, ...] = (),
        *,
        group: Hashable = None,
        timeout_s: float | None = None,
        priority: Priority = NORMAL,
    ) -> asyncio.Future[Answer]:
        """Queues checked rows and returns the future of their answer; cancelling it withdraws them.

        Entries share a call when ``group`` and ``outputs`` agree, whatever their priorities. Raises Closed, QueueFull, TooManyRows,
        DeadlineExceeded where the answer cannot come within ``timeout_s`` (default: the policy's), and ValueError for less than one
        row. The future ends with an Answer, with what the call raised, or with a BatchingError.
        """
        now = self._clock()
        left = self._timeout_s if timeout_s is None else timeout_s
        place = now if priority is NORMAL else place_of(priority, now, self._ageing_s)
        # One row more for the next call has nothing to be refused for: what is left of one call, and its own, are within its time.
        room = self._queue.rows < self._room and rows == 1 and left > 3 * self._pace.slowest_s
        if not room or not left > 0 or self._closing is not None or now < self._outage.until:
            refused = self._door.refusal(rows, now, left, place)
            if refused is not None:
                raise refused
        if rows > self._rules.max_rows and self._stacked:
            enqueue = partial(self._enqueue, outputs=outputs, group=group, now=now, deadline=now + left, place=place)
            return submit_in_parts(enqueue, inputs, rows, self._rules.max_rows)
        return self._enqueue(inputs, rows, outputs, group, now, now + left, place)

    def knock(self, rows: int = 1, timeout_s: float | None = None) -> Exception | None:
        """What an entry of so many rows and normal priority would be refused with now; None where it would not.

        What will be refused need not be decoded first: it is when callers are too many that this time is dear.
        """
        return self._door.knock(rows, self._clock(), self._timeout_s if timeout_s is None else timeout_s)

    def reconfigure(self, policy: Policy) -> None:
        """Works by another policy from now on: what waits is looked at anew, and calls in flight end as they began.

        Nobody who was taken is given up, though more rows wait than may now; entries keep their deadlines, and the parts that they
        were cut into. On the batcher's event loop. A policy of wrong settings cannot be made: Policy raises ValueError.
        """
        self._adopt(policy)
        self._guarded(self._advance)

    async def close(self) -> None:
        """Takes nothing more, finishes what it holds, and returns when the last call has ended."""
        if self._closing is None:
            self._closing = self._loop.create_future()
            self._door.closed = True
        self._guarded(self._advance)
        await asyncio.shield(self._closing)

    def abandon(self, why: Exception) -> int:
        """Ends every entry that it holds with ``why`` and returns their number; calls in flight go on, for nobody."""
        held = [*self._queue.clear(), *(entry for batch in self._running for entry in batch.entries)]
        waited = sum([not entry.future.done() for entry in held])
        settle.fail(held, self._clock(), why, self.statistics)
        return waited

    def _adopt(self, policy: Policy) -> None:
        self.policy = policy
        self._timeout_s, self._ageing_s = policy.timeout_s, policy.ageing_s
        target = self._target = None if policy.target_p99_ms is None else self._target or Target(policy, self._stacked)
        self._door.target = target
        self._rules = self._door.rules = policy if target is None else target.adopt(policy, self._clock())
        self._room = min(policy.max_rows, policy.queue_rows) if target is None else 0  # then the door looks at everybody

    # -- the queue -------------------------------------------------------------------------------------------------------

    def _enqueue(
        self, inputs: Arrays, rows: int, outputs: tuple[str, ...], group: Hashable, now: float, deadline: float, place: float
    ) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._arrivals += 1
        self._queue.put(Entry(inputs, rows, outputs, group if self._stacked else None, now, deadline, place, future))
        if deadline < self._expiry.when:
            self._expiry.set(deadline)
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._guarded, self._turn)
        return future

    # -- the turn: which windows close now -------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Runs once in each turn of the loop that brought entries, after all of them have joined their windows."""
        brought = self._arrivals - self._seen
        self._seen = self._arrivals
        if self._company.awaited(brought, self._queue.rows) and self._may_hold():
            self._loop.call_soon(self._guarded, self._turn)
            return
        self._turn_due = False
        self._advance()

    def _may_hold(self) -> bool:
        return (
            self._queue.rows < self._rules.max_rows
            and len(self._running) < self._rules.instances
            and self._clock() < self._queue.oldest + self._rules.window_s
        )

    def _advance(self, due: float = -math.inf) -> None:
        """Closes what is to be closed now; ``due`` is the time that an alarm was set for, if one rang."""
        self._moment = max(self._clock(), due)
        wake = math.inf
        slots = self._rules.instances
        for bucket in self._queue.buckets if len(self._running) < slots else ():
            window = self._queue.windows[bucket]
            decision = self._decide(window)
            if isinstance(decision, Wait):
                wake = min(wake, decision.until)
                continue
            while window.entries and (idle := slots - len(self._running)) > 0:
                room = share(window.rows, self._rules.max_rows, idle) if self._stacked else 1  # one entry, of whatever rows
                keep = self._alive
                if (window.rows > idle * self._rules.max_rows) if self._stacked else (len(window.entries) > idle):
                    # More wait than can be computed now: none is computed in vain that will not have its answer in time.
                    keep = partial(self._alive, spare_s=window.spare_s(self._pace.call_s(room), self._moment))
                entries = self._queue.take(bucket, room, keep)
                if entries:
                    rows = sum([entry.rows for entry in entries])
                    if idle == 1 and self._queue.rows:
                        self._pace.filled(rows / self._rules.max_rows)
                    self._start(Batch(decision.reason, rows, entries, self._clock(), self._arrivals))
            if len(self._running) >= slots:
                wake = math.inf  # the end of a call is what is waited for
                break
        self._pace.free = math.nan  # nobody took it at once
        self._wake.set(wake)
        if self._closing is not None and not self._running and not self._queue.rows:
            self._close_now(self._closing)

    def _decide(self, window: Window) -> Close | Wait:
        if self._closing is not None:
            return Close("closing")
        if not self._stacked:
            return Close("early")
        pace = self._pace
        rows = share(window.rows, self._rules.max_rows, self._rules.instances - len(self._running))
        view = View(window.rows, window.oldest, window.deadline, pace.rested, pace.call_s(rows), pace.gap_s)
        return decide(view, self._rules, self._moment)

    def _alive(self, entry: Entry, spare_s: float = 0.0) -> bool:
        return settle.waits(entry, self._moment, self.statistics, spare_s)

    # -- a call and its end ----------------------------------------------------------------------------------------------

    def _start(self, batch: Batch) -> None:
        self._running.add(batch)
        self._company.last = len(batch.entries)
        self._pace.started(batch.rows, batch.started, self._rules.instances)
        if self._steady and len(batch.entries) == 1 and self._pace.compute_s(batch.rows) < BRIEF_S:
            compute(batch, self._call, stacked=self._stacked, pure=self._pure)
            self._loop.call_soon(self._guarded, self._finish, batch)
            return
        try:
            self._pool.submit(self._work, batch)
        except BaseException:
            self._running.remove(batch)
            self._fail(batch.entries)
            raise

    def _work(self, batch: Batch) -> None:
        """In a thread of the pool."""
        compute(batch, self._call, stacked=self._stacked, pure=self._pure)
        try:
            self._loop.call_soon_threadsafe(self._guarded, self._finish, batch)
        except RuntimeError:  # the loop was closed while the call ran: nobody is left to tell
            log.warning("%s: a call ended after its event loop", self.name)

    def _finish(self, batch: Batch) -> None:
        self._running.discard(batch)
        try:
            now = self._clock()
            if batch.calls == 1:  # the time of a batch that was tried again in halves says nothing of the next
                arrivals = self._arrivals - batch.arrivals_before
                self._pace.called(batch.rows, now - batch.started, arrivals, now, batch.call_s)
                self._pace.free = now if self.crowded else math.nan
            if self._target is not None:
                self._rules = self._door.rules = self._target.called(batch, now)
            settle.answer(batch, now, self.statistics)
        except BaseException:
            self._fail(batch.entries)
            raise
        finally:
            batch.entries.clear()
            batch.outcomes.clear()
        self._outage.end()
        if self._closing is not None:
            self._advance()
        elif self._queue.rows and not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._guarded, self._turn)

    # -- deadlines -------------------------------------------------------------------------------------------------------

    def _expire_due(self, due: float) -> None:
        """Answers every entry whose time is over, queued or in a call; the one alarm of all deadlines is set for the earliest."""
        self._moment = max(self._clock(), due)
        self._queue.prune(self._alive)
        queued = min([window.deadline for window in self._queue.windows.values()], default=math.inf)
        self._expiry.set(min(queued, settle.expire_called(self._running, self._moment, self.statistics)))

    # -- supervision -----------------------------------------------------------------------------------------------------

    def _guarded(self, step: Callable[..., None], *arguments: object) -> None:
        try:
            step(*arguments)
        except Exception:
            log.exception("%s: a defect in the batcher; it fails what it holds and starts again", self.name)
            self._restart()

    def _restart(self) -> None:
        self.statistics.defects += 1
        self._outage.begin(self._clock())
        self._turn_due = False
        waiting = self._queue.clear()
        self.statistics.cancelled += sum([entry.future.cancelled() for entry in waiting])
        self._fail(waiting)
        for batch in self._running:  # nobody waits for these calls any more, but they keep their slots until they end
            self._fail(batch.entries)
        if self._closing is not None and not self._running:
            self._close_now(self._closing)

    def _fail(self, entries: Iterable[Entry]) -> None:
        settle.fail(entries, self._clock(), Defect(f"{self.name} failed while it held the request"), self.statistics)

    def _close_now(self, closing: asyncio.Future[None]) -> None:
        self._wake.set(math.inf)
        self._expiry.set(math.inf)
        if not closing.done():
            closing.set_result(None)
