"""The ledger's database: its tables, and how it is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

from service.errors import StoreUnavailable
from service.jobs.record import Job, State
from service.store.connection import connect, make_private, told
from service.store.migrations import transaction, version

FILE: Final = "jobs.sqlite"
LEDGER: Final = "the ledger of jobs"

# Rows and results stand in chunks: a statement for each of a million rows would take as long as computing them.
_SCHEMA: Final = (
    """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    principal BLOB NOT NULL,
    model TEXT NOT NULL,
    version TEXT,
    label TEXT,
    state TEXT NOT NULL,
    rows INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL,
    finished REAL,
    error TEXT,
    idempotency_key TEXT,
    body_digest BLOB,
    lease TEXT,
    due REAL NOT NULL,
    callback TEXT,
    callback_due REAL,
    callback_tries INTEGER NOT NULL DEFAULT 0,
    leaving TEXT CHECK (leaving IN ('rows', 'all'))
) STRICT
""",
    "CREATE UNIQUE INDEX jobs_by_key ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL",
    "CREATE TABLE rows (job INTEGER NOT NULL, first INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (job, first)) STRICT",
    "CREATE TABLE results (job INTEGER NOT NULL, first INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (job, first)) STRICT",
)
_VERSION: Final = 1

#: The columns that a Job is made of, in its order.
COLUMNS: Final = "id, owner, model, version, label, state, rows, done, failed, created, finished, error, callback"


def open_ledger(state: Path) -> sqlite3.Connection:
    """A connection to the database in that directory, which is made where it is missing. Raises StoreUnavailable."""
    path = state / FILE
    try:
        make_private(path)
    except OSError as error:
        raise StoreUnavailable(f"{LEDGER} cannot be used: {error.strerror}; look at the state directory's rights") from error
    with told(LEDGER):
        connection = connect(path, "rwc")
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def job_of(row: tuple[Any, ...]) -> Job:
    """The job that ``COLUMNS`` tell of."""
    job_id, owner, model, version, label, state, rows, done, failed, created, finished, error, callback, *_ = row
    return Job(job_id, owner, model, version, label, State(state), rows, done, failed, created, finished, error, callback)


def _prepare(connection: sqlite3.Connection) -> None:
    if version(connection) == 0:
        # What jobs leave behind goes back to the disk; an empty database alone can be told so, and only by rewriting it.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")
        with transaction(connection):
            if version(connection) == 0:  # another worker may have been quicker
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
    if version(connection) > _VERSION:
        raise StoreUnavailable(f"{LEDGER} was written by a newer Tureen; run that one, or give another [store] state_dir")
