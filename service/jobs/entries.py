"""What the ledger's table of jobs says of one job, and the changes of it that several transactions make."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from service.errors import IdempotencyClash, JobsFull, UnknownJob
from service.jobs.ledger_schema import COLUMNS, job_of
from service.jobs.record import Claim, Job, State
from service.sections import Jobs

#: Of jobs that somebody may be told of.
SHOWN: Final = "state <> 'receiving' AND leaving IS NOT 'all'"
#: Of jobs that a worker may take, at a time.
CLAIMABLE: Final = "state IN ('queued', 'running') AND due <= ? AND leaving IS NULL"
#: Of the job with that id, if that lease holds it still.
HELD: Final = "id = ? AND lease = ? AND state = 'running' AND leaving IS NULL"
#: What makes a job one that is forgotten, whose key may be used again.
LEAVES: Final = "leaving = 'all', lease = NULL, idempotency_key = NULL, callback_due = NULL"
#: When to ask again where no job is over yet (seconds).
FULL_S: Final = 10.0

_OTHER_KEY: Final = "that Idempotency-Key was sent with another request; give each request a key of its own"


def look_up(connection: sqlite3.Connection, job_id: str, columns: str) -> tuple[Any, ...]:
    """Columns of a job that is shown. Raises UnknownJob."""
    return _found(connection, f"SELECT {columns} FROM jobs WHERE id = ? AND {SHOWN}", job_id)


def look_up_arriving(connection: sqlite3.Connection, job_id: str) -> tuple[int, int]:
    """The number and the rows so far of a job whose body arrives. Raises UnknownJob."""
    number, rows = _found(
        connection, "SELECT number, rows FROM jobs WHERE id = ? AND state = 'receiving' AND leaving IS NULL", job_id
    )
    return number, rows


def look_up_held(connection: sqlite3.Connection, claim: Claim) -> tuple[int, int, int] | None:
    """The number of a job, its rows and those that are done; None where it is not held any more."""
    found: tuple[int, int, int] | None = connection.execute(
        f"SELECT number, rows, done FROM jobs WHERE {HELD}", (claim.job.id, claim.lease)
    ).fetchone()
    return found


def job(connection: sqlite3.Connection, job_id: str) -> Job:
    """Raises UnknownJob."""
    return job_of(look_up(connection, job_id, COLUMNS))


def end(connection: sqlite3.Connection, number: int, state: State, now: float, error: str | None = None) -> None:
    """The job is over: what is left of its rows may go, and its callback is due."""
    connection.execute(
        "UPDATE jobs SET state = ?, error = ?, finished = ?, lease = NULL, leaving = 'rows', "
        "callback_due = iif(callback IS NULL, NULL, ?) WHERE number = ?",
        (state, error, now, now, number),
    )


def expire(connection: sqlite3.Connection, now: float, max_age_s: float) -> int:
    """Ends jobs that were not done in time, and forgets finished ones that are too old and bodies that stopped; how many."""
    long_ago = now - max_age_s
    overdue = connection.execute(
        "SELECT number FROM jobs WHERE created < ? AND state IN ('queued', 'running') AND leaving IS NULL", (long_ago,)
    ).fetchall()
    for (number,) in overdue:
        end(connection, number, State.FAILED, now, f"the job was not done within [jobs] max_age_s, which is {max_age_s:g}")
    forgotten = connection.execute(
        f"UPDATE jobs SET {LEAVES} WHERE leaving IS NOT 'all' AND (finished < ? OR (state = 'receiving' AND due < ?))",
        (long_ago, now),
    )
    return len(overdue) + forgotten.rowcount


def check_same(found: tuple[Any, ...], asked: tuple[str | None, ...], body_digest: bytes | None) -> Job:
    """The job that was asked for with the same key before, from COLUMNS and its digest.

    ``asked``: model, version, label and callback now. Raises IdempotencyClash.
    """
    there, digest = job_of(found), found[-1]
    if (there.model, there.version, there.label, there.callback) != asked:
        raise IdempotencyClash(_OTHER_KEY)
    if there.state is State.RECEIVING:
        raise IdempotencyClash("the first request with that Idempotency-Key still arrives; ask again when it was answered")
    check_digest(digest, body_digest)
    return there


def check_digest(known: bytes | None, body_digest: bytes | None) -> None:
    """Raises IdempotencyClash where both are known and differ."""
    if known is not None and body_digest is not None and known != body_digest:
        raise IdempotencyClash(_OTHER_KEY)


def check_number(connection: sqlite3.Connection, bounds: Jobs, now: float) -> None:
    """Raises JobsFull where there is no place for another job."""
    count, oldest = connection.execute("SELECT count(*), min(finished) FROM jobs WHERE leaving IS NOT 'all'").fetchone()
    if count >= bounds.max_jobs:
        again_s = FULL_S if oldest is None else max(1.0, oldest + bounds.max_age_s - now)
        raise JobsFull(f"{count} jobs are kept, as many as [jobs] max_jobs allows; delete one that is over, or ask later", again_s)
    check_bytes(connection, bounds)


def check_bytes(connection: sqlite3.Connection, bounds: Jobs) -> None:
    """Raises JobsFull where all jobs together take more than they may."""
    (size,) = connection.execute("SELECT coalesce(sum(bytes), 0) FROM jobs").fetchone()
    if size > bounds.max_bytes:
        raise JobsFull(
            f"all jobs together would take more than [jobs] max_bytes, {bounds.max_bytes}; delete some that are over, or ask later",
            FULL_S,
        )


def _found(connection: sqlite3.Connection, query: str, job_id: str) -> tuple[Any, ...]:
    found: tuple[Any, ...] | None = connection.execute(query, (job_id,)).fetchone()
    if found is None:
        raise UnknownJob("there is no such job; it may have been deleted, or was over for longer than jobs are kept")
    return found
