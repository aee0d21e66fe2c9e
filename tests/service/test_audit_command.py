from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli import main
from service.commands.audit import noted, since
from service.config import Config
from service.errors import ConfigError
from service.processes.chronicle import Chronicle, digest
from service.sections import Auth, Limits, Log, Store
from service.store import ControlStore, Entry, prepare
from service.store.migrations import MIGRATIONS
from tests.e2e.served import command

NOW = 1_800_000_000.0


@pytest.fixture
def state(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir()
    prepare(made)
    store = ControlStore(made)
    for number in range(1, 4):
        store.append(Entry("key:a", "load", f"m{number}", "done", {"why": number}, NOW + number, "10.0.0.1", f"r{number}"))
    return made


def ask(state: Path, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["audit", "--state-dir", str(state), *map(str, arguments)])


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", NOW - 90),
        ("24h", NOW - 86400),
        ("1d12h", NOW - 129600),
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC).timestamp()),
        ("2026-11-22T14:30:00+01:00", datetime(2026, 11, 22, 13, 30, tzinfo=UTC).timestamp()),
    ],
)
def test_a_time_is_how_long_ago_or_a_date(text: str, moment: float) -> None:
    assert since(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "24", "-1h", "2026-13-01", "٣h"])
def test_what_is_no_time_is_refused_with_what_one_looks_like(text: str) -> None:
    with pytest.raises(ValueError, match="as in 30m, 24h or 7d"):
        since(text, NOW)


@pytest.mark.parametrize("text", ["", "3", "3:abc", f"x:{'0' * 64}", f"3:{'g' * 64}"])
def test_what_is_no_noted_line_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number and hash"):
        noted(text)


def test_lines_are_shown_oldest_first_with_who_what_when_and_from_where(state: Path) -> None:
    head, *rows = (re.split(r" {2,}", line.strip()) for line in ask(state).output.splitlines())
    assert head == ["time", "actor", "action", "target", "outcome", "from", "request", "detail"]
    assert rows[0] == ["2027-01-15T08:00:01.000Z", "key:a", "load", "m1", "done", "10.0.0.1", "r1", "why=1"]
    assert [row[3] for row in rows] == ["m1", "m2", "m3"]


def test_only_the_newest_are_shown_and_as_json_each_is_a_line(state: Path) -> None:
    told = [json.loads(line) for line in ask(state, "-n", 2, "--json").output.splitlines()]
    assert [line["number"] for line in told] == [2, 3]
    assert told[0].keys() == {
        "number", "at", "actor", "action", "target", "outcome", "source", "request_id", "detail", "hash",
    }  # fmt: skip


def test_what_a_caller_chose_cannot_command_a_terminal(state: Path) -> None:
    ControlStore(state).append(Entry("key:\x1b[2J\x9b", "load\r", "m\n0", "done", {"why": "\x1b]0;owned\x07"}))
    assert all(letter.isprintable() or letter == "\n" for letter in ask(state).output)
    assert len(ask(state).output.splitlines()) == 5


def test_what_changed_is_told_as_one_says_it(state: Path, tmp_path: Path) -> None:
    before = Config(repository=tmp_path, log=Log(level="info"), store=Store(state_dir=state))
    after = before.model_copy(update={"repository": state, "workers": 2, "auth": Auth(api_keys=True, jwt_keys=state)})
    Chronicle(state).reloaded(before, after)
    Chronicle(state).reloaded(before, before)
    *_, changed, same = ask(state).output.splitlines()
    assert changed.endswith(
        f"config={digest(after)[:12]}…, changed: repository, workers 1 -> 2, auth.api_keys false -> true, auth.jwt_keys unset -> …"
    )
    assert same.endswith("changed: nothing")


def test_a_configuration_too_long_for_the_audit_is_told_by_its_digest(state: Path) -> None:
    keys = {f"limits.key{number}": [number, number + 1] for number in range(5000)}
    ControlStore(state).append(Entry("user:a", "config reload", "-", "done", {"changed": keys}))
    assert 'changed={"characters": ' in ask(state).output.splitlines()[-1]


def test_letters_of_any_language_are_shown_and_a_word_in_quotes_is_no_field_of_its_own(state: Path) -> None:
    ControlStore(state).append(Entry("key:a", "load", "m", "failed", {"why": 'größer …", left_out=9'}))
    assert ask(state).output.splitlines()[-1].endswith('why="größer …\\", left_out=9"')


def test_an_audit_that_is_whole_says_its_last_line_which_the_past_can_be_held_to(state: Path) -> None:
    whole = ask(state, "--verify")
    found = re.search(r"The last is (\S+);", whole.output)
    assert found is not None
    assert whole.exit_code == 0
    assert ask(state, "--verify", "--noted", found[1]).exit_code == 0
    changed = ask(state, "--verify", "--noted", f"3:{'0' * 64}")
    assert (changed.exit_code, "is not the one that was noted" in changed.output) == (1, True)


