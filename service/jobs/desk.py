"""What one worker has for jobs: the ledger, the one thread that it is used from, and the runner."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar, TypeVarTuple

from service.config import Config
from service.engine import Engine
from service.errors import Draining, StoreUnavailable
from service.guard.gate import Gate
from service.guard.input.content import Content
from service.jobs.ledger import Ledger
from service.jobs.record import State
from service.jobs.runner import Runner
from service.metrics import families
from service.metrics.families import Family
from service.processes.place import Place

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

log = logging.getLogger("tureen.jobs")

#: How often jobs are counted and what they left behind is freed, and how often what is too old is looked for (seconds).
TIDY_S: Final = 1.0
EXPIRE_S: Final = 20.0


class Desk:
    """``service.jobs``; routes say ``await desk.ask(desk.ledger.get, job_id)``. The ledger is there once the app is served."""

    ledger: Ledger

    def __init__(self, config: Config, place: Place, engine: Engine, gate: Gate) -> None:
        self._bounds, self._content, self._place = config.jobs, Content.of(config.limits), place
        self._engine, self._gate = engine, gate
        self._temporary: Path | None = None
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="tureen-jobs")
        self._runner: Runner | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._counts: Mapping[State, int] = {}

    def readings(self) -> Mapping[tuple[Family, tuple[str, ...]], float]:
        """How jobs stand, for the metrics."""
        read: dict[tuple[Family, tuple[str, ...]], float] = {
            (families.JOBS, (state.value,)): count for state, count in self._counts.items()
        }
        if self._runner is not None:
            read[families.JOB_ROWS, ("prediction",)] = self._runner.rows - self._runner.errors
            read[families.JOB_ROWS, ("error",)] = self._runner.errors
        return read

    async def start(self) -> None:
        """Runs jobs from now on, those of an earlier start first."""
        state = self._place.state
        if state is None:  # then jobs are this worker's own, and gone with it
            state = self._temporary = await asyncio.to_thread(lambda: Path(tempfile.mkdtemp(prefix="tureen-jobs-")))
        self.ledger = Ledger(state, self._bounds)
        self._runner = Runner(self._engine, self._gate, self._content, self.ledger, self.ask, self._bounds.chunk_rows)
        self._runner.start()
        self._tidying = asyncio.get_running_loop().create_task(self._tidy())

    async def ask(self, step: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """Has the ledger do something, in the jobs' own thread. Raises what that raises, and Draining once it is closed."""
        try:
            doing = asyncio.get_running_loop().run_in_executor(self._threads, step, *arguments)
        except RuntimeError as error:
            raise Draining("the server stops; ask another, or again") from error
        return await doing

    def wake(self) -> None:
        """There is a job to run: what ``seal`` is followed by."""
        if self._runner is not None:
            self._runner.wake()

    async def close(self) -> None:
        """Gives back what runs, so that another worker goes on, and closes the ledger."""
        if self._runner is not None:
            if self._tidying is not None:
                self._tidying.cancel()
                await asyncio.wait([self._tidying])
            await self._runner.close()
            await self.ask(self.ledger.close)
        self._threads.shutdown(wait=False)
        if self._temporary is not None:
            await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)

    async def _tidy(self) -> None:
        while True:
            try:
                await self.ask(self.ledger.expire)
                for _ in range(round(EXPIRE_S / TIDY_S)):
                    while await self.ask(self.ledger.sweep):
                        pass  # some at a time, so that whoever reads or writes meanwhile has his turn
                    self._counts = await self.ask(self.ledger.counts)
                    await asyncio.sleep(TIDY_S)
            except StoreUnavailable as error:
                self._counts = {}
                log.warning("jobs are not tidied up: %s", error)
                await asyncio.sleep(EXPIRE_S)
            except Exception:
                log.exception("jobs are not tidied up by a defect")
                await asyncio.sleep(EXPIRE_S)
