"""A model that is changed while two workers serve it: nobody is refused, each worker has it, and so have those that come later."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.keyed import asking, bearer, key_of
from tests.e2e.patience import PATIENCE_S, until
from tests.e2e.served import Server, run, serving

CONFIG, SHOWN, PREDICT = "/v1/models/boost/config", "/v2/models/boost/config", "/v1/models/boost:predict"
BODY = b'{"instances": [[1, 2, 3, 4]]}'
#: Callers at once.
CALLERS = 8


@pytest.fixture(scope="module")
def repository(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`boost`, in both its versions."""
    made = tmp_path_factory.mktemp("live") / "repository"
    for version in ("1", "2"):
        shutil.copytree(kitchen / "boost" / version, made / "boost" / version)
    (made / "boost" / "model.toml").write_text('[versions]\npolicy = "all"\n[batching]\nmax_rows = 32\n')
    return made


@pytest.fixture(scope="module", params=["hypercorn", "uvicorn"])
def pair(request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers."""
    state = tmp_path_factory.mktemp("state")
    kept = {"TUREEN_STORE__STATE_DIR": str(state)}
    with serving(repository, "--workers", 2, kind=request.param, cwd=state, env=kept) as server:
        yield server


def patch(server: Server, change: object, headers: Mapping[str, str] | None = None) -> Any:
    reply = server.request("PATCH", CONFIG, change, headers)
    assert reply.status == 200, reply.body
    return reply.json()


def told(server: Server, times: int = 40) -> list[Any]:
    """What fresh connections, which the workers take in turns, are told of the model: each thing once."""
    found = {server.get(SHOWN).body for _ in range(times)}
    return [json.loads(body)["changed"] for body in found]


@contextmanager
def asked_all_the_while(server: Server) -> Iterator[Counter[int]]:
    """Callers that ask without a pause; the statuses of what they were answered. A connection that breaks is one 0."""
    statuses: Counter[int] = Counter()
    over = threading.Event()

    def ask() -> None:
        with closing(http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE_S)) as connection:
            while not over.is_set():
                try:
                    connection.request("POST", PREDICT, BODY)
                    response = connection.getresponse()
                    response.read()
                    statuses[response.status] += 1
                except (OSError, http.client.HTTPException):
                    statuses[0] += 1
                    return

    callers = [threading.Thread(target=ask) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield statuses
    finally:
        over.set()
        for caller in callers:
            caller.join()


def test_nobody_is_refused_while_it_changes_and_every_fresh_connection_sees_it(pair: Server) -> None:
    with asked_all_the_while(pair) as statuses:
        for rows in (1, 128, 2, 64, 8):
            change = {"batching": {"max_rows": rows, "window_ms": rows / 8, "close": "full" if rows > 32 else "early"}}
            change["batching"] |= {"instances": 1 + rows % 3, "queue_rows": 1000 + rows, "timeout_ms": 5000}
            change["cache"] = {"ttl_s": rows % 3, "auto": True}
            patch(pair, change)
            (changed,) = told(pair)
            assert changed["batching"]["max_rows"] == rows
            before = statuses[200]
            until(lambda before=before: statuses[200] > before + CALLERS, "callers are answered")  # type: ignore[misc]
    assert set(statuses) == {200}
    patch(pair, {"batching": None, "cache": None})
    assert told(pair) == [{}]


def test_every_loaded_version_has_it(pair: Server) -> None:
    patch(pair, {"batching": {"max_rows": 77}})
    for version in ("1", "2"):
        assert pair.get(f"/v2/models/boost/versions/{version}/config").json()["max_batch_size"] == 77
    patch(pair, {"batching": {"max_rows": None}})
    assert pair.get(SHOWN).json()["max_batch_size"] == 32


def test_a_limit_that_is_changed_holds_for_the_next_request_in_every_worker_and_ends_with_it(pair: Server) -> None:
    patch(pair, {"limits": {"requests_per_s": 0.001, "requests_burst": 1}})
    assert pair.post(PREDICT, BODY).status == 200
    assert {pair.post(PREDICT, BODY).status for _ in range(10)} == {429}
    patch(pair, {"limits": None})
    assert {pair.post(PREDICT, BODY).status for _ in range(10)} == {200}


def test_a_worker_that_was_killed_has_a_successor_with_it(pair: Server) -> None:
    patch(pair, {"batching": {"max_rows": 99}})
    killed = pair.workers[0]
    os.kill(killed, signal.SIGKILL)
    until(lambda: killed not in pair.workers and pair.get("/v2/health/ready").status == 200, "another has taken its place")
    assert told(pair) == [{"batching": {"max_rows": 99}}]
    patch(pair, {"batching": None})


def test_it_outlives_a_reload_and_an_unload(pair: Server) -> None:
    patch(pair, {"batching": {"window_ms": 7}})
    for act in ("load", "unload", "load"):
        assert pair.post(f"/v2/repository/models/boost/{act}").status == 200
    assert told(pair) == [{"batching": {"window_ms": 7}}]
    patch(pair, {"batching": None})


def test_what_is_wrong_is_told_in_the_words_of_model_toml_and_changes_nothing(pair: Server) -> None:
    before = told(pair)
    for change, words in (
        ({"batching": {"max_row": 8}}, "batching.max_row: unknown key; the nearest known one is batching.max_rows"),
        ({"batching": {"max_rows": 0}}, "batching.max_rows: expected a number of at least 1, got 0"),
        ({"runtime": {"threads": 2}}, "runtime.threads: cannot be changed without a load"),
    ):
        reply = pair.request("PATCH", CONFIG, change)
        assert (reply.status, reply.json()["code"]) == (400, "bad_request")
        assert words in reply.json()["error"]
    assert told(pair) == before


def test_the_command_changes_shows_and_puts_back(pair: Server, tmp_path: Path) -> None:
    def config(*words: str) -> tuple[int, str]:
        done = run("models", "config", "boost", *words, "--url", pair.url, cwd=tmp_path)
        return done.returncode, done.stdout + done.stderr

    code, text = config("max_rows=128", "window_ms=5", "close=full", "ttl_s=1")
    assert code == 0, text
    assert ["batching.max_rows", "128", "changed"] in [line.split() for line in text.splitlines()]
    assert told(pair) == [{"batching": {"max_rows": 128, "window_ms": 5, "close": "full"}, "cache": {"ttl_s": 1}}]
    listed = run("models", "--url", pair.url, cwd=tmp_path).stdout
    assert "  boost: changed while it serves: batching.close = full, batching.max_rows = 128" in listed
    assert config("--reset", "max_rows")[0] == 0
    assert "max_rows" not in told(pair)[0]["batching"]
    assert config("max_rowz=3") == (
        1,
        "tureen: boost was not changed: model 'boost', config: batching.max_rowz: unknown key; the nearest known one is "
        "batching.max_rows\n",
    )
    assert "threads: unknown key; the nearest known one is runtime.threads" in config("threads=2")[1]
    assert config("max_rows")[0] == 2
    code, text = config("--reset")
    assert (code, "changed" in text) == (0, False)
    assert told(pair) == [{}]


def test_a_server_that_is_started_anew_has_it_and_the_audit_tells_who_changed_what(repository: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    admin, caller = key_of(state, "--scope", "admin"), key_of(state)
    with serving(repository, cwd=tmp_path, env=asking(state)) as server:
        refused = server.request("PATCH", CONFIG, {"batching": {"max_rows": 9}}, bearer(caller))
        assert (refused.status, refused.json()["code"]) == (403, "forbidden")
        patch(server, {"batching": {"max_rows": 9}}, bearer(admin))
    with serving(repository, cwd=tmp_path, env=asking(state)) as server:
        assert server.get(SHOWN, bearer(caller)).json()["changed"] == {"batching": {"max_rows": 9}}
    done = run("audit", "--state-dir", state, "--action", "configure", "--json", cwd=tmp_path)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["target"], line["outcome"]) for line in lines] == [("boost", "refused"), ("boost", "asked"), ("boost", "done")]
    assert lines[1]["detail"] == {"changed": {"batching.max_rows": [32, 9]}}
    assert "changed: batching.max_rows 32 -> 9" in run("audit", "--state-dir", state, cwd=tmp_path).stdout
