"""`tureen status` and `tureen models` against a server that runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.keyed import asking, key_of
from tests.e2e.served import Server, command, run, serving


@pytest.fixture(scope="module")
def own(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of two workers and two models, which these tests may load and unload."""
    repository = tmp_path_factory.mktemp("commands") / "repository"
    for name in ("affine", "boost"):
        shutil.copytree(kitchen / name, repository / name)
    with serving(repository, "--workers", 2, cwd=repository.parent) as server:
        yield server


def ask(server: Server, count: int) -> None:
    """So many inferences of the model `affine`."""
    spec = server.get("/v2/models/affine").json()["inputs"][0]
    shape = [1 if size < 0 else size for size in spec["shape"]]
    row = {"name": spec["name"], "datatype": spec["datatype"], "shape": shape, "data": [1] * shape[-1]}
    for _ in range(count):
        assert server.post("/v2/models/affine/infer", {"inputs": [row]}).status == 200


def test_status_exits_0_and_shows_every_version_of_a_ready_server(own: Server, tmp_path: Path) -> None:
    done = run("status", "--url", own.url, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"on {own.url}, ready" in done.stdout
    shown = [line.split()[:4] for line in done.stdout.splitlines()]
    assert ["affine", "1", "ready", "onnxruntime_onnx"] in shown
    assert ["boost", "2", "ready", "lightgbm"] in shown


def test_status_counts_the_requests_of_all_workers(own: Server, tmp_path: Path) -> None:
    def requests() -> int:
        told = json.loads(run("status", "--json", "--url", own.url, cwd=tmp_path).stdout)
        assert told["workers"] == {"serving": 2}
        return next(int(row["requests"]) for row in told["models"] if row["model"] == "affine")

    before = requests()
    ask(own, 7)  # each on a connection of its own, which workers take in turns
    assert requests() == before + 7


def test_status_watches_until_it_is_interrupted(own: Server, tmp_path: Path) -> None:
    watching = subprocess.Popen(
        command("status", "--json", "--watch", "0.1", "--url", own.url), cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    with watching:
        assert watching.stdout is not None
        looks = [json.loads(watching.stdout.readline()) for _ in range(3)]
        watching.send_signal(signal.SIGINT)
        watching.stdout.read()
    assert [look["seconds"] is None for look in looks] == [True, False, False]
    assert watching.returncode == 0


def test_status_of_nothing_exits_2_and_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # not listening: nobody else gets the port either
        done = run("status", "--url", f"http://127.0.0.1:{free.getsockname()[1]}", cwd=tmp_path)
    assert done.returncode == 2
    assert "nothing listens at" in done.stderr
    assert "tureen serve" in done.stderr


def test_status_of_a_server_that_speaks_something_else_exits_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example ready\r\n")

        threading.Thread(target=greet, daemon=True).start()
        done = run("status", "--url", f"http://127.0.0.1:{listening.getsockname()[1]}", cwd=tmp_path)
    assert done.returncode == 2
    assert "gave no HTTP answer that can be read" in done.stderr


def test_a_model_is_unloaded_and_loaded_with_a_sentence_each(own: Server, tmp_path: Path) -> None:
    gone = run("models", "unload", "boost", "--url", own.url, cwd=tmp_path)
    assert (gone.returncode, gone.stdout) == (0, "boost is unloaded; its requests are answered 503 until it is loaded again\n")
    assert own.get("/v2/models/boost/ready").status == 503
    assert " unavailable" in run("models", "--url", own.url, cwd=tmp_path).stdout
    back = run("models", "--url", own.url, "load", "boost", cwd=tmp_path)
    assert back.returncode == 0, back.stderr
    assert back.stdout.startswith("boost is loaded: version")
    assert own.get("/v2/models/boost/ready").status == 200


def test_what_the_server_refuses_exits_1_with_its_sentence(own: Server, tmp_path: Path) -> None:
    done = run("models", "load", "bost", "--url", own.url, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "tureen: bost was not loaded: there is no model 'bost'; did you mean 'boost'?\n"


def test_models_lists_what_is_there(own: Server, tmp_path: Path) -> None:
    done = run("models", "list", "--url", own.url, cwd=tmp_path)
    assert done.returncode == 0
    assert ["affine", "1", "ready"] in [line.split() for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory, and beside it files with a key of each kind."""
    directory = tmp_path_factory.mktemp("keys")
    for name, *options in (("infer",), ("metrics", "--scope", "metrics"), ("admin", "--scope", "admin")):
        (directory / name).write_text(key_of(directory / "state", *options) + "\n")
    return directory


@pytest.fixture(scope="module")
def guarded(kitchen: Path, keys: Path) -> Iterator[Server]:
    repository = keys / "repository"
    shutil.copytree(kitchen / "affine", repository / "affine")
    with serving(repository, cwd=keys, env=asking(keys / "state")) as server:
        yield server


def test_without_a_key_the_commands_say_where_to_put_one(guarded: Server, keys: Path) -> None:
    for arguments, code in ((("status",), 2), (("models",), 1), (("models", "load", "affine"), 1)):
        done = run(*arguments, "--url", guarded.url, cwd=keys)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
        assert "TUREEN_API_KEY" in done.stderr


def test_a_server_that_asks_for_a_key_greets_with_a_line_that_shows_one(guarded: Server, keys: Path) -> None:
    (line,) = [line.strip() for line in guarded.out if line.strip().startswith("curl ")]
    env = {"PATH": os.environ["PATH"], "TUREEN_API_KEY": (keys / "infer").read_text().strip()}
    pasted = subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True, timeout=30, check=True)
    assert "predictions" in json.loads(pasted.stdout)


def test_each_key_shows_in_the_status_what_it_is_for(guarded: Server, keys: Path) -> None:
    def told(key: str) -> str:
        done = run("status", "--url", guarded.url, "--key-file", keys / key, cwd=keys)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert "of all workers" in told("admin")
    assert "affine  1        ready" in told("infer")
    assert "/metrics is not for this key" in told("infer")
    assert "The models' states are not told" in told("metrics")
    assert "of all workers" in told("metrics")


def test_a_load_takes_a_key_for_it(guarded: Server, keys: Path) -> None:
    refused = run("models", "load", "affine", "--url", guarded.url, cwd=keys, env={"TUREEN_API_KEY": (keys / "infer").read_text()})
    assert refused.returncode == 1
    assert refused.stderr.startswith("tureen: affine was not loaded: the credential is not of the scope admin")
    done = run("models", "load", "affine", "--url", guarded.url, "--key-file", keys / "admin", cwd=keys)
    assert (done.returncode, done.stderr) == (0, "")
