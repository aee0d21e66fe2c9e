"""The jobs of a server: what was asked, what is done, and each result once, in a database that all its workers share.

A worker has a job for as long as it holds its *lease*, which ends by itself if it is not renewed. Results are written together
with the number of rows that are done, by the holder of the lease alone, and only where they follow the last: whoever is killed
at any moment, the next one goes on behind the last result that is there.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from service.errors import StoreUnavailable
from service.guard.principal import Principal
from service.jobs import chunks, entries
from service.jobs.entries import CLAIMABLE, HELD, LEAVES, SHOWN
from service.jobs.ledger_schema import COLUMNS, LEDGER, job_of, open_ledger
from service.jobs.record import Calling, Claim, Job, State
from service.sections import Jobs
from service.store.connection import told
from service.store.migrations import transaction

#: How long a worker has a job without a word of it (seconds). A clock that is set may end it sooner, which harms nothing.
LEASE_S: Final = 10.0
#: How long a body may pause before what came of it is forgotten (seconds).
RECEIVE_S: Final = 120.0
#: Chunks that one transaction removes, so that it holds the others up for some milliseconds.
_SWEPT: Final = 64
#: Pages that are then given back to the disk.
_VACUUMED: Final = 1024

_ID: Final = 16
_PRINCIPAL: Final = msgspec.msgpack.Decoder(Principal)


class Ledger:
    """One worker's way to the jobs. All methods block, so they are called in the jobs' own thread; each is one transaction, and
    raises StoreUnavailable where the database cannot be used, after which the next one opens it anew."""

    def __init__(self, state: Path, bounds: Jobs, clock: Callable[[], float] = time.time) -> None:
        self._state, self._bounds, self._clock = state, bounds, clock
        self._connection: sqlite3.Connection | None = None

    def now(self) -> float:
        """Seconds since the epoch, as the ledger counts them."""
        return self._clock()

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
        now = self._clock()
        with self._changing() as connection:
            entries.expire(connection, now, self._bounds.max_age_s)
            if idempotency_key is not None:
                found = connection.execute(
                    f"SELECT {COLUMNS}, body_digest FROM jobs WHERE owner = ? AND idempotency_key = ?",
                    (owner.name, idempotency_key),
                ).fetchone()
                if found is not None:
                    return entries.check_same(found, (model, version, label, callback), body_digest), True
            entries.check_number(connection, self._bounds, now)
            job = Job(secrets.token_hex(_ID), owner.name, model, version, label, State.RECEIVING, 0, 0, 0, now, callback=callback)
            connection.execute(
                "INSERT INTO jobs (id, owner, principal, model, version, label, state, created, callback, idempotency_key, "
                "body_digest, due) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(job.id, owner.name, msgspec.msgpack.encode(owner), model, version, label, job.state, now),
                    *(callback, idempotency_key, body_digest, now + RECEIVE_S),
                ),
            )
            return job, False

    def check(self, job_id: str, body_digest: bytes) -> None:
        """Raises IdempotencyClash where the job was sealed with another digest; UnknownJob."""
        with self._reading() as connection:
            (digest,) = entries.look_up(connection, job_id, "body_digest")
        entries.check_digest(digest, body_digest)

    def append(self, job_id: str, rows: Sequence[bytes]) -> int:
        """Adds rows to a job that receives, each one JSON value; how many it has then. Raises JobsFull, UnknownJob."""
        with self._changing() as connection:
            number, has = entries.look_up_arriving(connection, job_id)
            took = chunks.write(connection, "rows", number, has, rows, self._bounds.chunk_rows)
            connection.execute(
                "UPDATE jobs SET rows = rows + ?, bytes = bytes + ?, due = ? WHERE number = ?",
                (len(rows), took, self._clock() + RECEIVE_S, number),
            )
            entries.check_bytes(connection, self._bounds)
            return has + len(rows)

    def seal(self, job_id: str, body_digest: bytes | None = None) -> Job:
        """All rows have come: the job is queued, or over where there are none. Raises UnknownJob."""
        now = self._clock()
        with self._changing() as connection:
            number, rows = entries.look_up_arriving(connection, job_id)
            connection.execute(
                "UPDATE jobs SET state = 'queued', due = ?, body_digest = coalesce(?, body_digest) WHERE number = ?",
                (now, body_digest, number),
            )
            if not rows:
                entries.end(connection, number, State.SUCCEEDED, now)
            return entries.job(connection, job_id)

    def abandon(self, job_id: str) -> None:
        """Forgets a job whose body did not come whole."""
        with self._changing() as connection:
            connection.execute(f"UPDATE jobs SET {LEAVES} WHERE id = ? AND state = 'receiving'", (job_id,))

    # -- telling of them -----------------------------------------------------------------------------------------------

    def get(self, job_id: str) -> Job:
        """Raises UnknownJob, also while it receives."""
        with self._reading() as connection:
            return entries.job(connection, job_id)

    def listed(self, owner: str | None = None) -> list[Job]:
        """All jobs of an owner, of everybody without one; the newest first."""
        with self._reading() as connection:
            found = connection.execute(
                f"SELECT {COLUMNS} FROM jobs WHERE {SHOWN} AND owner = coalesce(?, owner) ORDER BY number DESC", (owner,)
            )
            return [job_of(row) for row in found]

    def results(self, job_id: str, start: int, limit: int) -> list[bytes]:
        """Results from row ``start`` on, at most ``limit`` and perhaps fewer than there are, each a line of JSON without its line
        feed. An empty list: none yet, or no more. Raises UnknownJob."""
        with self._reading() as connection:
            (number,) = entries.look_up(connection, job_id, "number")
            return chunks.read(connection, "results", number, start, limit)

    def cancel(self, job_id: str) -> Job:
        """No more rows are computed, and the results that there are stay; a job that is over stays as it is. Raises UnknownJob."""
        with self._changing() as connection:
            number, state = entries.look_up(connection, job_id, "number, state")
            if not State(state).final:
                entries.end(connection, number, State.CANCELLED, self._clock())
            return entries.job(connection, job_id)

    def delete(self, job_id: str) -> None:
        """Forgets a job and its results, also one that runs. Raises UnknownJob."""
        with self._changing() as connection:
            (number,) = entries.look_up(connection, job_id, "number")
            connection.execute(f"UPDATE jobs SET {LEAVES} WHERE number = ?", (number,))

    def counts(self) -> dict[State, int]:
        """How many jobs there are in each state, those that are received left out."""
        with self._reading() as connection:
            found = connection.execute(f"SELECT state, count(*) FROM jobs WHERE {SHOWN} GROUP BY state")
            return dict.fromkeys([state for state in State if state is not State.RECEIVING], 0) | {
                State(state): count for state, count in found
            }

    # -- calling back --------------------------------------------------------------------------------------------------

    def claim_callback(self, for_s: float) -> Calling | None:
        """A finished job whose callback is due; nobody else gets it for so many seconds, in which it counts as tried."""
        now = self._clock()
        due = f"FROM jobs WHERE callback_due <= ? AND {SHOWN} ORDER BY callback_due LIMIT 1"
        with self._reading() as connection:
            if connection.execute(f"SELECT 1 {due}", (now,)).fetchone() is None:
                return None
        with self._changing() as connection:
            found = connection.execute(f"SELECT {COLUMNS}, number, callback_tries {due}", (now,)).fetchone()
            if found is None:
                return None
            *_, number, tries = found
            connection.execute(
                "UPDATE jobs SET callback_due = ?, callback_tries = callback_tries + 1 WHERE number = ?", (now + for_s, number)
            )
            return Calling(job_of(found), tries)

    def called(self, job_id: str, again_in_s: float | None = None) -> None:
        """Its callback was delivered or is given up (None), or is due again in so many seconds."""
        due = None if again_in_s is None else self._clock() + again_in_s
        with self._changing() as connection:
            connection.execute("UPDATE jobs SET callback_due = ? WHERE id = ?", (due, job_id))

    # -- running them --------------------------------------------------------------------------------------------------

    def claim(self) -> Claim | None:
        """The next job that nobody runs, or whose worker has not been heard of for too long; None where there is none.

        The oldest of the owner who has the fewest running.
        """
        now = self._clock()
        with self._reading() as connection:  # most often there is nothing, and then nobody is held up
            if connection.execute(f"SELECT 1 FROM jobs WHERE {CLAIMABLE} LIMIT 1", (now,)).fetchone() is None:
                return None
        with self._changing() as connection:
            found = connection.execute(
                f"SELECT {COLUMNS}, number, principal FROM jobs WHERE {CLAIMABLE} ORDER BY (SELECT count(*) FROM jobs other "
                "WHERE other.owner = jobs.owner AND other.state = 'running' AND other.due > ?), number LIMIT 1",
                (now, now),
            ).fetchone()
            if found is None:
                return None
            *_, number, principal = found
            lease = secrets.token_hex(_ID)
            connection.execute(
                "UPDATE jobs SET state = 'running', lease = ?, due = ? WHERE number = ?", (lease, now + LEASE_S, number)
            )
            return Claim(entries.job(connection, found[0]), lease, _PRINCIPAL.decode(principal))

    def renew(self, claim: Claim) -> bool:
        """Holds the job for longer; False where it is not held any more: cancelled, deleted, or another's."""
        with self._changing() as connection:
            due = self._clock() + LEASE_S
            changed = connection.execute(f"UPDATE jobs SET due = ? WHERE {HELD}", (due, claim.job.id, claim.lease))
            return changed.rowcount > 0

    def defer(self, claim: Claim, for_s: float) -> None:
        """Gives the job back; it is not claimed again for so many seconds."""
        with self._changing() as connection:
            connection.execute(
                f"UPDATE jobs SET state = 'queued', lease = NULL, due = ? WHERE {HELD}",
                (self._clock() + for_s, claim.job.id, claim.lease),
            )

    def rows_after(self, claim: Claim, first: int, limit: int) -> list[bytes]:
        """Rows from row ``first`` on, at least one and at most ``limit``; none where the job is not held any more."""
        with self._reading() as connection:
            found = entries.look_up_held(connection, claim)
            return [] if found is None else chunks.read(connection, "rows", found[0], first, limit)

    def put_results(self, claim: Claim, first: int, results: Sequence[bytes], failed: int) -> bool:
        """Writes the results of the rows from ``first`` on, all or none; after the last row's the job has succeeded.

        False where it wrote nothing: the job is not held any more, or row ``first`` is not the next one. Raises JobsFull.
        """
        now = self._clock()
        with self._changing() as connection:
            found = entries.look_up_held(connection, claim)
            if found is None or found[2] != first or not results or first + len(results) > found[1]:
                return False
            number, rows, done = found[0], found[1], first + len(results)
            took = chunks.write(connection, "results", number, first, results, self._bounds.chunk_rows)
            # The chunk that the next row stands in stays: it begins before that row where not all of it is done.
            through = connection.execute("SELECT max(first) FROM rows WHERE job = ? AND first <= ?", (number, done)).fetchone()[0]
            _, freed = chunks.drop(connection, "rows", number, _SWEPT, rows if done == rows else through)
            connection.execute(
                "UPDATE jobs SET done = ?, failed = failed + ?, bytes = bytes + ?, due = ? WHERE number = ?",
                (done, failed, took - freed, now + LEASE_S, number),
            )
            entries.check_bytes(connection, self._bounds)
            if done == rows:
                entries.end(connection, number, State.SUCCEEDED, now)
            return True

    def settle(self, claim: Claim, state: State, error: str | None = None) -> bool:
        """The job is over; False where it is not held any more."""
        with self._changing() as connection:
            found = entries.look_up_held(connection, claim)
            if found is None:
                return False
            entries.end(connection, found[0], state, self._clock(), error)
            return True

    # -- keeping within bounds -----------------------------------------------------------------------------------------

    def expire(self) -> int:
        """Ends jobs that were not done in time, and forgets finished ones that are too old and bodies that stopped arriving; how
        many. What they took goes with ``sweep``."""
        with self._changing() as connection:
            return entries.expire(connection, self._clock(), self._bounds.max_age_s)

    def sweep(self) -> bool:
        """Frees some of what jobs have left behind; whether there is more of it."""
        with self._reading() as connection:
            if connection.execute("SELECT 1 FROM jobs WHERE leaving IS NOT NULL LIMIT 1").fetchone() is None:
                return False
        with self._changing() as connection:
            found = connection.execute("SELECT number, leaving FROM jobs WHERE leaving IS NOT NULL LIMIT 1").fetchone()
            if found is None:
                return False
            number, leaving = found
            count, freed = chunks.drop(connection, "rows", number, _SWEPT)
            if not count and leaving == "all":
                count, freed = chunks.drop(connection, "results", number, _SWEPT)
            if count:
                connection.execute("UPDATE jobs SET bytes = bytes - ? WHERE number = ?", (freed, number))
            elif leaving == "all":
                connection.execute("DELETE FROM jobs WHERE number = ?", (number,))
            else:
                connection.execute("UPDATE jobs SET leaving = NULL WHERE number = ?", (number,))
        with self._reading() as connection:
            connection.executescript(f"PRAGMA incremental_vacuum({_VACUUMED})")  # ``execute`` would stop after the first page
        return True

    def close(self) -> None:
        """Closes the database; another call opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with told(LEDGER):
                if self._connection is None:
                    self._connection = open_ledger(self._state)
                yield self._connection
        except StoreUnavailable:
            self.close()
            raise

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as connection, transaction(connection):
            yield connection
