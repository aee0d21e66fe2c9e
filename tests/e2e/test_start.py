"""Starting, being refused, and stopping: what somebody sees who types the commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kitchen import Gate, gate_of
from tests.e2e.patience import PATIENCE_S, until
from tests.e2e.served import Reply, Server, run, serving
from tests.e2e.wire import post, wire

KINDS = ("hypercorn", "uvicorn")
ROW = {"instances": [[1, 2, 3, 4]]}


def pasted(server: Server) -> str:
    """What the summary's curl line prints when a shell runs it."""
    line = next(line for line in server.out if line.strip().startswith("curl "))
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_the_summary_shows_models_and_a_curl_line_that_works(server: Server) -> None:
    summary = "".join(server.out)
    assert re.search(
        r"^  affine +1 +onnxruntime_onnx +x FP32\[-1,4\] +y FP32\[-1,2\] +64 rows, 2 ms, early$", summary, re.MULTILINE
    )
    assert re.search(r"^  boost +2 +lightgbm ", summary, re.MULTILINE)
    assert re.search(r"^  fixed .* one at a time$", summary, re.MULTILINE)
    assert f"Tureen serves 9 models, 10 versions, on {server.url} ({server.kind}), up in " in summary
    assert pasted(server).startswith('{"predictions":[')


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
@pytest.mark.parametrize(
    ("source", "name", "body"),
    [
        ("affine/1/model.onnx", "model.onnx", ROW),
        ("boost/2/model.txt", "churn score.txt", ROW),
        ("ledger/1/model.py", "ledger.py", {"instances": [1]}),
    ],
)
def test_a_models_file_is_served_by_itself(kitchen: Path, tmp_path: Path, source: str, name: str, body: object) -> None:
    shutil.copy(kitchen / source, tmp_path / name)
    model = Path(name).stem.replace(" ", "_")
    with serving(tmp_path / name, cwd=tmp_path) as server:
        assert server.post(f"/v1/models/{model}/versions/1:predict", body).status == 200
        assert [entry["name"] for entry in server.post("/v2/repository/index").json()] == [model]
        assert pasted(server).startswith('{"predictions":[')


