"""Jobs as their callers have them, on both servers: complete, in order, nothing twice, whatever is killed."""

from __future__ import annotations

import gzip
import http.client
import http.server
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.guard.principal import Scope
from tests.e2e.guarded import Keychain
from tests.e2e.kitchen import Gate, affine, booster
from tests.e2e.patience import PATIENCE_S, until
from tests.e2e.served import Reply, Server, serving
from tests.e2e.wire import Wire

LINES = {"Content-Type": "application/x-ndjson"}
ROWS = 5000
JOBS = "/v1/jobs"


class Caller:
    """Somebody with a key, at one server."""

    def __init__(self, server: Server, key: str) -> None:
        self.server, self.key = server, {"X-API-Key": key}

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        return self.server.request(method, path, body, {**self.key, **(headers or {})})

    def make(self, model: str, body: bytes, more: str = "", headers: Mapping[str, str] = LINES) -> Any:
        reply = self.ask("POST", f"{JOBS}?model={model}{more}", body, headers)
        assert reply.status == 202, reply.body
        made = reply.json()
        assert reply.headers["location"] == f"{JOBS}/{made['id']}"
        return made["id"]

    def job(self, job: str) -> Any:
        return self.ask("GET", f"{JOBS}/{job}").json()

    def jobs(self) -> set[str]:
        return {job["id"] for job in self.ask("GET", JOBS).json()["jobs"]}

    def results(self, job: str, query: str = "") -> list[Any]:
        reply = self.ask("GET", f"{JOBS}/{job}/results{query}")
        assert (reply.status, reply.headers["content-type"]) == (200, "application/x-ndjson")
        return [json.loads(line) for line in reply.body.splitlines()]

    def refused(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        reply = self.ask(method, path, body, headers)
        return reply.status, reply.json()["code"]

    @contextmanager
    def follow(self, job: str) -> Iterator[Iterator[Any]]:
        with closing(http.client.HTTPConnection(self.server.host, self.server.port, timeout=PATIENCE_S)) as connection:
            connection.request("GET", f"{JOBS}/{job}/results", headers=self.key)
            yield map(json.loads, connection.getresponse())


class Bell(http.server.BaseHTTPRequestHandler):
    """Takes callbacks: what comes to /first fails once, what comes to /away is sent elsewhere."""

    heard: list[tuple[str, Any]]
    failed: set[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.heard.append((self.path, body))
        status = 200
        if self.path == "/first" and "first" not in self.failed:
            self.failed.add("first")
            status = 500
        if self.path == "/away":
            status = 302
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class Stand:
    """A server that takes jobs, who calls it, and who hears its callbacks."""

    def __init__(self, server: Server, keys: Sequence[str], bell: http.server.HTTPServer, heard: list[tuple[str, Any]]) -> None:
        self.server, self.heard = server, heard
        self.rung = f"127.0.0.1:{bell.server_port}"
        self.mine, self.other, self.greets, self.admin = (Caller(server, key) for key in keys)


@pytest.fixture(scope="module", params=["hypercorn", "uvicorn"])
def stand(kitchen: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Stand]:
    place = tmp_path_factory.mktemp("jobs")
    keychain = Keychain(_made(place / "state"))
    # Made before the server starts, so that both workers know them.
    keys = [keychain.make(Scope.INFER), keychain.make(Scope.INFER)]
    keys += [keychain.make(Scope.INFER, models=frozenset({"greet"})), keychain.make(Scope.ADMIN)]

    class OneBell(Bell):
        heard: list[tuple[str, Any]] = []  # noqa: RUF012
        failed: set[str] = set()  # noqa: RUF012

    bell = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OneBell)
    ringing = threading.Thread(target=bell.serve_forever)
    ringing.start()
    env = {
        "TUREEN_AUTH__API_KEYS": "true",
        "TUREEN_STORE__STATE_DIR": str(place / "state"),
        "TUREEN_LIMITS__BODY_BYTES": "65536",
        "TUREEN_JOBS__BODY_BYTES": "1000000",
        "TUREEN_JOBS__CALLBACK_HOSTS": f"127.0.0.1:{bell.server_port}",
    }
    try:
        with serving(kitchen, "--workers", 2, kind=request.param, cwd=place, env=env) as server:
            yield Stand(server, keys, bell, OneBell.heard)
    finally:
        bell.shutdown()
        bell.server_close()
        ringing.join()


def _made(state: Path) -> Path:
    state.mkdir()
    return state


def features(count: int) -> list[list[int]]:
    return [[row, row % 7, row % 5, row % 3] for row in range(count)]


def lines_of(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def gated(rows: int, gate: Gate, at: int) -> bytes:
    return lines_of([{"x": row, "gate": gate.name if row == at else ""} for row in range(rows)])


def test_a_job_has_every_result_once_and_in_the_order_of_its_rows(stand: Stand) -> None:
    rows = features(ROWS)
    job = stand.mine.make("affine", lines_of(rows))
    wanted = [{"row": row, "prediction": values} for row, values in enumerate(affine(np.array(rows)).tolist())]
    assert stand.mine.results(job) == wanted
    told = stand.mine.job(job)
    assert (told["state"], told["rows"], told["done"], told["failed"]) == ("succeeded", ROWS, ROWS, 0)
    assert told["created"] <= told["finished"]
    assert stand.mine.results(job, "?from=4990") == wanted[4990:]
    assert stand.mine.results(job, "?from=5000&follow=false") == []


def test_every_format_and_coding_gives_the_same_results(stand: Stand) -> None:
    rows = features(300)
    table = "a,b,c,d\r\n" + "".join(",".join(map(str, row)) + "\r\n" for row in rows)
    bodies = [
        ({"Content-Type": "application/json"}, json.dumps({"instances": rows}, indent=1).encode()),
        ({"Content-Type": "application/json"}, json.dumps([{"x": row} for row in rows]).encode()),
        ({"Content-Type": "text/csv; charset=utf-8"}, table.encode()),
        ({**LINES, "Content-Encoding": "gzip"}, gzip.compress(lines_of(rows))),
    ]
    wanted = stand.mine.results(stand.mine.make("affine", lines_of(rows)))
    for headers, body in bodies:
        assert stand.mine.results(stand.mine.make("affine", body, headers=headers)) == wanted


def test_a_table_of_named_features_in_any_order_with_fields_left_empty_is_answered_as_the_booster_does(stand: Stand) -> None:
    rows = np.random.default_rng(8).normal(size=(60, 4))
    rows[::3, 2] = rows[::4, 0] = np.nan
    order = [2, 0, 3, 1]
    lines = [",".join("" if np.isnan(row[at]) else repr(row[at].item()) for at in order) for row in rows]
    table = "\n".join([",".join(f"Column_{at}" for at in order), *lines]).encode()
    wanted = [{"row": row, "prediction": value} for row, value in enumerate(np.asarray(booster(trees=8).predict(rows)).tolist())]
    assert stand.mine.results(stand.mine.make("boost", table, headers={"Content-Type": "text/csv"})) == wanted
    lacking = [[None if np.isnan(value) else value for value in row] for row in rows.tolist()]
    assert stand.mine.results(stand.mine.make("boost", lines_of(lacking))) == wanted
    refused = stand.mine.refused("POST", f"{JOBS}?model=boost", b"id,Column_1\n1,2\n", {"Content-Type": "text/csv"})
    assert refused == (400, "bad_request")


def test_a_bad_row_has_an_error_line_and_costs_no_other_row_its_result(stand: Stand) -> None:
    rows: list[Any] = [*features(40)]
    bad = {3: [1, 2, 3], 17: "soup", 18: None, 39: {"z": [1, 2, 3, 4]}}
    for row, value in bad.items():
        rows[row] = value
    job = stand.mine.make("affine", lines_of(rows))
    results = stand.mine.results(job)
    assert [line["row"] for line in results] == list(range(40))
    assert {line["row"]: line["code"] for line in results if "code" in line} == dict.fromkeys(bad, "invalid_input")
    assert stand.mine.job(job)["failed"] == len(bad)


def test_a_line_that_is_not_json_is_refused_with_its_number_and_nothing_is_kept(stand: Stand) -> None:
    before = stand.mine.jobs()
    reply = stand.mine.ask("POST", f"{JOBS}?model=affine", lines_of(features(2000)) + b"{soup}\n", LINES)
    assert (reply.status, reply.json()["details"][0]["path"]) == (400, "line 2001")
    assert stand.mine.jobs() == before


def test_a_job_is_taken_that_no_other_body_could_be_as_large_as(stand: Stand) -> None:
    large = lines_of([[row, 0.123456789, 0, 0] for row in range(25_000)])
    assert 65536 < len(large) < 1_000_000
    assert stand.mine.job(stand.mine.make("affine", large))["rows"] == 25_000
    assert stand.mine.refused("POST", f"{JOBS}?model=affine", large * 2, LINES) == (413, "body_too_large")
    packed = {**LINES, "Content-Encoding": "gzip"}
    assert stand.mine.refused("POST", f"{JOBS}?model=affine", gzip.compress(large * 2), packed) == (413, "body_too_large")


def test_results_come_while_the_job_runs_and_end_with_it(stand: Stand, gate: Gate) -> None:
    job = stand.mine.make("gate", gated(600, gate, 500))
    with stand.mine.follow(job) as results:
        assert next(results)["prediction"]["y"] == 0
        gate.await_call()
        assert stand.mine.job(job)["state"] == "running"
        gate.open()
        assert [line["row"] for line in results] == list(range(1, 600))
    assert stand.mine.job(job)["state"] == "succeeded"


def test_a_job_that_is_cancelled_keeps_its_results_and_one_that_is_deleted_is_gone(stand: Stand, gate: Gate) -> None:
    job = stand.mine.make("gate", gated(600, gate, 500))
    gate.await_call()
    reply = stand.mine.ask("DELETE", f"{JOBS}/{job}")
    assert (reply.status, reply.json()["state"]) == (200, "cancelled")
    gate.open()
    *rows, last = stand.mine.results(job)
    assert [line["row"] for line in rows] == list(range(len(rows)))
    assert ("row" in last, last["code"]) == (False, "job_cancelled")
    assert stand.mine.ask("DELETE", f"{JOBS}/{job}").status == 204
    assert stand.mine.refused("GET", f"{JOBS}/{job}") == (404, "unknown_job")
    assert stand.mine.refused("GET", f"{JOBS}/{job}/results") == (404, "unknown_job")


def test_a_request_that_is_sent_again_is_the_same_job(stand: Stand) -> None:
    body, keyed = lines_of(features(20)), {**LINES, "Idempotency-Key": "bowl-7"}
    job = stand.mine.make("affine", body, headers=keyed)
    assert stand.mine.make("affine", body, headers=keyed) == job
    assert stand.other.make("affine", body, headers=keyed) != job
    for path, other in [("affine", body + b"[1, 2, 3, 4]\n"), ("affine&version=1", body), ("boost", body)]:
        assert stand.mine.refused("POST", f"{JOBS}?model={path}", other, keyed) == (409, "idempotency_clash")
    assert len(stand.mine.results(job)) == 20
    assert stand.mine.refused("POST", f"{JOBS}?model=affine", body, {**LINES, "Idempotency-Key": "a bowl"}) == (400, "bad_request")


def test_anothers_job_is_as_one_that_is_not_there(stand: Stand) -> None:
    job = stand.mine.make("affine", lines_of(features(5)))
    for method, path in [("GET", f"{JOBS}/{job}"), ("DELETE", f"{JOBS}/{job}"), ("GET", f"{JOBS}/{job}/results")]:
        theirs, absent = stand.other.ask(method, path), stand.other.ask(method, path.replace(job, "0" * len(job)))
        assert (theirs.status, theirs.json()["code"]) == (absent.status, absent.json()["code"]) == (404, "unknown_job")
        assert theirs.json()["error"].replace(job, "") == absent.json()["error"].replace("0" * len(job), "")
    assert job not in stand.other.jobs()
    assert job in stand.admin.jobs() & stand.mine.jobs()
    assert stand.admin.job(job)["id"] == job


@pytest.mark.parametrize(
    ("query", "body", "headers", "status", "code"),
    [
        ("", b"[1]\n", LINES, 400, "bad_request"),
        ("?model=absent", b"[1]\n", LINES, 404, "unknown_model"),
        ("?model=affine&version=9", b"[1]\n", LINES, 404, "unknown_version"),
        ("?model=affine&label=gold", b"[1]\n", LINES, 404, "unknown_version"),
        ("?model=boost&version=1&label=stable", b"[1]\n", LINES, 400, "bad_request"),
        ("?model=affine&modle=greet", b"[1]\n", LINES, 400, "bad_request"),
        ("?model=affine&model=greet", b"[1]\n", LINES, 400, "bad_request"),
        ("?model=fixed", b"[1]\n", LINES, 400, "bad_request"),
        ("?model=affine", b"", LINES, 400, "bad_request"),
        ("?model=affine", b"[1]\n", {}, 415, "unsupported_media"),
        ("?model=affine", b"[1]\n", {**LINES, "Content-Encoding": "br"}, 415, "unsupported_media"),
        ("?model=affine&callback=http://127.0.0.1:1/", b"[1]\n", LINES, 400, "bad_request"),
        ("?model=affine&callback=file:///etc/passwd", b"[1]\n", LINES, 400, "bad_request"),
    ],
)
def test_what_is_no_job_is_refused_at_once(
    stand: Stand, query: str, body: bytes, headers: Mapping[str, str], status: int, code: str
) -> None:
    assert stand.mine.refused("POST", JOBS + query, body, headers) == (status, code)


def test_a_job_asks_only_a_model_that_its_key_is_for(stand: Stand) -> None:
    for model in ("affine", "absent"):
        assert stand.greets.refused("POST", f"{JOBS}?model={model}", b"[1]\n", LINES) == (403, "forbidden")
    job = stand.greets.make("greet", b'"you"\n["you"]\n')
    assert [line.get("prediction") for line in stand.greets.results(job)] == [None, ["hello, you"]]


@pytest.mark.parametrize(
    "query", ["/none", "/none/results", "/none/results?from=-1", "/none/results?follow=perhaps", "/none?x=1", "?x=1"]
)
def test_questions_that_make_no_sense_are_refused(stand: Stand, query: str) -> None:
    assert stand.mine.refused("GET", JOBS + query)[0] == (400 if "?" in query else 404)


def half_sent(stand: Stand, body: bytes, keyed: Mapping[str, str]) -> Wire:
    """A connection on which the body of a job is on its way; it is tried again where whoever looks for that was before it."""
    head = [f"POST {JOBS}?model=affine HTTP/1.1", "Host: tureen", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in {**stand.mine.key, **keyed}.items()]
    while True:
        connection = Wire(stand.server)
        connection.send("\r\n".join([*head, "", ""]).encode(), body[:-10])
        while not connection.readable:
            if stand.mine.ask("POST", f"{JOBS}?model=affine", b"no row", keyed).status == 409:
                return connection
        connection.leave()


def test_a_client_that_leaves_within_its_body_leaves_no_job(stand: Stand) -> None:
    before = stand.mine.jobs()
    keyed = {**LINES, "Idempotency-Key": "left"}
    body = lines_of(features(3000))
    connection = half_sent(stand, body, keyed)
    assert stand.mine.jobs() == before
    connection.leave()
    until(lambda: stand.mine.ask("POST", f"{JOBS}?model=affine", body, keyed).status == 202, "the key is free again")


@pytest.mark.parametrize("kind", ["hypercorn", "uvicorn"])
def test_a_job_that_is_refused_within_its_body_leaves_no_connection_behind(kitchen: Path, tmp_path: Path, kind: str) -> None:
    def connections() -> str:
        return next(line for line in server.get("/metrics").body.decode().splitlines() if line.startswith("tureen_connections{"))

    told = "Host: tureen\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100000000\r\nExpect: 100-continue\r\n\r\n"
    head, rows = f"POST {JOBS}?model=affine HTTP/1.1\r\n{told}".encode(), b"[1, 2, 3, 4]\n" * 5000 + b"no row\n"
    with serving(kitchen, cwd=tmp_path, kind=kind) as server:
        alone = connections()
        for _ in range(3):
            connection = Wire(server)
            connection.send(head)
            assert connection.reply().status == 100
            with suppress(ConnectionError):  # it is answered within its body, and closed
                while not connection.readable:
                    connection.send(rows)
            connection.leave()
        until(lambda: connections() == alone, "the connections are closed")


def test_a_body_in_pieces_is_read_as_it_comes(stand: Stand) -> None:
    with closing(http.client.HTTPConnection(stand.server.host, stand.server.port, timeout=PATIENCE_S)) as connection:
        pieces = (json.dumps(row).encode() + b"\n" for row in features(1000))
        connection.request("POST", f"{JOBS}?model=affine", pieces, {**stand.mine.key, **LINES}, encode_chunked=True)
        job = json.loads(connection.getresponse().read())
    assert len(stand.mine.results(job["id"])) == job["rows"] == 1000


def test_whoever_asked_is_told_that_the_job_is_over(stand: Stand) -> None:
    for path in ("/done", "/first", "/away"):
        job = stand.mine.make("affine", lines_of(features(10)), f"&callback=http://{stand.rung}{path}")
        until(lambda path=path: path in dict(stand.heard), f"{path} is called")  # type: ignore[misc]
        heard = dict(stand.heard)[path]
        assert (heard["id"], heard["state"], heard["done"]) == (job, "succeeded", 10)
    until(lambda: [path for path, _ in stand.heard].count("/first") == 2, "it is told again where that failed")
    assert [path for path, _ in stand.heard].count("/done") == 1
    assert "/elsewhere" not in dict(stand.heard)


def test_a_server_that_has_as_many_jobs_as_it_keeps_says_when_to_ask_again(kitchen: Path, tmp_path: Path) -> None:
    with serving(kitchen, cwd=tmp_path, env={"TUREEN_JOBS__MAX_JOBS": "1"}) as server:
        assert server.post(f"{JOBS}?model=affine", b"[1, 2, 3, 4]\n", LINES).status == 202
        reply = server.post(f"{JOBS}?model=affine", b"[1, 2, 3, 4]\n", LINES)
        assert (reply.status, reply.json()["code"]) == (503, "jobs_full")
        assert int(reply.headers["retry-after"]) > 0
        (job,) = server.get(JOBS).json()["jobs"]
        until(lambda: server.get(f"{JOBS}/{job['id']}").json()["state"] == "succeeded", "the first is over")
        assert server.request("DELETE", f"{JOBS}/{job['id']}").status == 204
        assert server.post(f"{JOBS}?model=affine", b"[1, 2, 3, 4]\n", LINES).status == 202


def test_a_server_that_takes_no_jobs_says_so(kitchen: Path, tmp_path: Path) -> None:
    with serving(kitchen, cwd=tmp_path, env={"TUREEN_JOBS__ENABLED": "false"}) as server:
        reply = server.post(f"{JOBS}?model=affine", b"[1]\n", LINES)
        assert (reply.status, reply.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("kind", ["hypercorn", "uvicorn"])
def test_a_job_outlives_the_death_of_the_whole_server(kitchen: Path, tmp_path: Path, kind: str, gate: Gate) -> None:
    env = {"TUREEN_STORE__STATE_DIR": str(tmp_path / "state")}
    with serving(kitchen, "--workers", 2, kind=kind, cwd=tmp_path, env=env) as server:
        reply = server.post(f"{JOBS}?model=gate", gated(ROWS, gate, ROWS // 2), LINES)
        path = f"{JOBS}/{reply.json()['id']}"
        gate.await_call()
        until(lambda: server.get(path).json()["done"] > 0, "some of it is done")
        for pid in [server.process.pid, *server.workers]:
            os.kill(pid, signal.SIGKILL)
        server.process.wait()
    gate.open()
    with serving(kitchen, kind=kind, cwd=tmp_path, env=env) as server:
        lines = server.get(f"{path}/results").body.splitlines()
        results = [json.loads(line) for line in lines]
        assert [(line["row"], line["prediction"]["y"]) for line in results] == [(row, 2.0 * row) for row in range(ROWS)]
        assert server.get(path).json()["state"] == "succeeded"


def test_who_follows_a_job_is_told_where_to_go_on_when_the_server_stops(kitchen: Path, tmp_path: Path, gate: Gate) -> None:
    env = {"TUREEN_DRAIN__DELAY_S": "0"}
    with serving(kitchen, cwd=tmp_path, env=env) as server:
        job = server.post(f"{JOBS}?model=gate", gated(600, gate, 500), LINES).json()["id"]
        gate.await_call()
        with closing(socket.create_connection((server.host, server.port), PATIENCE_S)) as connection:
            connection.sendall(f"GET {JOBS}/{job}/results HTTP/1.0\r\n\r\n".encode())
            read = connection.makefile("rb")
            until(lambda: b'"row":0' in read.readline(), "results come")
            server.process.send_signal(signal.SIGTERM)
            gate.open()
            *_, last = read.read().splitlines()
        assert json.loads(last).get("code") == "draining" or json.loads(last).get("row") == 599
        assert server.process.wait(PATIENCE_S) == 0
