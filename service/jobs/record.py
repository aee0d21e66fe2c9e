"""A job, as it is kept and told of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from service.guard.principal import Principal


class State(StrEnum):
    """What becomes of a job: queued, running, then one of the others. ``RECEIVING``: its body still arrives, shown to nobody."""

    RECEIVING = "receiving"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing more becomes of it."""
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Job:
    """One job. ``owner``: its principal's name. ``rows``: so far, while it is received. ``done``: rows that have their result, of
    which ``failed`` are errors. ``created`` and ``finished``: seconds since the epoch. ``error``: why it failed as a whole."""

    id: str
    owner: str
    model: str
    version: str | None
    label: str | None
    state: State
    rows: int
    done: int
    failed: int
    created: float
    finished: float | None = None
    error: str | None = None
    callback: str | None = None


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
