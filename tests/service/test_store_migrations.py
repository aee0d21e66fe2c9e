from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from service.errors import ConfigError
from service.store import prepare
from service.store.connection import connect
from service.store.migrations import MIGRATIONS, migrate, transaction, version

OPEN = "import sys, pathlib; from service.store import prepare; sys.stdin.readline(); prepare(pathlib.Path(sys.argv[1]))"
NUMBERS = "CREATE TABLE numbers (number INTEGER);"


def schema(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [str(sql) for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name")]


def test_a_new_database_has_every_step_behind_it(tmp_path: Path) -> None:
    prepare(tmp_path)
    with closing(connect(tmp_path / "control.db", "rw")) as connection:
        assert version(connection) == len(MIGRATIONS)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_preparing_again_changes_nothing(tmp_path: Path) -> None:
    prepare(tmp_path)
    before = (tmp_path / "control.db").read_bytes()
    prepare(tmp_path)
    assert (tmp_path / "control.db").read_bytes() == before


def test_a_new_store_is_ahead_of_one_made_before_it(tmp_path: Path) -> None:
    numbers = []
    for name in ("older", "newer"):
        (tmp_path / name).mkdir()
        with closing(connect(tmp_path / name / "control.db", "rwc")) as connection:
            migrate(connection)
            numbers.append(connection.execute("SELECT number FROM generation").fetchone()[0])
    assert 0 < numbers[0] <= numbers[1]


def test_processes_that_open_a_new_database_at_once_all_find_it_whole(tmp_path: Path) -> None:
    opening = [
        subprocess.Popen([sys.executable, "-c", OPEN, str(tmp_path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in opening:
        assert process.stdin is not None
        process.stdin.write("now\n")
        process.stdin.flush()
    for process in opening:
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")
    alone = tmp_path / "alone"
    alone.mkdir()
    prepare(alone)
    assert schema(tmp_path / "control.db") == schema(alone / "control.db")


def test_each_step_is_taken_once(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "some.db", "rwc")) as connection:
        migrate(connection)
        more = (*MIGRATIONS, NUMBERS, "INSERT INTO numbers VALUES (1);\nINSERT INTO numbers VALUES (2);")
        for _ in range(2):
            migrate(connection, more)
        assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (2,)
        assert version(connection) == len(MIGRATIONS) + 2


def test_a_step_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "some.db", "rwc")) as connection:
        migrate(connection)
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            migrate(connection, (*MIGRATIONS, NUMBERS + "\nINSERT INTO nowhere VALUES (1);"))
        assert version(connection) == len(MIGRATIONS)
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'numbers'").fetchone() == (0,)


def test_a_step_that_ends_within_a_statement_is_refused(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "some.db", "rwc")) as connection, pytest.raises(ValueError, match="ends within a statement"):
        migrate(connection, ("CREATE TABLE half (",))


def test_a_transaction_that_raises_changes_nothing(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "some.db", "rwc")) as connection:
        connection.execute("CREATE TABLE numbers (number INTEGER NOT NULL)")
        with pytest.raises(sqlite3.IntegrityError), transaction(connection):
            connection.executemany("INSERT INTO numbers VALUES (?)", [(1,), (None,)])
        assert connection.execute("SELECT * FROM numbers").fetchall() == []


def test_a_database_of_a_newer_release_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    prepare(tmp_path)
    path = tmp_path / "control.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=rf"newer Tureen: its schema is version {len(MIGRATIONS) + 1}"):
        prepare(tmp_path)
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="of another program"):
        prepare(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("keep", [0, 100, 4096], ids=["all", "past the head", "past the first page"])
def test_a_damaged_database_is_refused_by_its_name_and_left_as_it_is(tmp_path: Path, keep: int) -> None:
    prepare(tmp_path)
    path = tmp_path / "control.db"
    whole = path.read_bytes()
    path.write_bytes(damaged := whole[:keep] + b"\x5a" * (len(whole) - keep))
    with pytest.raises(ConfigError, match=r"control\.db is damaged .* put a copy of it from a backup in its place"):
        prepare(tmp_path)
    assert path.read_bytes() == damaged


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    (tmp_path / "control.db").touch()
    prepare(tmp_path)
    assert schema(tmp_path / "control.db")
