"""The jobs of a server: what was asked, what is done, and each result once, in a database that all its workers share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.guard.principal import Principal
from service.jobs.record import Job, State
from service.sections import Jobs


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that one worker has for a while. ``lease`` is the proof of it."""

    job: Job
    lease: str
    principal: Principal


@dataclass(frozen=True, slots=True)
class Calling:
    """A finished job whose callback is due; ``tries``: how often it was tried before."""

    job: Job
    tries: int


class Ledger:
    """One worker's way to the jobs. All methods block, so they are called in the jobs' own thread; each is one transaction, and
    raises StoreUnavailable where the database cannot be used."""

    def __init__(self, state: Path, bounds: Jobs, clock: Callable[[], float] = time.time) -> None: ...

    # -- taking jobs in ------------------------------------------------------------------------------------------------

    def create(
        self,
        owner: Principal,
        model: str,
        version: str | None = None,
        label: str | None = None,
        *,
        callback: str | None = None,
        idempotency_key: str | None = None,
        body_digest: bytes | None = None,
    ) -> tuple[Job, bool]:
        """A new job that receives its rows, or the one that its owner asked for with that key before, and whether it was there.

        ``body_digest`` of a body that streams is not known yet: give it to ``seal``, or to ``check`` where the job was there.
        Raises JobsFull; IdempotencyClash where the key was of another body or target, or its first request still arrives.
        """
        raise NotImplementedError

    def check(self, job_id: str, body_digest: bytes) -> None:
        """Raises IdempotencyClash where the job was sealed with another digest; UnknownJob."""

    def append(self, job_id: str, rows: Sequence[bytes]) -> int:
        """Adds rows to a job that receives, each one JSON value; how many it has then. Raises JobsFull, UnknownJob."""
        raise NotImplementedError

    def seal(self, job_id: str, body_digest: bytes | None = None) -> Job:
        """All rows have come: the job is queued. Raises UnknownJob."""
        raise NotImplementedError

    def abandon(self, job_id: str) -> None:
        """Forgets a job whose body did not come whole."""

    # -- telling of them -----------------------------------------------------------------------------------------------

    def get(self, job_id: str) -> Job:
        """Raises UnknownJob, also while it receives."""
        raise NotImplementedError

    def listed(self, owner: str | None = None) -> list[Job]:
        """All jobs of an owner, of everybody without one; the newest first."""
        raise NotImplementedError

    def results(self, job_id: str, start: int, limit: int) -> list[bytes]:
        """The results from row ``start`` on that there are by now, at most ``limit``, each a line of JSON without its line feed.
        An empty list: none yet, or no more. Raises UnknownJob."""
        raise NotImplementedError

    def cancel(self, job_id: str) -> Job:
        """No more rows are computed, and the results that there are stay; a job that is over stays as it is. Raises UnknownJob."""
        raise NotImplementedError

    def delete(self, job_id: str) -> None:
        """Forgets a job and its results, also one that runs. Raises UnknownJob."""

    # -- calling back --------------------------------------------------------------------------------------------------

    def claim_callback(self, for_s: float) -> Calling | None:
        """A finished job whose callback is due; nobody else gets it for so many seconds."""
        raise NotImplementedError

    def called(self, job_id: str, again_in_s: float | None = None) -> None:
        """Its callback was delivered or is given up (None), or is due again in so many seconds."""

    # -- running them --------------------------------------------------------------------------------------------------

    def claim(self, worker: str) -> Claim | None:
        """The next job that nobody runs, or whose worker has not been heard of for too long; None where there is none."""
        raise NotImplementedError

    def renew(self, claim: Claim) -> bool:
        """Holds the job for longer; False where it is not held any more: cancelled, deleted, or another's."""
        raise NotImplementedError

    def defer(self, claim: Claim, for_s: float) -> None:
        """Gives the job back; it is not claimed again for so many seconds."""

    def rows_after(self, job_id: str, first: int, limit: int) -> list[bytes]:
        """At most ``limit`` rows from row ``first`` on."""
        raise NotImplementedError

    def put_results(self, claim: Claim, first: int, results: Sequence[bytes], failed: int) -> bool:
        """Writes the results of the rows from ``first`` on, all or none; after the last row's the job has succeeded.

        False where it wrote nothing: the job is not held any more, or row ``first`` is not the next one. Raises JobsFull.
        """
        raise NotImplementedError

    def settle(self, claim: Claim, state: State, error: str | None = None) -> bool:
        """The job is over; False where it is not held any more."""
        raise NotImplementedError

    def expire(self) -> int:
        """Forgets finished jobs that are too old, and bodies that stopped arriving; how many."""
        raise NotImplementedError

    def counts(self) -> dict[State, int]:
        """How many jobs there are of each state."""
        raise NotImplementedError

    def close(self) -> None: ...
