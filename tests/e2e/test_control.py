"""Two workers and what they keep together: loads, unloads, health, and a store that is out of order; over fresh connections."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.patience import PATIENCE_S, until
from tests.e2e.served import Server, run, serving

BODY = b'{"instances": [[1, 2, 3, 4]]}'
ASK = b"POST /v1/models/%s:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
LOAD, UNLOAD = "/v2/repository/models/boost/load", "/v2/repository/models/boost/unload"
READY = "/v2/health/ready"


@pytest.fixture(scope="module")
def repository(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`affine`, and `boost` with version 1 alone."""
    made = tmp_path_factory.mktemp("control") / "repository"
    shutil.copytree(kitchen / "affine", made / "affine")
    shutil.copytree(kitchen / "boost" / "1", made / "boost" / "1")
    return made


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module", params=["hypercorn", "uvicorn"])
def pair(request: pytest.FixtureRequest, repository: Path, state: Path) -> Iterator[Server]:
    """Two workers."""
    shutil.rmtree(repository / "boost" / "2", ignore_errors=True)
    kept = {"TUREEN_STORE__STATE_DIR": str(state)}
    with serving(repository, "--workers", 2, "--app", "breaking:extend", kind=request.param, cwd=state, env=kept) as server:
        yield server


def ask(server: Server, model: str = "boost") -> str:
    """The status and the version of an answer over a connection of its own."""
    with closing(socket.create_connection((server.host, server.port), PATIENCE_S)) as connection:
        connection.sendall(ASK % (model.encode(), len(BODY), BODY))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head = answer.partition(b"\r\n\r\n")[0].decode().lower()
    version = next((line.split(": ")[1] for line in head.split("\r\n") if line.startswith("x-model-version")), "")
    return f"{head.split()[1]} {version}".strip()


def many(server: Server, times: int) -> Counter[str]:
    return Counter(ask(server) for _ in range(times))


def test_after_a_change_is_answered_every_fresh_connection_sees_it(pair: Server, kitchen: Path) -> None:
    assert pair.post(UNLOAD).status == 200
    assert many(pair, 1000) == {"503": 1000}
    assert pair.post(LOAD).status == 200
    assert many(pair, 1000) == {"200 1": 1000}
    shutil.copytree(kitchen / "boost" / "2", pair.repository / "boost" / "2")
    assert pair.post(LOAD).status == 200
    assert many(pair, 1000) == {"200 2": 1000}


def test_a_file_that_will_not_load_changes_nothing_in_any_worker(pair: Server) -> None:
    before = ask(pair)
    third = pair.repository / "boost" / "3"
    third.mkdir()
    (third / "model.txt").write_text("tree\n")
    try:
        reply = pair.post(LOAD)
        assert (reply.status, reply.json()["code"]) == (400, "load_failed")
        assert {ask(pair) for _ in range(50)} == {before}
    finally:
        shutil.rmtree(third)
    assert pair.post(LOAD).status == 200


def test_a_worker_that_was_killed_turns_readiness_red_and_its_successor_has_what_is_wanted(pair: Server) -> None:
    assert pair.post(UNLOAD).status == 200
    killed = pair.workers[0]
    os.kill(killed, signal.SIGKILL)
    until(lambda: pair.get(READY).status == 503, "readiness is red")
    until(lambda: pair.get(READY).status == 200, "it is green again")
    assert killed not in pair.workers
    assert many(pair, 50) == {"503": 50}
    assert pair.post(LOAD).status == 200
    assert {ask(pair) for _ in range(50)} <= {"200 1", "200 2"}


def test_a_store_that_is_locked_or_has_no_room_is_said_and_loses_nothing(pair: Server, state: Path) -> None:
    before = ask(pair)
    with closing(sqlite3.connect(state / "control.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        refused(pair, "another process has held its lock")
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY)) for pid in pair.workers}
    try:
        refused(pair, "its disk")
    finally:
        for pid, limit in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
    assert ask(pair) == before
    assert pair.post(LOAD).status == 200


def refused(server: Server, reason: str) -> None:
    reply = server.post(UNLOAD)
    assert (reply.status, reply.json()["code"]) == (503, "store_unavailable")
    assert reason in reply.json()["error"]
    assert ask(server).startswith("200")
    assert server.get(READY).status == 200


def test_a_batcher_that_failed_turns_readiness_red_in_every_worker(pair: Server) -> None:  # the last: it breaks one worker
    assert pair.post("/break").status == 200
    problem = "the batcher of model 'affine' version 1 failed and starts again"

    def red() -> bool:
        replies = [pair.get(READY).json() for _ in range(20)]
        return all([its["problem"] for its in reply.get("problems", ())] == [problem] for reply in replies)

    until(red, "every answer is red")
    assert pair.get("/v2/health/live").status == 200
    until(lambda: pair.get(READY).status == 200, "the batcher has started again")


def test_what_was_wanted_outlives_the_server_and_a_damaged_store_is_refused(repository: Path, tmp_path: Path) -> None:
    kept = {"TUREEN_STORE__STATE_DIR": str(tmp_path / "state")}
    with serving(repository, cwd=tmp_path, env=kept) as server:
        assert server.post(UNLOAD).status == 200
    with serving(repository, cwd=tmp_path, env=kept) as server:
        assert ask(server) == "503"
        assert ask(server, "affine") == "200 1"
    whole = (tmp_path / "state" / "control.db").read_bytes()
    (tmp_path / "state" / "control.db").write_bytes(damaged := b"\x5a" * len(whole))
    done = run("serve", repository, "--bind", "127.0.0.1:0", cwd=tmp_path, env=kept)
    assert done.returncode == 2
    assert "control.db is damaged" in done.stderr
    assert (tmp_path / "state" / "control.db").read_bytes() == damaged
