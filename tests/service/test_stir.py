"""A database's files tell whether somebody wrote to it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from service.store.connection import connect
from service.store.stir import TICK_NS, Stir


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(tmp_path / "a.db", "rwc")) as connection:
        connection.execute("CREATE TABLE numbers (number INTEGER)")
        yield connection


def settle() -> None:
    """Lets what was written become older than a tick."""
    time.sleep(2 * TICK_NS / 1e9)


def calm(path: Path) -> Stir:
    """One that has seen all there is."""
    settle()
    stir = Stir(path / "a.db")
    assert stir.stirred()
    return stir


def test_nothing_stirs_where_nobody_writes(tmp_path: Path, database: sqlite3.Connection) -> None:
    stir = calm(tmp_path)
    database.execute("SELECT number FROM numbers").fetchall()
    assert not stir.stirred()


def test_each_commit_stirs_whoever_made_it(tmp_path: Path, database: sqlite3.Connection) -> None:
    stir = calm(tmp_path)
    for number in range(5):
        with closing(connect(tmp_path / "a.db", "rw")) as other:
            other.execute("INSERT INTO numbers VALUES (?)", (number,))
        assert stir.stirred()
        settle()
        assert stir.stirred()  # somebody may have written within the same tick
        assert not stir.stirred()


def test_a_log_that_begins_anew_stirs_too(tmp_path: Path, database: sqlite3.Connection) -> None:
    database.execute("INSERT INTO numbers VALUES (1)")
    stir = calm(tmp_path)
    database.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    database.execute("INSERT INTO numbers VALUES (2)")
    assert stir.stirred()


def test_a_database_in_its_place_stirs(tmp_path: Path, database: sqlite3.Connection) -> None:
    stir = calm(tmp_path)
    copy = tmp_path / "copy.db"
    copy.write_bytes((tmp_path / "a.db").read_bytes())
    copy.replace(tmp_path / "a.db")
    assert stir.stirred()


def test_rights_that_are_taken_away_stir(tmp_path: Path, database: sqlite3.Connection) -> None:
    stir = calm(tmp_path)
    (tmp_path / "a.db").chmod(0o400)
    assert stir.stirred()


def test_what_is_not_there_may_have_changed_at_any_time(tmp_path: Path) -> None:
    stir = Stir(tmp_path / "a.db")
    assert stir.stirred()
    assert stir.stirred()


def test_what_could_not_be_looked_at_is_to_be_looked_at_again(tmp_path: Path, database: sqlite3.Connection) -> None:
    stir = calm(tmp_path)
    stir.forget()
    assert stir.stirred()
    assert not stir.stirred()