@pytest.fixture(scope="module")
def partly_broken(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model that serves, and two that do not."""
    repository = tmp_path_factory.mktemp("partly") / "repository"
    shutil.copytree(kitchen / "affine", repository / "affine")
    (repository / "raises" / "1").mkdir(parents=True)
    (repository / "raises" / "1" / "model.py").write_text("raise ValueError('the model is out of salt')\n")
    (repository / "cut" / "1").mkdir(parents=True)
    whole = (kitchen / "boost" / "1" / "model.txt").read_text()
    (repository / "cut" / "1" / "model.txt").write_text(whole[: len(whole) // 2])
    return repository


def test_broken_models_are_named_and_the_others_serve(partly_broken: Path, tmp_path: Path) -> None:
    with serving(partly_broken, cwd=tmp_path) as server:
        assert server.post("/v1/models/affine:predict", ROW).json() == {"predictions": [[9.5, -0.5]]}
        summary = "".join(server.out)
        assert (
            "NOT SERVED raises/1: model 'raises' version 1 did not load: model.py raised ValueError: the model is out of" in summary
        )
        assert "NOT SERVED cut/1: model 'cut' version 1 did not load: " in summary
        index = {entry["name"]: entry for entry in server.post("/v2/repository/index").json()}
        assert {name: entry["state"] for name, entry in index.items()} == {
            "affine": "READY",
            "cut": "UNAVAILABLE",
            "raises": "UNAVAILABLE",
        }
        assert index["raises"]["reason"].endswith("the model is out of salt (line 1)")
        assert [entry["name"] for entry in server.post("/v2/repository/index", {"ready": True}).json()] == ["affine"]
        refused = server.post("/v1/models/raises:predict", {"instances": [1]})
        assert (refused.status, refused.json()["error"]) == (503, index["raises"]["reason"])
        assert any("did not load" in line for line in server.log)


def test_check_names_every_broken_model_and_exits_1(partly_broken: Path, tmp_path: Path) -> None:
    done = run("check", partly_broken, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    ok, *problems = done.stdout.splitlines()
    assert ok == "  ok       affine/1"
    assert [line.split(":")[0] for line in problems] == ["  PROBLEM  cut/1", "  PROBLEM  raises/1"]


def test_check_of_an_empty_repository_exits_1_and_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run("check", "empty", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == "  PROBLEM  the repository 'empty' has no model; expected a directory laid out as NAME/1/model.onnx\n"


PLAIN = """from models import PythonModel, TensorSpec
class Plain(PythonModel):
    inputs = [TensorSpec("x", "FP32", [-1])]
    outputs = [TensorSpec("y", "FP32", [-1])]
    def infer(self, inputs):
"""


def test_check_tells_a_broken_description_from_a_warm_up_that_failed(tmp_path: Path) -> None:
    for name, body in (("other", "return {'z': inputs['x']}"), ("picky", "raise ValueError('no such user')")):
        (tmp_path / "repository" / name / "1").mkdir(parents=True)
        (tmp_path / "repository" / name / "1" / "model.py").write_text(f"{PLAIN}        {body}\n")
    done = run("check", "repository", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    ok, note, problem = done.stdout.splitlines()
    assert ok == "  ok       picky/1"
    assert note.startswith("  note     picky/1: warm-up with made-up values at 1 row failed")
    assert problem.startswith("  PROBLEM  other/1: ")
    assert problem.endswith("the model left out its output 'y'; it returned z")


def test_check_of_a_sound_repository_exits_0(kitchen: Path, tmp_path: Path) -> None:
    done = run("check", kitchen, cwd=tmp_path)
    assert (done.returncode, done.stderr, done.stdout.count("  ok ")) == (0, "", 10)


def refused(*arguments: object, cwd: Path, env: dict[str, str] | None = None) -> str:
    """What the command says where it will not start: a line or more, without a traceback, and exit code 2."""
    done = run("serve", *arguments, cwd=cwd, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_port_in_use_is_told(kitchen: Path, tmp_path: Path, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        told = refused(kitchen, "--bind", address, "--server", kind, cwd=tmp_path)
    assert told == f"tureen: cannot listen on {address}: Address already in use; give another --bind\n"


def test_unknown_keys_are_refused_with_the_nearest(kitchen: Path, tmp_path: Path) -> None:
    (tmp_path / "tureen.toml").write_text("[drain]\ntimeout = 5\n")
    told = refused(kitchen, cwd=tmp_path, env={"TUREEN_LIMITS__BODY_BITES": "5"})
    assert "[drain] timeout_s" in told
    assert "TUREEN_LIMITS__BODY_BYTES" in told
    (tmp_path / "tureen.toml").unlink()
    (tmp_path / "hypercorn.toml").write_text("keep_alive_timeot = 5\n")
    assert "keep_alive_timeout" in refused(kitchen, cwd=tmp_path)
    done = run("check", kitchen, cwd=tmp_path)
    assert (done.returncode, "keep_alive_timeout" in done.stdout) == (1, True)


def test_each_mistake_in_the_configuration_is_told_once(kitchen: Path, tmp_path: Path) -> None:
    (tmp_path / "tureen.toml").write_text("sever = 'uvicorn'\nworker = 2\n")
    assert refused(kitchen, cwd=tmp_path) == (
        "tureen: tureen.toml: sever: there is no such key (expected server, got sever)\n"
        "  tureen.toml: worker: there is no such key (expected workers, got worker)\n"
    )


def test_a_repository_that_is_not_there_is_told(tmp_path: Path) -> None:
    told = refused("nowhere", cwd=tmp_path)
    assert told.startswith("tureen: the repository 'nowhere' does not exist")
    (tmp_path / "notes.md").write_text("no model")
    assert "'notes.md' is no model file" in refused("notes.md", cwd=tmp_path)


def test_listening_beyond_this_machine_has_to_be_wanted(kitchen: Path, tmp_path: Path) -> None:
    told = refused(kitchen, "--bind", "0.0.0.0:0", cwd=tmp_path)
    assert "nothing asks who they are" in told
    assert "--insecure" in told
    with serving(kitchen, "--bind", "0.0.0.0:0", "--insecure", cwd=tmp_path) as server:
        assert server.host == "127.0.0.1"
        assert server.get("/v2/health/ready").status == 200


@pytest.mark.parametrize("app", ["nothing_here:extend", "quart_lane:nothing_here"])
def test_an_app_that_is_not_there_is_told(kitchen: Path, tmp_path: Path, app: str) -> None:
    assert "nothing_here" in refused(kitchen, "--app", app, cwd=tmp_path)


def test_an_empty_repository_is_served_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    with serving(tmp_path / "repository", cwd=tmp_path) as server:
        assert "no model is served" in "".join(server.out)
        assert server.post("/v2/repository/index").json() == []


@pytest.fixture(params=[("hypercorn", signal.SIGTERM), ("uvicorn", signal.SIGTERM), ("uvicorn", signal.SIGINT)], ids=str)
def stopping(kitchen: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Server, signal.Signals]]:
    """A server of its own, and the signal to stop it by."""
    kind, number = request.param
    with serving(kitchen, kind=kind, cwd=tmp_path) as server:
        yield server, number


def test_a_server_that_is_told_to_stop_answers_what_is_in_flight(stopping: tuple[Server, signal.Signals], kitchen: Path) -> None:
    server, number = stopping
    with gate_of(kitchen) as gate:
        replies: list[Reply] = []
        body = {"instances": [{"x": 21, "gate": gate.name}]}
        asking = threading.Thread(target=lambda: replies.append(server.post("/v1/models/gate:predict", body)))
        asking.start()
        gate.await_call()
        server.process.send_signal(number)
        until(lambda: not accepts(server), "no connection is accepted any more")
        assert server.process.poll() is None
        gate.open()
        asking.join(PATIENCE_S)
    assert [(reply.status, reply.json()) for reply in replies] == [(200, {"predictions": [{"y": 42, "rows": 1}]})]
    assert server.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_drains_says_so_before_it_stops(kitchen: Path, tmp_path: Path, kind: str, gate: Gate) -> None:
    with serving(kitchen, kind=kind, cwd=tmp_path, env={"TUREEN_DRAIN__DELAY_S": "600"}) as server:
        assert server.get("/v2/health/ready").status == 200
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.get("/v2/health/ready").status == 503, "readiness says that the server drains")
        assert server.post("/v1/models/affine:predict", ROW).status == 200  # a balancer needs time to see it
        server.process.send_signal(signal.SIGTERM)  # the second one: no more patience
        assert server.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_idle_connections_do_not_keep_a_server_from_stopping(kitchen: Path, tmp_path: Path, kind: str) -> None:
    with serving(kitchen, kind=kind, cwd=tmp_path) as server, wire(server) as idle, wire(server) as silent:
        idle.send(post("/v1/models/affine:predict", b'{"instances": [[1, 2, 3, 4]]}'))
        assert idle.reply().status == 200
        silent.send(b"POST /v1/models/affine:predict HTTP/1.1\r\n")
        assert server.stop() == 0


@pytest.mark.parametrize(("kind", "lane"), [("hypercorn", "quart"), ("hypercorn", "express"), ("uvicorn", "express")])
def test_requests_that_outlast_the_drain_are_told_so(kitchen: Path, tmp_path: Path, kind: str, lane: str, gate: Gate) -> None:
    body = json.dumps({"instances": [{"x": 1, "gate": gate.name}]}).encode()
    with serving(kitchen, kind=kind, lane=lane, cwd=tmp_path, env={"TUREEN_DRAIN__TIMEOUT_S": "0.2"}) as server:
        with wire(server) as computed, wire(server) as queued:
            computed.send(post("/v1/models/gate:predict", body))
            gate.await_call()
            queued.send(post("/v1/models/gate:predict", body))
            assert server.get("/v2/health/ready").status == 200  # so the queued one has been read
            server.process.send_signal(signal.SIGTERM)
            for connection in (computed, queued):
                reply = connection.reply()
                assert (reply.status, reply.json()["code"], reply.headers["retry-after"]) == (503, "draining", "1")
                assert connection.closed
        gate.open()
        assert server.process.wait(PATIENCE_S) == 0


def test_a_call_that_never_ends_does_not_keep_the_server_from_stopping(kitchen: Path, tmp_path: Path, gate: Gate) -> None:
    body = json.dumps({"instances": [{"x": 1, "gate": gate.name}]}).encode()
    with serving(kitchen, cwd=tmp_path, env={"TUREEN_DRAIN__TIMEOUT_S": "0"}) as server:
        with wire(server) as connection:
            connection.send(post("/v1/models/gate:predict", body))
            gate.await_call()
        assert server.stop() == 0
        assert any("is left to it" in line for line in server.log)


def accepts(server: Server) -> bool:
    """Whether a new connection is accepted."""
    try:
        socket.create_connection((server.host, server.port), 1).close()
    except OSError:
        return False
    return True


def test_demo_does_no_work_twice(demo: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*") if path.is_file()}
    done = run("demo", demo, cwd=tmp_path)
    assert (done.returncode, done.stdout.count("; version")) == (0, 4), os.linesep.join((done.stdout, done.stderr))
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*") if path.is_file()} == before
