"""`tureen keys`, given in this very process."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli import main

KEY = re.compile(r"tur_([a-z2-7]{10})_[A-Za-z0-9]{43}\n")


def give(*arguments: object, state: Path | None = None) -> Result:
    """The command, as it ends."""
    of_state = () if state is None else ("--state-dir", state)
    return CliRunner().invoke(main, [str(argument) for argument in ("keys", *arguments, *of_state)])


def keys(state: Path, *arguments: object) -> str:
    """What it prints where nothing is wrong."""
    done = give(*arguments, state=state)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def create(state: Path, *options: object) -> tuple[str, str]:
    """A new key's ID, and the key."""
    match = KEY.fullmatch(keys(state, "create", "ci", *options))
    assert match is not None
    return match[1], match[0].strip()


def told(state: Path) -> dict[str, str]:
    """Each key's state."""
    return {key["id"]: key["state"] for key in json.loads(keys(state, "list", "--json"))}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


def test_a_new_key_is_printed_once_and_alone_and_is_nowhere_else(state: Path) -> None:
    done = give("create", "ci", state=state)
    match = KEY.fullmatch(done.stdout)
    assert match is not None
    secret = done.stdout.strip().rpartition("_")[2]
    assert f"key {match[1]} (ci) is made; keep it now, it is not shown again: infer; all models; without end" in done.stderr
    assert secret not in done.stderr
    assert secret not in keys(state, "list")
    assert secret not in keys(state, "list", "--json")
    assert not any(secret.encode() in file.read_bytes() for file in state.iterdir())


def test_the_rights_of_a_key_are_those_that_were_asked_for(state: Path) -> None:
    number, _ = create(
        state,
        *("--scope", "infer", "--scope", "metrics", "--model", "m", "--model", "n", "--expires", "90d"),
        *("--requests-per-s", "2.5", "--requests-burst", "7", "--rows-per-day", "1000"),
    )
    (key,) = json.loads(keys(state, "list", "--json"))
    assert key["id"] == number
    assert (key["scopes"], key["models"]) == (["infer", "metrics"], ["m", "n"])
    assert key["budget"] == {"requests_per_s": 2.5, "requests_burst": 7, "rows_per_day": 1000}
    assert key["expires"] > key["created"]
    row = next(line for line in keys(state, "list").splitlines() if number in line)
    assert "infer,metrics" in row
    assert "requests_per_s=2.5" in row


def test_a_key_is_rotated_and_revoked_by_its_id_or_by_itself(state: Path) -> None:
    first, _ = create(state, "--expires", "1h")
    match = KEY.fullmatch(keys(state, "rotate", first, "--overlap", "0s"))
    assert match is not None
    assert told(state) == {first: "expired", match[1]: "active"}
    third = KEY.fullmatch(keys(state, "rotate", match[0].strip()))
    assert third is not None
    keys(state, "revoke", match[0].strip())
    assert told(state) == {first: "expired", match[1]: "revoked", third[1]: "active"}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["revoke", "abcdefghij"], 1, "there is no key abcdefghij"),
        (["rotate", "abcdefghij"], 1, "there is no key abcdefghij"),
        (["revoke", "tur_abcdefghij_" + "S" * 44], 2, "a key's ID is ten letters and digits"),
        (["create", "a\nb"], 2, "printable"),
        (["create", "ci", "--scope", "all"], 2, "infer"),
        (["create", "ci", "--model", "../m"], 2, "a model's name"),
        (["create", "ci", "--expires", "soon"], 2, "as in 90d"),
        (["create", "ci", "--requests-per-s", "0"], 2, "x>0"),
        (["create", "ci", "--requests-burst", "7"], 2, "give --requests-per-s too"),
        (["create", "ci", "--requests-per-s", "7", "--rows-burst", "7"], 2, "give --rows-per-s too"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(state: Path, arguments: list[str], code: int, sentence: str) -> None:
    create(state)
    done = give(*arguments, state=state)
    assert (done.exit_code, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert "S" * 44 not in done.stderr  # not even by mistake


def test_without_a_state_directory_it_is_said_what_to_write(tmp_path: Path, state: Path) -> None:
    for command in (["create", "ci"], ["list"]):
        done = give(*command)
        assert done.exit_code == 2
        assert '[store] state_dir = "' in done.stderr
    done = give("list", state=tmp_path / "none")
    assert (done.exit_code, "there is no state directory" in done.stderr) == (2, True)
    assert not list(tmp_path.iterdir())  # nor is anything made where there was nothing


def test_the_state_directory_may_be_the_configurations(tmp_path: Path, state: Path) -> None:
    (tmp_path / "tureen.toml").write_text(f"[auth]\napi_keys = true\n[store]\nstate_dir = {json.dumps(str(state))}\n")
    done = give("create", "ci")
    assert KEY.fullmatch(done.stdout)
    assert len(told(state)) == 1


def test_what_is_done_to_keys_is_in_the_audit_without_a_secret(state: Path) -> None:
    number, key = create(state, "--model", "m")
    keys(state, "rotate", number)
    keys(state, "revoke", number)
    with closing(sqlite3.connect(state / "control.db")) as connection:
        lines = connection.execute("SELECT action, target, outcome, detail FROM audit ORDER BY number").fetchall()
    assert [line[:3] for line in lines] == [(f"key {what}", f"key:{number}", "done") for what in ("create", "rotate", "revoke")]
    assert json.loads(lines[0][3])["models"] == ["m"]
    assert key.rpartition("_")[2] not in str(lines)
