"""One worker's share of the work on jobs: claim one, compute its rows a few at a time, write their results, until it is over.

    claim -> rows of a chunk -> pieces of it: charge -> answer -> results of the chunk -> the next chunk, or over

One piece of a job is under way at a time, behind all that anybody waits for. Between two chunks, and whenever there is something
to wait for, the job stands in the ledger as it is: the worker may be killed at any time, and another goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import Final, Protocol, TypeVar, TypeVarTuple

import models
from service.engine import Engine, Served
from service.errors import Forbidden, JobsFull, OverBudget, StoreUnavailable, Unauthorized
from service.guard.gate import Gate
from service.guard.input.content import Content
from service.guard.principal import Scope
from service.jobs.answering import LARGE, Answering, Put
from service.jobs.ledger import LEASE_S, Ledger
from service.jobs.pace import Pace
from service.jobs.record import Claim, State

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

log = logging.getLogger("tureen.jobs")

#: Jobs that one worker computes at once.
AT_ONCE: Final = 2
#: How often the ledger is asked whether there is a job, where nobody of this worker says so (seconds).
LOOK_S: Final = 1.0
#: How often a job that is under way says that it still is, and learns that it was cancelled (seconds).
RENEW_S: Final = LEASE_S / 5
#: Waits up to this are sat out; for longer ones the job is put back, and others may go before it (seconds).
SHORT_S: Final = 1.0
#: How long a model may be unknown that was there when the job was asked for: another worker may have been quicker to load it.
UNKNOWN_S: Final = 30.0


class Ask(Protocol):
    """Has the ledger do something in the jobs' own thread."""

    def __call__(self, step: Callable[[*Arguments], Result], *arguments: *Arguments) -> Awaitable[Result]:
        """Raises what the step does."""


class Failed(Exception):
    """The job as a whole, for a reason that its owner is told."""


