"""The control store as one worker, or a command beside the server, uses it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.live import Change
from service.errors import ConfigError, StoreUnavailable
from service.guard.credentials.key import Key
from service.store import audit, keys, spent, wishes
from service.store.audit import Entry
from service.store.connection import DAMAGED, code, connect, make_private, opened, told, trouble
from service.store.migrations import MIGRATIONS, migrate, transaction, version
from service.store.wishes import Wanted, Wish

FILE: Final = "control.db"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is wanted, and which keys there are, all read at one moment. ``version`` is for the next look alone."""

    version: tuple[int, int]
    generation: int
    wishes: tuple[Wish, ...]
    keys: tuple[Key, ...] = ()


def prepare(state: Path) -> None:
    """Makes the database, or brings it up to date, before the first worker starts.

    Raises ConfigError where it is damaged, no control store, or newer than this Tureen, and has then not touched the file;
    StoreUnavailable where it cannot be written.
    """
    path = state / FILE
    try:
        make_private(path)
        if path.stat().st_size:
            _refuse_what_is_not_ours(path)
        with closing(connect(path, "rwc")) as connection:
            migrate(connection)
    except OSError as error:
        raise StoreUnavailable(
            f"the control store cannot be used: {error.strerror}; look at the state directory's rights"
        ) from error
    except sqlite3.Error as error:
        if code(error) in DAMAGED:
            raise ConfigError(_damaged(path)) from error
        raise StoreUnavailable(trouble(error)) from error


class ControlStore:
    """One process's way to the database, from any thread. Looks share a connection; changes, which are few, open one each."""

    def __init__(self, state: Path) -> None:
        self.path = state / FILE
        self._reading = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._inode = 0
        self._opened = 0
        self._keys: tuple[Key, ...] = ()
        self._mark: tuple[int, int] | None = None

    def look(self, known: tuple[int, int] | None = None) -> Snapshot | None:
        """What is wanted now; None where nobody has changed anything since the snapshot of that version.

        Raises StoreUnavailable, after which the next look opens the database anew.
        """
        with self._reading:
            return self._look(known)

    def wish(self, model: str, wanted: Wanted, config: str | None, entry: Entry) -> Wish:
        """Writes what is wanted of a model, on trial, and who asked for it. Raises StoreUnavailable."""
        with self._changing() as connection:
            made = wishes.wish(connection, model, wanted, config)
            audit.append(connection, entry)
            return made

    def change(self, model: str, change: Change, entry: Entry) -> Wish:
        """Writes what is changed of a model after a change, on trial, and who asked for it. Raises StoreUnavailable."""
        with self._changing() as connection:
            made = wishes.change(connection, model, change)
            audit.append(connection, entry)
            return made

    def settle(self, done: Wish, entry: Entry) -> None:
        """The wish is what is wanted from now on. Raises StoreUnavailable."""
        with self._changing() as connection:
            wishes.settle(connection, done)
            audit.append(connection, entry)

    def withdraw(self, failed: Wish, entry: Entry) -> None:
        """The wish could not be brought about: what was wanted before is wanted again. Raises StoreUnavailable."""
        with self._changing() as connection:
            wishes.withdraw(connection, failed)
            audit.append(connection, entry)

    def keys(self) -> tuple[Key, ...]:
        """All keys, also those that are no good any more. Raises StoreUnavailable."""
        with opened(self.path, "rw") as connection:
            return keys.keys(connection)

    def create_key(self, key: Key, entry: Entry) -> None:
        """Writes a new key. Raises StoreUnavailable."""
        with self._changing() as connection:
            keys.create(connection, key)
            audit.append(connection, entry)

    def rotate_key(self, key_id: str, made: tuple[str, bytes], overlap_s: float, entry: Entry) -> tuple[Key, Key]:
        """Writes the successor of a key, with the ID and digest of ``made``, at the time of the entry; both keys as they are then.

        Raises KeyRefused, StoreUnavailable.
        """
        with self._changing() as connection:
            old, new = keys.rotate(connection, key_id, made, entry.at, overlap_s)
            audit.append(connection, entry)
            return old, new

    def revoke_key(self, key_id: str, entry: Entry) -> Key:
        """Ends a key at the time of the entry; the key as it is then. Raises KeyRefused, StoreUnavailable."""
        with self._changing() as connection:
            revoked = keys.revoke(connection, key_id, entry.at)
            audit.append(connection, entry)
            return revoked

    def spent(self, day: int, most: int) -> dict[str, int]:
        """What was spent of quotas on a day since the epoch, at most so many. Raises StoreUnavailable."""
        with opened(self.path, "rw") as connection:
            return spent.spent(connection, day, most)

    def keep_spent(self, day: int, counts: Mapping[str, int]) -> None:
        """Writes what was spent of quotas on a day. Raises StoreUnavailable."""
        with self._changing() as connection:
            spent.keep_spent(connection, day, counts)

    def append(self, entry: Entry) -> None:
        """Writes a line of the audit that goes with no other change. Raises StoreUnavailable."""
        with self._changing() as connection:
            audit.append(connection, entry)

    def audit(self, limit: int = 100) -> tuple[Entry, ...]:
        """The audit's last lines, the newest first. Raises StoreUnavailable."""
        with opened(self.path, "rw") as connection:
            return audit.latest(connection, limit)

    def close(self) -> None:
        """Closes what ``look`` has opened; another look opens it again."""
        with self._reading:
            self._close()

    def _look(self, known: tuple[int, int] | None) -> Snapshot | None:
        try:
            with told():
                reader = self._open()
                seen = (self._opened, int(reader.execute("PRAGMA data_version").fetchone()[0]))
                if seen == known:
                    return None
                reader.execute("BEGIN")
                try:
                    return Snapshot(seen, wishes.generation(reader), wishes.wishes(reader), self._look_at_keys(reader))
                finally:
                    reader.execute("COMMIT")
        except BaseException:
            self._close()
            raise

    def _look_at_keys(self, reader: sqlite3.Connection) -> tuple[Key, ...]:
        mark = (self._opened, keys.mark(reader))
        if mark != self._mark:
            self._keys, self._mark = keys.keys(reader), mark
        return self._keys

    def _close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            with contextlib.suppress(sqlite3.Error):
                reader.close()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with opened(self.path, "rw") as connection:
            with transaction(connection):
                yield connection
            # Changes are few: each goes to the database's own file at once, which is then whole without its log.
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _open(self) -> sqlite3.Connection:
        try:
            inode = os.stat(self.path).st_ino
        except OSError as error:
            raise StoreUnavailable(f"the control store cannot be used: its file cannot be reached ({error.strerror})") from error
        if self._reader is None or inode != self._inode:  # a copy was put in its place
            self._close()
            self._reader, self._inode = connect(self.path, "rw"), inode
            self._opened += 1
        return self._reader


def _refuse_what_is_not_ours(path: Path) -> None:
    """Raises ConfigError. Reads alone, so that a file that is refused stays as it is."""
    with closing(connect(path, "ro")) as connection:
        (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if sound != "ok":
            raise ConfigError(_damaged(path))
        known, has = len(MIGRATIONS), version(connection)
        if has > known:
            raise ConfigError(
                f"{path} was written by a newer Tureen: its schema is version {has}, and this Tureen knows up to {known}; "
                "run the newer one, or give another [store] state_dir"
            )
        if has == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
            raise ConfigError(f"{path} is a database of another program; give another [store] state_dir")


def _damaged(path: Path) -> str:
    return (
        f"{path} is damaged and was left as it is; put a copy of it from a backup in its place, "
        "or move it away to start with what the repository has"
    )
