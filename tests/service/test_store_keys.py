from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from service.errors import StoreUnavailable
from service.guard.credentials.key import Key, digest, mint
from service.guard.principal import Budget, Scope
from service.processes.state_directory import state_directory
from service.store import ControlStore, Entry, KeyRefused, prepare
from service.store import connection as connections
from tests.service.disorder import locked

NOW = 1_800_000_000.0
DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ControlStore]:
    prepare(tmp_path)
    made = ControlStore(tmp_path)
    yield made
    made.close()


def key(expires: float | None = None) -> Key:
    number, shown = mint()
    rights = frozenset({Scope.INFER, Scope.METRICS}), frozenset({"m", "n"}), Budget(requests_per_s=1.5, rows_per_day=7)
    return Key(number, "ci", digest(shown.encode()), *rights, NOW, expires)


def entry(action: str, at: float = NOW) -> Entry:
    return Entry("user:root", f"key {action}", "key:x", "done", {}, at)


def made(store: ControlStore, expires: float | None = None) -> Key:
    created = key(expires)
    store.create_key(created, entry("create"))
    return created


def successor() -> tuple[str, bytes]:
    number, shown = mint()
    return number, digest(shown.encode())


def test_a_key_comes_back_as_it_was_made(store: ControlStore) -> None:
    one, other = made(store), made(store, NOW + DAY)
    assert set(store.keys()) == {one, other}


def test_a_look_has_the_keys_that_there_are(store: ControlStore) -> None:
    seen = store.look()
    assert seen is not None
    assert seen.keys == ()
    created = made(store)
    seen = store.look(seen.version)
    assert seen is not None
    assert seen.keys == (created,)


def test_keys_are_read_again_only_when_they_have_changed(store: ControlStore) -> None:
    created = made(store)
    first = store.look()
    store.append(entry("load"))
    second = store.look()
    store.revoke_key(created.id, entry("revoke"))
    third = store.look()
    assert first is not None
    assert second is not None
    assert third is not None
    assert second.keys is first.keys
    assert [held.revoked for held in third.keys] == [NOW]


def test_a_rotated_key_has_a_successor_with_its_rights_and_ends_after_the_overlap(store: ControlStore) -> None:
    created, new = made(store), successor()
    old, young = store.rotate_key(created.id, new, 3600, entry("rotate", NOW + DAY))
    assert (old.expires, old.successor) == (NOW + DAY + 3600, young.id)
    assert (young.id, young.digest) == new
    assert (young.name, young.scopes, young.models, young.budget) == (created.name, created.scopes, created.models, created.budget)
    assert (young.created, young.expires) == (NOW + DAY, None)
    assert store.keys() == (old, young)


def test_a_lifetime_begins_anew_with_a_successor_and_no_overlap_makes_it_longer(store: ControlStore) -> None:
    created = made(store, NOW + 10 * DAY)
    old, young = store.rotate_key(created.id, successor(), 5 * DAY, entry("rotate", NOW + 9 * DAY))
    assert old.expires == NOW + 10 * DAY
    assert young.expires == NOW + 19 * DAY
    _, third = store.rotate_key(young.id, successor(), 0, entry("rotate", NOW + 12 * DAY))
    assert third.expires == NOW + 22 * DAY


def test_a_key_is_rotated_once(store: ControlStore) -> None:
    created = made(store)
    _, young = store.rotate_key(created.id, successor(), DAY, entry("rotate"))
    with pytest.raises(KeyRefused, match=f"rotate the one that succeeds it, {young.id}"):
        store.rotate_key(created.id, successor(), DAY, entry("rotate"))


def test_a_revoked_key_stays_so_and_its_successor_does_not_follow_it(store: ControlStore) -> None:
    created = made(store)
    _, young = store.rotate_key(created.id, successor(), DAY, entry("rotate"))
    assert store.revoke_key(created.id, entry("revoke", NOW + 1)).revoked == NOW + 1
    held = store.keys()
    there = {key.id: key.revoked for key in held}
    assert there == {created.id: NOW + 1, young.id: None}
    with pytest.raises(KeyRefused, match="is revoked, and cannot be revoked"):
        store.revoke_key(created.id, entry("revoke"))
    with pytest.raises(KeyRefused, match="is revoked, and cannot be rotated"):
        store.rotate_key(created.id, successor(), DAY, entry("rotate"))


def test_a_key_that_has_expired_or_never_was_is_refused_and_nothing_is_written(store: ControlStore) -> None:
    created = made(store, NOW + 1)
    before = store.keys(), store.audit()
    with pytest.raises(KeyRefused, match="has expired"):
        store.rotate_key(created.id, successor(), DAY, entry("rotate", NOW + 1))
    with pytest.raises(KeyRefused, match="there is no key abcdefghij"):
        store.revoke_key("abcdefghij", entry("revoke"))
    assert (store.keys(), store.audit()) == before


def test_each_change_and_its_line_of_the_audit_are_written_together(store: ControlStore) -> None:
    created = made(store)
    _, young = store.rotate_key(created.id, successor(), DAY, entry("rotate"))
    store.revoke_key(young.id, entry("revoke"))
    assert [line.action for line in store.audit()] == ["key revoke", "key rotate", "key create"]
    with pytest.raises(StoreUnavailable):
        store.create_key(created, entry("create"))  # its ID is taken
    assert len(store.audit()) == 3


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE FROM keys", "revoked, not deleted"),
        ("UPDATE keys SET revoked = NULL WHERE revoked IS NOT NULL", "what is revoked stays so"),
    ],
)
def test_the_database_itself_keeps_what_is_revoked(tmp_path: Path, store: ControlStore, statement: str, reason: str) -> None:
    store.revoke_key(made(store).id, entry("revoke"))
    with closing(sqlite3.connect(tmp_path / "control.db")) as connection, pytest.raises(sqlite3.IntegrityError, match=reason):
        connection.execute(statement)


def test_a_store_that_another_process_holds_refuses_a_key_and_has_none_of_it(
    tmp_path: Path, store: ControlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BUSY_S", 0.1)
    with locked(tmp_path / "control.db"), pytest.raises(StoreUnavailable):
        made(store)
    assert store.keys() == ()


def test_what_is_made_for_keys_is_its_owners_alone(tmp_path: Path) -> None:
    with state_directory(tmp_path / "deep" / "state") as state:
        assert state is not None
        prepare(state)
        store = ControlStore(state)
        made(store)
        store.look()
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()} == {0o600}
        store.close()


def test_a_directory_that_was_there_keeps_its_mode_and_a_store_that_was_open_is_its_owners_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    (tmp_path / "control.db").touch(0o640)
    with state_directory(tmp_path) as state:
        assert state is not None
        prepare(state)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "control.db").stat().st_mode) == 0o600
