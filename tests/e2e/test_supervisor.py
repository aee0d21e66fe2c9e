"""The tree of processes behind `tureen serve`: what dies, stops or is reloaded, and what the clients see of it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kitchen import gate_of
from tests.e2e.patience import PATIENCE_S, until
from tests.e2e.served import Reply, Server, run, serving
from tests.e2e.wire import post, wire

KINDS = ("hypercorn", "uvicorn")
PATH = "/v1/models/affine:predict"
BODY = b'{"instances": [[1, 2, 3, 4]]}'
TWO = ("--workers", "2")


@dataclass(slots=True)
class Load:
    """Clients that ask again and again: half keep their connection, half make one for each request."""

    server: Server
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    refused: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def ask(self, keep: bool) -> None:
        """One client's life. Being refused a connection is no failure; anything else that is not 200 is."""
        connection: http.client.HTTPConnection | None = None
        while not self.over.wait(0.02):
            if connection is None:
                connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=PATIENCE_S)
                try:
                    connection.connect()
                except OSError:
                    self.refused += 1
                    connection = None
                    continue
            try:
                connection.request("POST", PATH, BODY)
                response = connection.getresponse()
                response.read()
                if response.status == 200:
                    self.answered += 1
                else:
                    self.failed.append(str(response.status))
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
                connection = None
            else:
                if not keep or response.will_close:
                    connection.close()
                    connection = None
        if connection is not None:
            connection.close()


