"""The database's schema as the steps that made it. A change of it is one more step at the end; those before it never change.

``PRAGMA user_version`` is the number of steps that a database has behind it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

_MODELS: Final = """
-- Rises with every change that workers have to follow. It begins at the clock's milliseconds, so that a database which takes
-- the place of a lost one is ahead of whatever workers have followed.
CREATE TABLE generation (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL
) STRICT;

-- Of a model: at most one wish that is settled, and those after it whose fate is not known yet.
CREATE TABLE wanted (
    generation INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    wanted TEXT NOT NULL CHECK (wanted IN ('loaded', 'unloaded')),
    config TEXT,
    settled INTEGER NOT NULL DEFAULT 0 CHECK (settled IN (0, 1)),
    changed_at REAL NOT NULL
) STRICT;

CREATE INDEX wanted_by_model ON wanted (model);

CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL,
    outcome TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit is only ever appended to');
END;

CREATE TRIGGER audit_is_not_rewritten BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit is only ever appended to');
END;
"""

_AUDIT_CHAIN: Final = """
ALTER TABLE audit ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN request_id TEXT NOT NULL DEFAULT '';

-- The SHA-256 over the line before and this one; lines from before this step have none, and the first one after them holds them.
ALTER TABLE audit ADD COLUMN hash BLOB;

-- INSERT OR REPLACE deletes without asking the trigger that forbids it.
CREATE TRIGGER audit_is_appended_to BEFORE INSERT ON audit
WHEN NEW.hash IS NULL OR EXISTS (SELECT 1 FROM audit WHERE number >= NEW.number) BEGIN
    SELECT RAISE(ABORT, 'the audit is only ever appended to');
END;
"""

_KEYS: Final = """
-- `digest` is the SHA-256 of a key of 256 random bits; the key itself is nowhere.
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    scopes TEXT NOT NULL,
    models TEXT,
    budget TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL,
    revoked REAL,
    successor TEXT
) STRICT;

CREATE TRIGGER keys_stay BEFORE DELETE ON keys BEGIN
    SELECT RAISE(ABORT, 'keys are revoked, not deleted');
END;

CREATE TRIGGER keys_stay_revoked BEFORE UPDATE ON keys
WHEN OLD.revoked IS NOT NULL BEGIN
    SELECT RAISE(ABORT, 'what is revoked stays so');
END;
"""

_SPENT: Final = """
-- What has been spent of quotas on the last day, which is counted from the epoch, of UTC.
CREATE TABLE spent (
    name TEXT PRIMARY KEY,
    day INTEGER NOT NULL,
    units INTEGER NOT NULL
) STRICT;
"""

_KEYS_MARK: Final = """
-- Another number after each change of the keys: most changes of the database are none, and there may be thousands of keys.
CREATE TABLE keys_mark (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL
) STRICT;

INSERT INTO keys_mark VALUES (1, random());

CREATE TRIGGER keys_mark_inserted AFTER INSERT ON keys BEGIN
    UPDATE keys_mark SET number = random();
END;

CREATE TRIGGER keys_mark_updated AFTER UPDATE ON keys BEGIN
    UPDATE keys_mark SET number = random();
END;
"""

_CONFIGURED: Final = """
-- A wish may be one for how a model is configured too. SQLite changes a CHECK by a new table alone.
CREATE TABLE wanted_now (
    generation INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    wanted TEXT NOT NULL CHECK (wanted IN ('loaded', 'unloaded', 'configured')),
    config TEXT,
    settled INTEGER NOT NULL DEFAULT 0 CHECK (settled IN (0, 1)),
    changed_at REAL NOT NULL
) STRICT;

INSERT INTO wanted_now SELECT generation, model, wanted, config, settled, changed_at FROM wanted;
DROP TABLE wanted;
ALTER TABLE wanted_now RENAME TO wanted;
CREATE INDEX wanted_by_model ON wanted (model);
"""

MIGRATIONS: Final[tuple[str, ...]] = (_MODELS, _AUDIT_CHAIN, _KEYS, _SPENT, _KEYS_MARK, _CONFIGURED)


def migrate(connection: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Takes the steps that the database has not behind it, each in one transaction; who comes second finds them taken."""
    while version(connection) < len(migrations):
        with transaction(connection):
            done = version(connection)  # another process may have been quicker
            if done >= len(migrations):
                return
            for statement in _statements(migrations[done]):
                connection.execute(statement)
            if done == 0:
                connection.execute("INSERT INTO generation VALUES (1, ?)", (time.time_ns() // 1_000_000,))
            connection.execute(f"PRAGMA user_version = {done + 1}")


def version(connection: sqlite3.Connection) -> int:
    """How many steps the database has behind it."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of what is done within, or nothing; takes the write lock at once, so that what is read within stays true."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors have rolled back already
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """The script's statements: ``executescript`` would commit before the first, and so end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise ValueError(f"the migration ends within a statement: {statement.strip()[:80]}")
