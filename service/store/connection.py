"""A connection to the database, and what can be wrong with one, in words."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Literal

from service.errors import StoreUnavailable

Mode = Literal["ro", "rw", "rwc"]

#: How long a writer waits for another (seconds). Writes take a millisecond, so one that takes longer hangs.
BUSY_S: Final = 2.0

CONTROL: Final = "the control store"

_DAMAGED: Final = "its file is damaged; stop the server, put a copy in its place or move it away, and start the server again"
_TROUBLE: Final = {
    sqlite3.SQLITE_BUSY: f"another process has held its lock for {BUSY_S:g} s; end that process, or try again",
    sqlite3.SQLITE_LOCKED: f"another process has held its lock for {BUSY_S:g} s; end that process, or try again",
    sqlite3.SQLITE_FULL: "its disk is full; make room",
    sqlite3.SQLITE_IOERR: "its disk cannot be read or written; look for what the system's log says of it",
    sqlite3.SQLITE_READONLY: "it is read-only; make the state directory writable",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; put the state directory back, with the server's right to write there",
    sqlite3.SQLITE_PERM: "it may not be opened; give the server the right to write to the state directory",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}
DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def connect(path: Path, mode: Mode) -> sqlite3.Connection:
    """A connection in autocommit, for whichever thread holds it. Raises sqlite3.Error."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        if mode == "rwc":
            _write_ahead(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def make_private(path: Path) -> None:
    """Makes the file, for its owner alone, if it is not there; SQLite gives the files beside it the same mode and owner."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        with contextlib.suppress(PermissionError):  # another user's; who may read it is that one's affair
            if path.stat().st_mode & 0o077:  # of a release that left that to the umask
                path.chmod(0o600)
        return
    try:
        directory = path.parent.stat()
        if os.geteuid() == 0 and directory.st_uid != 0:
            # A command that root gives beside a server of another user must not lock the server out.
            os.fchown(descriptor, directory.st_uid, directory.st_gid)
    finally:
        os.close(descriptor)


@contextmanager
def opened(path: Path, mode: Mode) -> Iterator[sqlite3.Connection]:
    """A connection for the length of a ``with``. Raises StoreUnavailable in place of sqlite3.Error."""
    with told(), closing(connect(path, mode)) as connection:
        yield connection


@contextmanager
def told(store: str = CONTROL) -> Iterator[None]:
    """Within, StoreUnavailable is raised in place of sqlite3.Error."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnavailable(trouble(error, store)) from error


def trouble(error: sqlite3.Error, store: str = CONTROL) -> str:
    """What is wrong with a store, in a sentence that is safe to show a caller."""
    reason = _TROUBLE.get(code(error), "it failed; the server's log has the reason")
    return f"{store} cannot be used: {reason}"


def code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; -1 where Python's module raised by itself."""
    extended = getattr(error, "sqlite_errorcode", None)
    return -1 if extended is None else int(extended) & 0xFF


def _write_ahead(connection: sqlite3.Connection) -> None:
    """WAL, so that readers and a writer do not wait for each other. SQLite does not wait for its turn to switch to it."""
    last = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > last:
                raise
            time.sleep(0.01)
        else:
            return
