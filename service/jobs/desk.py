"""What one worker has for jobs: the ledger, the one thread that it is used from, and the runner."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from service.jobs.ledger import Ledger

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class Desk:
    """``service.jobs``; routes say ``await desk.ask(desk.ledger.get, job_id)``."""

    ledger: Ledger

    async def ask(self, step: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """Has the ledger do something, in the jobs' own thread."""
        raise NotImplementedError

    def wake(self) -> None:
        """There is a job to run: what ``seal`` is followed by."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...