class Runner:
    """Runs jobs while it is started. ``rows`` and ``errors``: results that it has written, and those of them that are errors."""

    def __init__(self, engine: Engine, gate: Gate, content: Content, ledger: Ledger, ask: Ask, chunk_rows: int) -> None:
        self._engine, self._gate, self._ledger, self._ask = engine, gate, ledger, ask
        self._answering = Answering(engine, content)
        self._chunk_rows = chunk_rows
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.rows = self.errors = 0

    def start(self) -> None:
        """Looks for jobs from now on."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run()) for _ in range(AT_ONCE)]

    def wake(self) -> None:
        """There is a job."""
        self._news.set()

    async def close(self) -> None:
        """Gives back what it has, so that another worker goes on at once."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self) -> None:
        while not self._engine.draining:
            self._news.clear()
            try:
                claim = await self._ask(self._ledger.claim)
                if claim is not None:
                    await self._hold(claim)
                    continue
            except StoreUnavailable as error:
                log.warning("jobs wait: %s", error)
                await asyncio.sleep(LOOK_S)
            except Exception:  # the next job may fare better
                log.exception("a job was left by a defect")
                await asyncio.sleep(LOOK_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()

    async def _hold(self, claim: Claim) -> None:
        """Works on a job for as long as it is this worker's."""
        work = asyncio.get_running_loop().create_task(self._work(claim))
        try:
            while not (await asyncio.wait([work], timeout=RENEW_S))[0]:
                with suppress(StoreUnavailable):  # the next one may be in time
                    if not await self._ask(self._ledger.renew, claim):
                        work.cancel()
            if not work.cancelled():
                work.result()
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait([work])
                if not work.cancelled() and (error := work.exception()) is not None:
                    log.warning("job %s was left: %s", claim.job.id, error)
                with suppress(StoreUnavailable):
                    await self._ask(self._ledger.defer, claim, 0.0)

    async def _work(self, claim: Claim) -> None:
        """Computes what is left of a job, and says how that ended."""
        job = claim.job
        try:
            await self._compute(claim)
        except Put as later:
            await self._ask(self._ledger.defer, claim, later.for_s)
        except (Failed, JobsFull) as error:
            log.warning("job %s failed: %s", job.id, error)
            await self._ask(self._ledger.settle, claim, State.FAILED, str(error))
        except StoreUnavailable:
            raise
        except Exception:
            log.exception("job %s failed by a defect", job.id)
            await self._ask(self._ledger.settle, claim, State.FAILED, "the server failed to run the job; its log has the reason")

    async def _compute(self, claim: Claim) -> None:
        job, first, pace = claim.job, claim.job.done, Pace()
        while first < job.rows:
            rows = await self._ask(self._ledger.rows_after, claim, first, self._chunk_rows)
            if not rows:
                return  # it is not this worker's any more
            lines: list[bytes] = []
            failed = 0
            try:
                while len(lines) < len(rows):
                    served = self._served(claim)
                    piece = rows[len(lines) : len(lines) + self._fitting(rows, len(lines), pace, served)]
                    piece = piece[: await self._charge(claim, len(piece))]
                    answered_before = served.batcher.statistics.rows
                    made = await self._answering.answer(job.id, served, piece, first + len(lines))
                    now = monotonic()
                    if served.batcher.statistics.rows - answered_before > len(piece) - made.failed or served.batcher.queued_rows:
                        pace.others(now)
                    if not made.failed:
                        pace.took(len(piece), made.held_s, now)
                    lines += made.lines
                    failed += made.failed
                    if rest_s := pace.rest_s(made.held_s, now):
                        await asyncio.sleep(rest_s)
            finally:
                # What is computed is written, also where the rest of the chunk has to wait.
                written = bool(lines) and await self._ask(self._ledger.put_results, claim, first, lines, failed)
                if written:
                    self.rows += len(lines)
                    self.errors += failed
            if not written:
                return
            first += len(lines)

    def _fitting(self, rows: list[bytes], at: int, pace: Pace, served: Served) -> int:
        """How many rows go next: few enough for who comes meanwhile, and to be decoded on the loop."""
        if not served.loaded.runtime.pure:
            return 1  # what changes something is not tried again in halves, so the rows are kept apart from the start
        most = pace.rows(served.batcher.policy.max_rows)
        count = size = 0
        for row in rows[at : at + most]:
            size += len(row)
            if count and size > LARGE:
                break
            count += 1
        return count

    def _served(self, claim: Claim) -> Served:
        """What answers the job now. Raises Put, Failed."""
        job = claim.job
        if self._engine.draining:
            raise Put(0.0)
        try:
            served = self._engine.served(job.model, job.version, job.label)
        except models.NotReady as error:
            raise Put(SHORT_S) from error
        except (models.UnknownModel, models.UnknownVersion) as error:
            if self._engine.unready or self._ledger.now() < job.created + UNKNOWN_S:
                raise Put(SHORT_S) from error
            raise Failed(str(error)) from error
        if not served.signature.batched:
            raise Failed(f"the model {job.model!r} takes no rows: its tensors' first dimension counts something else")
        return served

    async def _charge(self, claim: Claim, rows: int) -> int:
        """Spends the rows of a piece, as its owner may now; fewer where he may never have so many at once. Raises Put, Failed."""
        try:
            grant = self._gate.again(claim.principal, Scope.INFER, claim.job.model)
        except Unauthorized as error:
            raise Failed(f"the job's owner is not known any more: {error.why}") from error
        except Forbidden as error:
            raise Failed(f"the job's owner may not ask the model any more: {error}") from error
        while True:
            try:
                charged = self._gate.charge(grant, rows)
                if charged is not None:
                    await charged
            except OverBudget as error:
                if error.retry_after_s is None:
                    if rows == 1:
                        raise Failed(str(error)) from error
                    rows //= 2
                elif error.retry_after_s > SHORT_S:
                    raise Put(error.retry_after_s) from error
                else:
                    await asyncio.sleep(error.retry_after_s)
            else:
                return rows