def test_an_audit_that_was_tampered_with_exits_1_and_says_where(state: Path) -> None:
    with closing(sqlite3.connect(state / "control.db")) as connection, connection:
        connection.execute("DROP TRIGGER audit_stays")
        connection.execute("DELETE FROM audit WHERE number = 2")
    result = ask(state, "--verify")
    assert (result.exit_code, result.output) == (1, "  WRONG  line 2 is missing\n")
    assert json.loads(ask(state, "--verify", "--json").output)["wrong"] == ["line 2 is missing"]


def test_reading_changes_nothing(state: Path) -> None:
    before = (state / "control.db").read_bytes()
    for arguments in ([], ["--verify"], ["--json"]):
        assert ask(state, *arguments).exit_code == 0
    assert (state / "control.db").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--since", "soon"], "is no time"),
        (["--noted", f"1:{'0' * 64}"], "--noted goes with --verify"),
        (["--verify", "--noted", "1"], "number and hash"),
        (["-n", "0"], "0 is not in the range"),
    ],
)
def test_what_was_mistyped_is_said_and_exits_2(state: Path, arguments: list[str], says: str) -> None:
    result = ask(state, *arguments)
    assert (result.exit_code, says in result.output) == (2, True)


@pytest.mark.parametrize(("version", "says"), [(len(MIGRATIONS) + 1, "a newer Tureen"), (1, "an older Tureen; start the server")])
def test_a_store_of_another_release_is_refused(state: Path, version: int, says: str) -> None:
    with closing(sqlite3.connect(state / "control.db")) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    result = ask(state)
    assert (result.exit_code, says in result.output) == (2, True)


def test_where_there_is_nothing_it_exits_2_and_says_so(tmp_path: Path) -> None:
    result = ask(tmp_path)
    assert (result.exit_code, "does not exist" in result.output) == (2, True)


def test_following_goes_on_with_what_comes_until_interrupted(state: Path) -> None:
    following = subprocess.Popen(
        command("audit", "--state-dir", state, "--follow", "--json", "-n", 1), stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        assert following.stdout is not None
        assert json.loads(following.stdout.readline())["target"] == "m3"
        for number in (4, 5):
            ControlStore(state).append(Entry("key:a", "load", f"m{number}", "done"))
            assert json.loads(following.stdout.readline())["target"] == f"m{number}"
        following.send_signal(2)
        assert following.wait(30) == 0
    finally:
        following.kill()
        following.communicate()


# -- what the supervisor tells -----------------------------------------------------------------------------------------------------


def test_a_start_a_reload_and_a_stop_are_told_with_the_keys_that_changed(state: Path, tmp_path: Path) -> None:
    before = Config(repository=tmp_path, log=Log(level="info"), store=Store(state_dir=state))
    after = before.model_copy(update={"log": Log(level="debug"), "auth": Auth(jwt_keys=tmp_path / "secret.pem"), "workers": 2})
    chronicle = Chronicle(state)
    chronicle.started(before)
    chronicle.reloaded(before, after)
    chronicle.refused(after, ConfigError("no"))
    chronicle.refused(after, "")
    chronicle.stopped(after, 1)
    *_, start, reload, wrong, unstarted, stop = (entry for entry in reversed(ControlStore(state).audit()))
    assert [each.action for each in (start, reload, wrong, unstarted, stop)] == [
        "server start",
        *["config reload"] * 3,
        "server stop",
    ]
    assert [each.outcome for each in (start, reload, wrong, unstarted, stop)] == ["done", "done", "failed", "failed", "failed"]
    assert start.detail["config"] == digest(before)
    assert start.detail["changed"] == {"repository": ["…", "…"], "store.state_dir": [None, "…"]}
    assert reload.detail == {
        "config": digest(after),
        "changed": {"workers": [1, 2], "auth.jwt_keys": [None, "…"], "log.level": ["info", "debug"]},
    }
    assert unstarted.detail == {"wrong": ["no worker starts by it"]}


def test_no_path_and_no_address_of_another_service_gets_into_the_audit(state: Path, tmp_path: Path) -> None:
    config = Config(repository=tmp_path, limits=Limits(redis_url="redis://cache.internal:6379/0"), store=Store(state_dir=state))
    Chronicle(state).started(config)
    told = str(ControlStore(state).audit(1))
    assert "cache.internal" not in told
    assert str(tmp_path) not in told


def test_equal_configurations_have_one_digest_and_others_have_another() -> None:
    assert digest(Config()) == digest(Config())
    assert digest(Config()) != digest(Config(workers=2))