@contextmanager
def load(server: Server, clients: int = 6) -> Iterator[Load]:
    """A load while the ``with`` lasts, which begins once it is answered."""
    made = Load(server)
    threads = [threading.Thread(target=made.ask, args=(number % 2 == 0,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: made.answered >= clients, "the load is answered")
        yield made
    finally:
        made.over.set()
        for thread in threads:
            thread.join(2 * PATIENCE_S)


def served_by(server: Server) -> int:
    """How many workers say that they serve, or have come to."""
    return sum("is ready" in line and "'affine'" in line for line in server.log)


def alive(pid: int) -> bool:
    """Whether a process runs, which one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def said(server: Server, words: str) -> bool:
    """Whether the log has it."""
    return any(words in line for line in server.log)


def calls_itself(server: Server, pid: int) -> int:
    """The number that a worker's own lines give it."""
    (number,) = {line["worker"] for line in map(json.loads, server.log) if line.get("pid") == pid and "worker" in line}
    return int(number)


def reloads(state: Path) -> list[Any]:
    """What the audit has of configurations that were read again."""
    told = run("audit", "--state-dir", state, "--action", "config reload", "--json", cwd=state).stdout
    return [json.loads(line) for line in told.splitlines()]


@pytest.fixture(scope="module", params=KINDS)
def pair(kitchen: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with two workers, which have to be there again after each test."""
    with serving(kitchen, *TWO, kind=request.param, cwd=tmp_path_factory.mktemp("pair")) as server:
        yield server


def test_the_summary_says_how_many_workers_serve(pair: Server) -> None:
    assert f"on {pair.url} ({pair.kind}, 2 workers), up in " in "".join(pair.out)
    assert sum("Tureen serves" in line for line in pair.out) == 1
    assert len(pair.workers) == 2


def test_a_worker_that_is_killed_is_replaced_and_costs_only_what_was_in_flight_on_it(pair: Server) -> None:
    victim, other = pair.workers
    before = served_by(pair)
    with load(pair) as clients:
        os.kill(victim, signal.SIGKILL)
        until(lambda: served_by(pair) > before, "another worker has loaded")
        answered = clients.answered
        until(lambda: clients.answered > answered + 50, "the load goes on")
    assert len(clients.failed) <= 6  # one a client: each had at most one request, or a kept connection, at the one that died
    assert clients.refused == 0
    assert other in pair.workers
    assert len(pair.workers) == 2
    assert said(pair, "was killed by SIGKILL; the next starts now")
    assert said(pair, f"worker {calls_itself(pair, victim)} (pid {victim}) was killed")


def test_a_terminated_worker_finishes_and_is_replaced(pair: Server) -> None:
    victim = pair.workers[0]
    with load(pair) as clients:
        os.kill(victim, signal.SIGTERM)
        until(lambda: not alive(victim), "the worker ends")
    assert (clients.failed, clients.refused) == ([], 0)
    until(lambda: len(pair.workers) == 2, "there is another")


@pytest.mark.parametrize("kind", KINDS)
def test_no_request_fails_when_the_server_is_told_to_stop(kitchen: Path, tmp_path: Path, kind: str) -> None:
    with serving(kitchen, *TWO, kind=kind, cwd=tmp_path) as server, gate_of(kitchen) as gate, load(server) as clients:
        replies: list[Reply] = []
        slow = {"instances": [{"x": 21, "gate": gate.name}]}
        asking = threading.Thread(target=lambda: replies.append(server.post("/v1/models/gate:predict", slow)))
        asking.start()
        gate.await_call()
        server.process.send_signal(signal.SIGTERM)
        until(lambda: clients.refused > 6, "connections are refused")
        time.sleep(1.5)  # longer than an idle connection is kept: the slow request outlasts it
        gate.open()
        asking.join(PATIENCE_S)
        assert server.process.wait(PATIENCE_S) == 0
    assert clients.failed == []
    assert [reply.status for reply in replies] == [200]


@pytest.mark.parametrize("kind", KINDS)
def test_while_it_drains_answers_close_their_connections(kitchen: Path, tmp_path: Path, kind: str) -> None:
    with serving(kitchen, kind=kind, cwd=tmp_path, env={"TUREEN_DRAIN__DELAY_S": "600"}) as server:
        with wire(server) as known, wire(server) as new:
            known.send(post(PATH, BODY))
            assert "connection" not in known.reply().headers
            server.process.send_signal(signal.SIGTERM)
            until(lambda: server.get("/v2/health/ready").status == 503, "readiness says that the server drains")
            for connection in (known, new):
                connection.send(post(PATH, BODY))
                assert connection.reply().headers["connection"] == "close"
                assert connection.closed
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_no_worker_outlives_a_supervisor_that_is_killed(kitchen: Path, tmp_path: Path, kind: str) -> None:
    with serving(kitchen, *TWO, kind=kind, cwd=tmp_path) as server, wire(server) as idle:
        idle.send(post(PATH, BODY)[:20])
        workers = server.workers
        server.process.kill()
        server.process.wait(PATIENCE_S)
        until(lambda: not any(map(alive, workers)), "the workers are gone")


@pytest.mark.parametrize("kind", KINDS)
def test_a_hang_up_reloads_the_configuration_without_a_failed_request(kitchen: Path, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "tureen.toml"
    file.write_text("[limits]\nbody_bytes = 1000\n")
    long = BODY + b" " * 1000
    with serving(kitchen, *TWO, kind=kind, cwd=tmp_path) as server:
        before = server.workers
        assert server.post(PATH, long).status == 413

        file.write_text("[limits]\nbody_bites = 5000\n")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: said(server, "the configuration is not reloaded, and the old one stays"), "the mistake is told")
        assert server.workers == before

        file.write_text("bind = '127.0.0.1:1'\n[limits]\nbody_bytes = 5000\n")
        with load(server) as clients:
            server.process.send_signal(signal.SIGHUP)
            until(lambda: said(server, "the configuration is reloaded: 2 workers"), "both workers are replaced")
            answered = clients.answered
            until(lambda: clients.answered > answered + 20, "the load goes on")
        assert (clients.failed, clients.refused) == ([], 0)
        assert not set(server.workers) & set(before)
        assert [server.post(PATH, long).status for _ in range(4)] == [200] * 4


def test_nobody_is_missed_who_left_as_told_or_was_replaced(kitchen: Path, tmp_path: Path) -> None:
    def gone() -> str:
        return next(line for line in server.get("/metrics").body.decode().splitlines() if 'phase="gone"' in line)

    with serving(kitchen, *TWO, cwd=tmp_path) as server:
        server.process.send_signal(signal.SIGHUP)
        until(lambda: said(server, "the configuration is reloaded: 2 workers"), "both workers are replaced")
        assert gone().endswith(" 0.0")
        (killed, *_) = server.workers
        os.kill(killed, signal.SIGKILL)
        until(lambda: killed not in server.workers and len(server.workers) == 2, "it is replaced")
        until(lambda: gone().endswith(" 0.0"), "nobody is missed")


def test_a_hang_up_changes_the_number_of_workers(kitchen: Path, tmp_path: Path) -> None:
    file = tmp_path / "tureen.toml"
    file.write_text("workers = 1\n")
    with serving(kitchen, cwd=tmp_path) as server:
        file.write_text("workers = 2\n")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: said(server, "is reloaded: 2 workers") and served_by(server) == 3, "two serve")
        assert len(server.workers) == 2
        file.write_text("workers = 1\n")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: said(server, "is reloaded: 1 worker"), "one serves")
        assert len(server.workers) == 1
        assert server.post(PATH, BODY).status == 200


def test_a_hang_up_that_no_worker_can_start_by_leaves_the_old_ones(kitchen: Path, tmp_path: Path) -> None:
    file = tmp_path / "tureen.toml"
    with serving(kitchen, cwd=tmp_path) as server:
        before = server.workers
        file.write_text('app = "nothing_here:extend"\n')
        server.process.send_signal(signal.SIGHUP)
        until(lambda: said(server, "no worker starts by it"), "it is told")
        assert said(server, "there is no module 'nothing_here'")
        assert server.workers == before
        assert server.post(PATH, BODY).status == 200


def test_a_hang_up_takes_no_model_down_whose_file_was_broken_meanwhile(kitchen: Path, tmp_path: Path) -> None:
    repository, asked = tmp_path / "models", {"instances": [[1, 2, 3, 4]]}
    for model in ("affine", "boost"):
        shutil.copytree(kitchen / model, repository / model)
    (repository / "boost" / "model.toml").write_text('[versions]\npolicy = "all"\n')
    file, state = repository / "boost" / "2" / "model.txt", tmp_path / "state"
    with serving(repository, cwd=tmp_path, env={"TUREEN_STORE__STATE_DIR": str(state)}) as server:
        before, whole = server.workers, file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        server.process.send_signal(signal.SIGHUP)
        until(lambda: said(server, "the configuration is not reloaded"), "it is told")
        assert said(server, "cannot take over: model 'boost' version 2 did not load")
        assert server.workers == before
        assert server.post("/v1/models/boost/versions/2:predict", asked).status == 200
        until(lambda: bool(reloads(state)), "the audit is told")
        (told,) = reloads(state)
        assert told["outcome"] == "failed"
        assert "model 'boost' version 2 did not load" in told["detail"]["wrong"][0]

        shutil.rmtree(file.parent)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: said(server, "the configuration is reloaded"), "what is not there any more is not missed")
        assert server.post("/v1/models/boost:predict", asked).status == 200


def test_workers_that_all_die_at_their_start_end_the_server_with_1_and_the_reason(kitchen: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import os\ndef extend(app):\n    os.abort()\n")
    ended = run("serve", kitchen, "--bind", "127.0.0.1:0", *TWO, "--app", "broken:extend", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "was killed by SIGABRT before it could serve" in ended.stderr
    assert "the server gives up" in ended.stderr


def test_a_repository_that_is_refused_is_told_once(tmp_path: Path) -> None:
    ended = run("serve", "nowhere", "--bind", "127.0.0.1:0", *TWO, cwd=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr.count("does not exist")) == (2, "", 1)


def test_a_worker_that_dies_while_the_server_drains_makes_it_exit_with_1(kitchen: Path, tmp_path: Path) -> None:
    with serving(kitchen, *TWO, cwd=tmp_path, env={"TUREEN_DRAIN__DELAY_S": "600"}) as server:
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.get("/v2/health/ready").status == 503, "it drains")
        os.kill(server.workers[0], signal.SIGKILL)
        until(lambda: len(server.workers) == 1, "it is gone")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == 1


STALLING = """
import time
import service

def extend(app):
    @app.post("/stall")
    async def stall():
        time.sleep(3600)
"""


def test_a_worker_whose_event_loop_stands_still_is_killed_and_replaced(kitchen: Path, tmp_path: Path) -> None:
    (tmp_path / "stalling.py").write_text(STALLING)
    (tmp_path / "sitecustomize.py").write_text("import service.processes.restarts\nservice.processes.restarts.STALL_S = 1.0\n")
    env = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parent}"}
    with serving(kitchen, "--app", "stalling:extend", cwd=tmp_path, env=env) as server:
        (before,) = server.workers
        with wire(server) as stuck:
            stuck.send(post("/stall", b""))
            until(lambda: said(server, "its event loop stands still"), "it is told")
        until(lambda: before not in server.workers and served_by(server) == 2, "another serves")
        assert server.post(PATH, BODY).status == 200


def test_the_terminals_interrupt_reaches_every_process_and_stops_the_server_once(kitchen: Path, tmp_path: Path) -> None:
    with serving(kitchen, *TWO, cwd=tmp_path) as server:
        for pid in (*server.workers, server.process.pid):
            os.kill(pid, signal.SIGINT)
        assert server.process.wait(PATIENCE_S) == 0
    assert not said(server, "Traceback")


def test_what_the_workers_keep_together_is_private_and_gone_with_the_server(kitchen: Path, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    with serving(kitchen, cwd=tmp_path, env={"TMPDIR": str(tmp_path / "temporary")}):
        (directory,) = (tmp_path / "temporary").glob("tureen-*")
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert list((tmp_path / "temporary").glob("tureen-*")) == []


def test_a_state_directory_that_cannot_be_made_does_not_keep_the_server_from_serving(kitchen: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with serving(kitchen, cwd=tmp_path, env={"TUREEN_STORE__STATE_DIR": str(tmp_path / "file" / "state")}) as server:
        assert said(server, "the state directory cannot be used (Not a directory)")
        assert server.post(PATH, BODY).status == 200
