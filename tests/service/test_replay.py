"""Captured requests sent again: which are, in what way, and what is made of the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from service.capture.replay import Entry, Skipped, entries
from service.commands.replay import replay as command
from tests.service.listening import listening


class Upside(BaseHTTPRequestHandler):
    """Answers a request with its body backwards, and with the status that its path ends in."""

    seen: list[tuple[str, dict[str, str], bytes]]

    def do_POST(self) -> None:
        """Called for each POST."""
        body = self.rfile.read(int(self.headers["content-length"]))
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        answer = json.dumps({"got": body.decode()[::-1], "request_id": "new"}).encode()
        self.send_response(int(self.path.rpartition("/")[2]))
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


class Asked:
    """A server to ask, and what it was asked."""

    url: str

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []

    def replay(self, file: Path, *arguments: str) -> Result:
        return CliRunner().invoke(command, [str(file), "--url", self.url, *arguments])


@pytest.fixture
def asked() -> Iterator[Asked]:
    made = Asked()
    with listening(Upside, seen=made.seen) as made.url:
        yield made


def line(number: int = 1, **changed: object) -> dict[str, Any]:
    body = f"abc{number}"
    answer = {"status": 200, "headers": {}, "body": json.dumps({"got": body[::-1], "request_id": "old"})}
    entry = {
        "request_id": f"r{number}",
        "method": "POST",
        "path": "/v2/models/m/200",
        "headers": {},
        "body": body,
        "answer": answer,
    }
    return {**entry, **changed}


def written(path: Path, *lines: object) -> Path:
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines))
    return path


def test_all_equal_exits_0_and_the_requests_are_those_of_then(tmp_path: Path, asked: Asked) -> None:
    file = written(tmp_path / "c", *[line(number, headers={"content-type": "application/json"}) for number in range(20)])
    result = asked.replay(file, "-H", "X-Unit-Id: k")
    assert (result.exit_code, "20 equal, 0 different, 0 failed" in result.output) == (0, True), result.output
    assert sorted(body for _, _, body in asked.seen) == sorted(b"abc%d" % number for number in range(20))
    path, headers, body = asked.seen[0]
    assert (path, headers["content-type"], headers["x-unit-id"]) == ("/v2/models/m/200", "application/json", "k")
    assert headers["x-request-id"] == body.decode().replace("abc", "r")


def test_one_after_the_other_they_keep_their_order(tmp_path: Path, asked: Asked) -> None:
    asked.replay(written(tmp_path / "c", *map(line, range(20))), "--concurrency", "1")
    assert [body for _, _, body in asked.seen] == [b"abc%d" % number for number in range(20)]


def test_base64_is_sent_as_the_bytes_that_it_was(tmp_path: Path, asked: Asked) -> None:
    asked.replay(written(tmp_path / "c", line(body={"base64": "AAEC"})))
    assert asked.seen[0][2] == b"\x00\x01\x02"


def test_a_difference_exits_1_and_says_where(tmp_path: Path, asked: Asked) -> None:
    answer = {"status": 200, "headers": {}, "body": '{"got": "else"}'}
    result = asked.replay(written(tmp_path / "c", line(1), line(2, answer=answer)))
    assert result.exit_code == 1
    assert "1 equal, 1 different, 0 failed" in result.output
    assert 'line 2, /v2/models/m/200, r2\n    got: "else" then, "2cba" now' in result.output


def test_another_status_is_a_difference_and_a_busy_server_a_failure(tmp_path: Path, asked: Asked) -> None:
    result = asked.replay(written(tmp_path / "c", line(1, path="/404"), line(2, path="/503")), "--json")
    told = json.loads(result.output)
    assert (result.exit_code, told["different"], told["failed"]) == (1, 1, 1)
    by_line = {one["line"]: one for one in told["shown"]}
    assert by_line[1]["differences"] == [{"path": "status", "expected": "200", "got": "404"}]
    assert by_line[2]["problem"] == "the server answered 503; replay slower, with --rate or --concurrency"


def test_nobody_there_is_a_failure_of_each(tmp_path: Path) -> None:
    file = written(tmp_path / "c", line(1))
    result = CliRunner().invoke(command, [str(file), "--url", "http://127.0.0.1:9", "--timeout", "2"])
    assert result.exit_code == 1
    assert "0 equal, 0 different, 1 failed" in result.output
    assert "nothing listens at http://127.0.0.1:9" in result.output


REASONS = [
    ("redacted", {"redacted": True}),
    ("redacted", {"answer": {"status": 200, "headers": {}, "body": "{}", "redacted": True}}),
    ("a body was left out", {"body": None, "left_out": "it has 9 bytes"}),
    ("its client had left", {"answer": {"status": 499, "headers": {}, "body": None}}),
    ("the server was too busy to answer it", {"answer": {"status": 503, "headers": {}, "body": "{}"}}),
    ("the line is damaged", {"answer": None}),
    ("the line is damaged", {"path": "no path"}),
    ("the line is damaged", {"body": {"base64": "!"}}),
]


@pytest.mark.parametrize(("reason", "changed"), REASONS)
def test_what_cannot_be_compared_is_skipped_with_the_reason(reason: str, changed: dict[str, object]) -> None:
    assert list(entries([json.dumps(line(1, **changed))])) == [Skipped(1, reason)]


def test_a_torn_line_spoils_no_other() -> None:
    first, *rest = entries(['{"time": "20', "", "[" * 100_000, "3", json.dumps(line(7))])
    assert first == Skipped(1, "the line is damaged")
    assert [type(one) for one in rest] == [Skipped, Skipped, Entry]
    assert rest[-1].line == 5


def test_with_nothing_to_compare_it_exits_1(tmp_path: Path, asked: Asked) -> None:
    result = asked.replay(written(tmp_path / "c", line(1, redacted=True), line(2, redacted=True), "{"))
    assert result.exit_code == 1
    assert "2 skipped: redacted\n  1 skipped: the line is damaged\n  nothing was compared" in result.output


def test_of_many_differences_the_first_few_are_shown(tmp_path: Path, asked: Asked) -> None:
    answer = {"status": 200, "headers": {}, "body": "{}"}
    result = asked.replay(written(tmp_path / "c", *[line(number, answer=answer) for number in range(30)]))
    assert (result.output.count("nothing then"), result.output.rstrip().endswith("and 20 more")) == (10, True)


def test_what_a_file_says_cannot_command_a_terminal(tmp_path: Path, asked: Asked) -> None:
    result = asked.replay(written(tmp_path / "c", line(1, path="/404", request_id="\x1b[31m")))
    assert "\x1b" not in result.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--url", "nowhere"], "'nowhere' is no server's address"),
        (["-H", "x"], "'x' is no header; write it as 'NAME: VALUE'"),
        (["--rate", "0"], "--rate"),
        (["--concurrency", "0"], "--concurrency"),
    ],
)
def test_a_mistake_in_the_command_is_told(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(command, [str(written(tmp_path / "c")), *arguments])
    assert result.exit_code == 2
    assert sentence in result.output


def test_a_rate_is_kept(tmp_path: Path, asked: Asked) -> None:
    result = asked.replay(written(tmp_path / "c", *map(line, range(5))), "--rate", "100", "--json")
    assert json.loads(result.output)["seconds"] >= 0.04
