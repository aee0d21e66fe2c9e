from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.store import Asked, ControlStore, Entry, Trail, audit, operator, prepare
from service.store.audit import DETAIL, WORD, Verdict, lines, verify
from service.store.connection import connect, opened
from service.store.migrations import MIGRATIONS, migrate
from service.store.trail import BURST, EVERY_S

STAYS = ("audit_stays", "audit_is_not_rewritten", "audit_is_appended_to")
PUT_IN = "number, at, actor, action, target, detail, outcome, hash"
words = st.text(st.characters(codec="utf-8"), max_size=20)


def entry(number: int, actor: str = "key:a", action: str = "load") -> Entry:
    return Entry(actor, action, f"m{number}", "done", {"why": number}, 1000.0 + number, "10.0.0.1", f"r{number}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    prepare(tmp_path)
    store = ControlStore(tmp_path)
    for number in range(1, 6):
        store.append(entry(number))
    return tmp_path / "control.db"


def verdict(path: Path, known: tuple[int, str] | None = None) -> Verdict:
    with opened(path, "ro") as connection:
        return verify(connection, known)


def tamper(path: Path, *statements: str) -> None:
    """As somebody who may write the file, and takes the triggers away first."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for trigger in STAYS:
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            connection.execute(statement)


# -- the chain -----------------------------------------------------------------------------------------------------------------


def test_what_was_appended_is_read_as_it_was_said_and_verifies(path: Path) -> None:
    with opened(path, "ro") as connection:
        found = lines(connection, 10)
    assert [line.entry for line in found] == [entry(number) for number in (5, 4, 3, 2, 1)]
    assert verdict(path) == Verdict(5, 5, found[0].hash, ())


@pytest.mark.parametrize(
    ("statement", "wrong"),
    [
        ("UPDATE audit SET actor = 'nobody' WHERE number = 3", "line 3, or one before it, is not as it was written"),
        ("UPDATE audit SET at = at + 1 WHERE number = 3", "line 3, or one before it, is not as it was written"),
        ("UPDATE audit SET detail = '{}' WHERE number = 3", "line 3, or one before it, is not as it was written"),
        ("UPDATE audit SET request_id = '' WHERE number = 3", "line 3, or one before it, is not as it was written"),
        ("DELETE FROM audit WHERE number = 3", "line 3 is missing"),
        ("DELETE FROM audit WHERE number < 3", "lines 1 to 2 are missing"),
        ("DELETE FROM audit WHERE number > 3", "lines 4 to 5 are missing"),
        ("DELETE FROM audit", "lines 1 to 5 are missing"),
        ("UPDATE audit SET hash = NULL WHERE number = 3", "line 3 was not written by Tureen: it is no part of the chain"),
        (
            f"INSERT INTO audit ({PUT_IN}) VALUES (6, 1, '', '', '', '{{}}', '', x'00')",
            "line 6, or one before it, is not as it was written",
        ),
    ],
)
def test_what_was_changed_deleted_or_put_in_behind_the_triggers_is_told(path: Path, statement: str, wrong: str) -> None:
    tamper(path, statement)
    assert verdict(path).wrong[0] == wrong


def test_lines_deleted_at_the_end_are_missing_after_others_were_appended_too(path: Path) -> None:
    tamper(path, "DELETE FROM audit WHERE number > 3", MIGRATIONS[1][MIGRATIONS[1].index("CREATE TRIGGER") :].strip().rstrip(";"))
    ControlStore(path.parent).append(entry(6))
    assert verdict(path).wrong == ("lines 4 to 5 are missing",)


def test_a_line_that_was_noted_elsewhere_tells_a_chain_made_anew(path: Path, tmp_path: Path) -> None:
    noted = verdict(path)
    assert verdict(path, (noted.number, noted.hash)).wrong == ()
    other = tmp_path / "other"
    other.mkdir()
    prepare(other)
    store = ControlStore(other)
    for number in range(1, 6):
        store.append(entry(number, actor="key:b"))
    assert verdict(other / "control.db").wrong == ()
    forged = verdict(other / "control.db", (noted.number, noted.hash))
    assert forged.wrong == ("line 5 is not the one that was noted: the audit has been replaced or cut",)


@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT OR REPLACE INTO audit ({PUT_IN}) VALUES (2, 1, '', '', '', '', '', x'00')",
        "INSERT INTO audit (number, at, actor, action, target, detail, outcome) VALUES (9, 1, '', '', '', '', '')",
        "DELETE FROM audit",
        "UPDATE audit SET outcome = ''",
    ],
)
def test_the_triggers_let_nothing_else_be_done_than_append(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.IntegrityError, match="appended"):
        connection.execute(statement)
    assert verdict(path).wrong == ()


def test_lines_of_a_release_without_a_chain_are_held_by_the_first_after_them(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    with closing(connect(path, "rwc")) as connection:
        migrate(connection, MIGRATIONS[:1])
        for number in range(3):
            connection.execute(
                "INSERT INTO audit (at, actor, action, target, detail, outcome) VALUES (?, 'a', 'load', 'm', '{}', 'done')",
                (number,),
            )
        migrate(connection)
        audit.append(connection, entry(4))
        assert verify(connection).wrong == ()
    tamper(path, "UPDATE audit SET actor = 'b' WHERE number = 2")
    assert verdict(path).wrong == ("line 4, or one before it, is not as it was written",)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(words, words, words, words, st.dictionaries(words, words | st.floats(allow_nan=False)), st.floats(0, 1e10)))
)
def test_any_words_at_all_make_a_chain_that_verifies(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[object, ...]]
) -> None:
    path = tmp_path_factory.mktemp("words") / "control.db"
    with closing(connect(path, "rwc")) as connection:
        migrate(connection)
        for actor, action, target, request, detail, at in acts:
            audit.append(connection, Entry(actor, action, target, "done", detail, at, request_id=request))  # type: ignore[arg-type]
        assert verify(connection) == Verdict(len(acts), len(acts), verify(connection).hash, ())


def test_what_a_caller_chooses_is_cut_and_its_hash_kept(tmp_path: Path) -> None:
    prepare(tmp_path)
    store = ControlStore(tmp_path)
    config = "x" * 10_000_000
    store.append(Entry("a" * 9999, "load", "m" * 9999, "asked", {"config": config}, request_id="r" * 9999))
    store.append(Entry("a", "load", "m", "asked", {str(number): config[:200] for number in range(1000)}))
    many, one = store.audit()
    assert [len(word) for word in (one.actor, one.target, one.request_id)] == [WORD] * 3
    assert one.detail.keys() == {"config"}
    assert "sha256" in str(one.detail)
    assert max(len(str(each.detail)) for each in (one, many)) < DETAIL


def test_only_the_lines_that_are_asked_for_are_read(path: Path) -> None:
    store = ControlStore(path.parent)
    store.append(entry(6, actor="key:b", action="key rotate"))
    store.append(entry(7, actor="user:x", action="key [create]?"))

    def numbers(limit: int = 10, **asked: object) -> list[int]:
        with opened(path, "ro") as connection:
            return [line.number for line in lines(connection, limit, **asked)]  # type: ignore[arg-type]

    assert numbers(2) == [7, 6]
    assert numbers(after=5) == [7, 6]
    assert numbers(since=1006.0) == [7, 6]
    assert numbers(actor="key:*") == [6, 5, 4, 3, 2, 1]
    assert numbers(actor="key:b") == [6]
    assert numbers(action="key*") == [7, 6]
    assert numbers(action="key [create]*") == [7]
    assert numbers(action="key [create?*") == []


def test_who_gives_a_command_is_the_systems_user_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    before = operator()
    for variable in ("USER", "LOGNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(variable, "somebody else")
    assert operator() == before
    assert before[0].startswith("user:")
    assert before[1].startswith("cli ")


# -- what was refused ------------------------------------------------------------------------------------------------------------


def trail(tmp_path: Path, clock: Callable[[], float]) -> tuple[Trail, ControlStore, ThreadPoolExecutor]:
    prepare(tmp_path)
    store, threads = ControlStore(tmp_path), ThreadPoolExecutor(1)
    return Trail(store, threads, clock), store, threads


def test_refused_acts_have_a_pace_and_those_left_out_are_counted(tmp_path: Path) -> None:
    now = [100.0]
    told, store, threads = trail(tmp_path, lambda: now[0])
    asked = Asked("key:a", "r1", "10.0.0.1")
    for _ in range(1000):
        told.refused(asked, "load", "m", "forbidden")
    now[0] += EVERY_S
    told.failed(asked, "unload", "m", "there is no such model")
    told.failed(asked, "unload", "m", "there is no such model")
    threads.shutdown()
    written = store.audit(5000)
    assert len(written) == BURST + 1
    newest = written[0]
    assert (newest.actor, newest.source, newest.request_id, newest.outcome) == ("key:a", "10.0.0.1", "r1", "failed")
    assert newest.detail == {"why": "there is no such model", "left_out": 1000 - BURST}


def test_an_hour_of_tries_writes_no_more_than_the_pace_lets(tmp_path: Path) -> None:
    now = [0.0]
    told, store, threads = trail(tmp_path, lambda: now[0])
    for _ in range(36_000):
        now[0] += 0.1
        told.refused(Asked("address:10.0.0.1", "r"), "load", "m", "unauthorized")
    threads.shutdown()
    assert len(store.audit(5000)) <= BURST + 3600 / EVERY_S + 1


def test_a_store_out_of_order_is_logged_and_hurts_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told, store, threads = trail(tmp_path, lambda: 0.0)
    store.path.rename(tmp_path / "gone")
    told.refused(Asked("key:a", "r1"), "load", "m", "forbidden")
    threads.shutdown()
    assert "the audit was not told of the refused load of m by key:a" in caplog.text
    told.refused(Asked("key:a", "r1"), "load", "m", "forbidden")
    assert "the worker ends" in caplog.text
