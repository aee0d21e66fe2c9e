"""The key that commands show a server: where it is read, when its holder is warned, and that nobody else sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from service.commands.client import Client
from service.commands.credential import LONGEST, VARIABLE, credential, in_clear, shown
from service.commands.look import look
from service.commands.models import models
from service.commands.replay import replay
from service.commands.standing import report, text
from service.commands.status import status
from service.config import Config
from tests.service.listening import Answering, listening

KEY = "tk_abc123"


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


class Guarded(Answering):
    """Answers those that are refused by status; remembers what it was shown."""

    seen: list[str | None]

    def send_response(self, code: int, message: str | None = None) -> None:
        self.seen.append(self.headers["authorization"])
        super().send_response(code, message)
        if code == 429:
            self.send_header("retry-after", "7")
        if code == 302:
            self.send_header("location", "/v2/elsewhere")


class Asked:
    url: str

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, object]] = {
            "/v2": (200, {"name": "tureen", "version": "1"}),
            "/v2/health/ready": (200, {"ready": True}),
            "/v2/repository/index": (200, [{"name": "fraud", "version": "1", "state": "READY"}]),
            "/v2/models/stats": (200, {"model_stats": []}),
            "/v2/models/fraud/versions/1": (200, {"platform": "lightgbm"}),
            "/metrics": (200, b'tureen_requests_total{model="fraud",version="1",code="200"} 5\n'),
        }
        self.seen: list[str | None] = []

    def refuse(self, code: int, *paths: str, error: str = "not for you") -> None:
        for path in paths or tuple(self.answers):
            self.answers[path] = (code, {"error": error, "code": "forbidden", "request_id": "1"})


@pytest.fixture
def asked() -> Iterator[Asked]:
    made = Asked()
    with listening(Guarded, answers=made.answers, seen=made.seen) as made.url:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "key"
    made.write_text(f"{KEY}\n")
    return made


def run(command: click.Command, *arguments: object, key: str | None = None) -> Result:
    return CliRunner().invoke(command, list(map(str, arguments)), env={VARIABLE: key})


def test_the_file_goes_before_the_environment_and_without_either_there_is_none(file: Path) -> None:
    assert credential(None, {}) is None
    assert credential(None, {VARIABLE: " \n"}) is None
    assert credential(None, {VARIABLE: f"{KEY}\n"}) == KEY
    assert credential(file, {VARIABLE: "other"}) == KEY


@pytest.mark.parametrize("held", [b"", b"\n", b"a b", b"a\nb", b"a\r\nx: y", b"\xff", "schlüssel".encode(), b"x" * (LONGEST + 1)])
def test_what_is_no_key_is_refused_and_not_shown(held: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(held)
    with pytest.raises(click.UsageError, match="holds no key") as refused:
        credential(tmp_path / "key", {})
    assert not held.strip() or held.decode("latin-1") not in str(refused.value.message)


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="the file of --key-file cannot be read: No such file"):
        credential(tmp_path / "none", {})


@given(st.binary(max_size=40))
def test_no_key_breaks_out_of_its_header(held: bytes) -> None:
    try:
        found = credential(None, {VARIABLE: held.decode("utf-8", "surrogateescape")})
    except click.UsageError:
        return
    assert found is None or (found.isascii() and found.isprintable() and " " not in found)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://127.8.8.8", "http://localhost", "http://[::1]:1", "https://a.example"]
)
def test_nobody_is_warned_on_this_machine_or_by_tls(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(KEY, url) == KEY
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "url", ["http://models.example", "http://10.0.0.1:8000", "http://[2001:db8::1]", "HTTP://localhost.example"]
)
def test_a_key_that_travels_in_clear_is_warned_of_and_not_shown(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(KEY, url) == KEY
    told = capsys.readouterr().err
    assert f"the key travels in clear to {url}" in told
    assert KEY not in told
    assert in_clear(url)
    assert shown(None, url) is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", [status, models])
def test_every_request_shows_the_key_that_the_environment_or_a_file_holds(command: click.Command, asked: Asked, file: Path) -> None:
    assert run(command, "--url", asked.url, "--key-file", file).exit_code == 0
    assert run(command, "--url", asked.url, key=KEY).exit_code == 0
    assert set(asked.seen) == {f"Bearer {KEY}"}
    assert run(command, "--url", asked.url).exit_code == 0
    assert asked.seen[-1] is None


def test_the_key_of_the_group_is_the_commands_unless_that_has_one(asked: Asked, file: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other")
    assert run(models, "--url", asked.url, "--key-file", file, "list").exit_code == 0
    assert run(models, "--url", asked.url, "--key-file", file, "list", "--key-file", tmp_path / "other").exit_code == 0
    assert asked.seen == [f"Bearer {KEY}", "Bearer other"]


@pytest.mark.parametrize("command", [status, models])
def test_what_a_server_says_cannot_command_a_terminal(command: click.Command, asked: Asked) -> None:
    asked.answers["/v2/repository/index"] = (
        200,
        [{"name": "fraud", "version": "1", "state": "GONE", "reason": "node \x1b[2J\x9b"}],
    )
    asked.answers["/v2/repository/models/fraud/load"] = (400, {"error": "node \x1b]0;owned\x07"})
    said = run(command, "--url", asked.url).output + run(models, "load", "fraud", "--url", asked.url).output
    assert "node \\x1b" in said
    assert all(letter.isprintable() or letter == "\n" for letter in said)


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b"\xff"])
def test_what_answers_with_no_json_is_said_to_be_no_server_of_ours(body: bytes, asked: Asked) -> None:
    asked.answers["/v2"] = (200, body)
    done = run(status, "--url", asked.url)
    assert (done.exit_code, "is no server of models" in done.stderr) == (2, True)


def test_a_redirection_is_not_followed_with_the_key(asked: Asked) -> None:
    asked.answers["/v2"] = (302, {})
    assert run(status, "--url", asked.url, key=KEY).exit_code == 2
    assert len(asked.seen) == 1


@pytest.mark.parametrize(("command", "code"), [(status, 2), (models, 1)])
def test_a_refusal_is_one_line_that_says_what_to_do(command: click.Command, code: int, asked: Asked) -> None:
    asked.refuse(401)
    without, wrong = run(command, "--url", asked.url), run(command, "--url", asked.url, key=KEY)
    asked.refuse(429, error="the budget of 5 requests a second is spent")
    spent = run(command, "--url", asked.url, key=KEY)
    asked.refuse(403, error="the credential is not of the scope infer; ask with one that is")
    other = run(command, "--url", asked.url, key=KEY)
    assert [done.exit_code for done in (without, wrong, spent, other)] == [code] * 4
    assert without.stderr == (
        f"tureen: {asked.url} refuses: the server asks for a key; put one into the variable {VARIABLE}, "
        "or name a file that holds it with --key-file\n"
    )
    assert wrong.stderr.startswith(f"tureen: {asked.url} refuses: the server does not know the key")
    assert spent.stderr.endswith("the budget of 5 requests a second is spent; try again in 7 s\n")
    assert other.stderr.endswith("refuses: the credential is not of the scope infer; ask with one that is\n")
    for done in (without, wrong, spent, other):
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert KEY not in done.stderr


def test_a_load_that_is_refused_says_so_in_one_line(asked: Asked) -> None:
    asked.answers["/v2/repository/models/fraud/load"] = (403, {"error": "the credential is not of the scope admin"})
    done = run(models, "load", "fraud", "--url", asked.url, key=KEY)
    assert (done.exit_code, done.stderr) == (1, "tureen: fraud was not loaded: the credential is not of the scope admin\n")


def test_status_with_a_key_that_is_not_for_metrics_shows_the_rest(asked: Asked) -> None:
    asked.refuse(403, "/metrics")
    done = run(status, "--url", asked.url, key=KEY)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "fraud  1        ready" in done.stdout
    assert "of the worker that answered: /metrics is not for this key" in done.stdout


def test_status_with_a_key_that_is_for_metrics_alone_shows_what_they_say(asked: Asked) -> None:
    asked.refuse(403, "/v2", "/v2/repository/index", "/v2/models/stats", error="not of the scope infer")
    with Client(asked.url, key=KEY) as client:
        told = report(asked.url, look(client))
    assert [(row.model, row.requests) for row in told.models] == [("fraud", 5)]
    assert dict(told.withheld) == {"server": "not of the scope infer", "models": "not of the scope infer"}
    assert text(told).startswith(f"tureen on {asked.url}, ready\n")
    assert "The models' states are not told: not of the scope infer" in text(told)
    assert "no model is there" not in text(told)


def test_a_replay_that_the_server_would_refuse_sends_nothing(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "captured.ndjson").write_text("{}\n")
    asked.refuse(401)
    done = run(replay, tmp_path / "captured.ndjson", "--url", asked.url, key=KEY)
    assert (done.exit_code, done.stdout, len(asked.seen)) == (2, "", 1)
    assert done.stderr.startswith(f"tureen: {asked.url} refuses: the server does not know the key")


@pytest.mark.parametrize("header", ["Authorization: Bearer tk_abc123", "x-api-key:tk_abc123"])
def test_a_key_on_the_command_line_is_refused_and_not_shown(header: str, asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "captured.ndjson").write_text("{}\n")
    done = run(replay, tmp_path / "captured.ndjson", "--url", asked.url, "-H", header)
    assert done.exit_code == 2
    assert VARIABLE in done.stderr
    assert KEY not in done.stderr
    assert asked.seen == []


def test_a_server_started_where_the_clients_key_is_set_does_not_take_it_for_a_setting() -> None:
    assert Config.resolve(None, {VARIABLE: KEY}, {}) == Config()
