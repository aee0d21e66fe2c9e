from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from service.errors import StoreUnavailable
from service.store import ControlStore, Entry, Snapshot, Wanted, Wish, prepare
from service.store import connection as connections
from service.store.connection import opened, trouble
from tests.service.disorder import damaged, gone, locked

ASKED = Entry("anonymous", "load", "m", "asked", {"request_id": "r1"})
DONE = Entry("anonymous", "load", "m", "done")
MANY = """
import pathlib, sys
from service.store import ControlStore, Entry, Wanted
store = ControlStore(pathlib.Path(sys.argv[1]))
for _ in range(50):
    print(store.wish(sys.argv[2], Wanted.LOADED, None, Entry("anonymous", "load", sys.argv[2], "asked")).generation)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ControlStore]:
    prepare(tmp_path)
    made = ControlStore(tmp_path)
    yield made
    made.close()


def looked(store: ControlStore) -> Snapshot:
    snapshot = store.look()
    assert snapshot is not None
    return snapshot


def test_a_wish_is_on_trial_until_it_is_settled(store: ControlStore) -> None:
    wish = store.wish("m", Wanted.LOADED, '{"batching": {}}', ASKED)
    assert looked(store).wishes == (Wish(wish.generation, "m", Wanted.LOADED, '{"batching": {}}'),)
    store.settle(wish, DONE)
    assert looked(store).wishes == (Wish(wish.generation, "m", Wanted.LOADED, '{"batching": {}}', settled=True),)


def test_a_settled_wish_takes_the_place_of_those_before_it_of_its_model_alone(store: ControlStore) -> None:
    other, _, last = (store.wish(model, Wanted.UNLOADED, None, ASKED) for model in ("other", "m", "m"))
    store.settle(last, DONE)
    assert [wish.generation for wish in looked(store).wishes] == [other.generation, last.generation]


def test_a_wish_that_is_withdrawn_leaves_what_was_wanted_before(store: ControlStore) -> None:
    first = store.wish("m", Wanted.LOADED, None, ASKED)
    store.settle(first, DONE)
    store.withdraw(store.wish("m", Wanted.LOADED, "{}", ASKED), DONE)
    assert [(wish.generation, wish.settled) for wish in looked(store).wishes] == [(first.generation, True)]


def test_each_wish_has_a_generation_of_its_own_that_is_never_given_again(store: ControlStore) -> None:
    first = store.wish("m", Wanted.LOADED, None, ASKED)
    store.withdraw(first, DONE)
    assert store.wish("m", Wanted.LOADED, None, ASKED).generation == first.generation + 1 == looked(store).generation


def test_a_look_gives_nothing_until_somebody_changes_something(store: ControlStore) -> None:
    known = looked(store).version
    assert store.look(known) is None
    wish = store.wish("m", Wanted.LOADED, None, ASKED)
    changed = store.look(known)
    assert changed is not None
    assert changed.generation == wish.generation
    assert store.look(changed.version) is None


def test_processes_that_write_at_once_share_one_order(tmp_path: Path, store: ControlStore) -> None:
    writing = [
        subprocess.Popen([sys.executable, "-c", MANY, str(tmp_path), name], stdout=subprocess.PIPE, text=True) for name in "ab"
    ]
    numbers = [int(number) for process in writing for number in process.communicate(timeout=30)[0].split()]
    assert len(set(numbers)) == 100
    assert [wish.generation for wish in looked(store).wishes] == sorted(numbers)


def test_the_audit_says_who_asked_for_what_and_what_became_of_it(store: ControlStore) -> None:
    store.settle(store.wish("m", Wanted.LOADED, None, ASKED), DONE)
    assert store.audit() == (DONE, ASKED)


@pytest.mark.parametrize(
    "statement", ["DELETE FROM audit", "UPDATE audit SET outcome = 'done'", "DELETE FROM audit WHERE number = 1"]
)
def test_the_audit_is_only_ever_appended_to(tmp_path: Path, store: ControlStore, statement: str) -> None:
    store.wish("m", Wanted.LOADED, None, ASKED)
    with closing(sqlite3.connect(tmp_path / "control.db")) as connection, pytest.raises(sqlite3.IntegrityError, match="appended"):
        connection.execute(statement)
    assert store.audit() == (ASKED,)


# -- out of order: each time it is said why, nothing is lost, and it works again when the cause is gone -----------------------


@contextmanager
def full(path: Path) -> Iterator[None]:
    """No file of this process may grow past what the database has: as on a disk without room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    if os.geteuid() == 0 and shutil.which("chattr") is None:
        pytest.skip("nothing is read-only to root here")
    path.chmod(0o400)
    immutable = os.geteuid() == 0 and subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode == 0
    if os.geteuid() == 0 and not immutable:
        pytest.skip("nothing is read-only to root here")
    try:
        yield
    finally:
        if immutable:
            subprocess.run(["chattr", "-i", path], check=True)
        path.chmod(0o600)


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (locked, "another process has held its lock"),
        (full, "its disk"),
        (damaged, "its file is damaged"),
        (gone, "it cannot be opened"),
        (read_only, "read-only|may not be opened|cannot be opened"),
    ],
)
def test_a_store_that_cannot_be_written_says_why_and_loses_nothing(
    tmp_path: Path, store: ControlStore, monkeypatch: pytest.MonkeyPatch, cause: object, reason: str
) -> None:
    monkeypatch.setattr(connections, "BUSY_S", 0.1)
    kept = store.wish("m", Wanted.LOADED, None, ASKED)
    assert callable(cause)
    store.close()
    with cause(tmp_path / "control.db"), pytest.raises(StoreUnavailable, match=reason) as raised:
        store.wish("m", Wanted.UNLOADED, None, ASKED)
    assert str(tmp_path) not in str(raised.value)
    assert looked(store).wishes == (kept,)
    assert store.wish("m", Wanted.UNLOADED, None, ASKED).generation == kept.generation + 1


def test_a_full_disk_is_called_so(tmp_path: Path, store: ControlStore) -> None:
    with closing(sqlite3.connect(tmp_path / "control.db")) as connection:
        connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(sqlite3.OperationalError) as raised:
            connection.execute("INSERT INTO wanted VALUES (1, ?, 'loaded', NULL, 0, 0)", ("m" * 100_000,))
    assert trouble(raised.value) == "the control store cannot be used: its disk is full; make room"


@pytest.mark.parametrize("cause", [damaged, gone])
def test_a_look_at_a_store_out_of_order_raises_and_the_next_one_after_it_does_not(
    tmp_path: Path, store: ControlStore, cause: object
) -> None:
    kept = store.wish("m", Wanted.LOADED, None, ASKED)
    assert callable(cause)
    store.close()
    with cause(tmp_path / "control.db"), pytest.raises(StoreUnavailable):
        store.look()
    assert looked(store).wishes == (kept,)


def test_a_copy_that_is_put_in_its_place_is_seen(tmp_path: Path, store: ControlStore) -> None:
    path, copy = tmp_path / "control.db", tmp_path / "copy.db"
    store.wish("m", Wanted.LOADED, None, ASKED)
    known = looked(store).version
    with opened(path, "rw") as connection, closing(sqlite3.connect(copy)) as target:
        connection.backup(target)
        target.execute("DELETE FROM wanted")
        target.commit()
    copy.rename(path)
    snapshot = store.look(known)
    assert snapshot is not None
    assert snapshot.wishes == ()
