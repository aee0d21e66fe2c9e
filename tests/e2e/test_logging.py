"""What running servers write: their log, whatever becomes of who reads it, and captures that can be replayed."""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kitchen import Gate, build
from tests.e2e.patience import until
from tests.e2e.served import Server, run, serving
from tests.e2e.wire import post, wire

AFFINE = "/v2/models/affine/infer"
ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}


def lines_of(server: Server, name: str) -> list[dict[str, Any]]:
    """The lines of the log that are about that request."""
    return [told for line in list(server.log) if name in line and (told := json.loads(line)).get("request_id") == name]


def line_of(server: Server, name: str) -> dict[str, Any]:
    """The one line about that request."""
    until(lambda: bool(lines_of(server, name)), f"the log tells of request {name}")
    (line,) = (line for line in lines_of(server, name) if line["logger"] == "tureen.request")
    return line


def test_an_inference_is_one_line_with_all_its_fields(server: Server) -> None:
    reply = server.post(AFFINE, ROW, {"x-request-id": "all-fields"})
    assert reply.status == 200
    line = line_of(server, "all-fields")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line.pop("pid") in server.workers
    times = {name: line.pop(name) for name in ("queue_ms", "infer_ms", "total_ms")}
    assert 0 <= times["queue_ms"] <= times["total_ms"] >= times["infer_ms"] > 0
    assert line == {
        "level": "info",
        "logger": "tureen.request",
        "event": "request",
        "worker": 0,
        "request_id": "all-fields",
        "principal": "address:127.0.0.1",
        "method": "POST",
        "protocol": "oip",
        "model": "affine",
        "version": "1",
        "status": 200,
        "code": None,
        "rows": 1,
        "batch_rows": 1,
        "cache": None,
        "bytes_in": len(json.dumps(ROW)),
        "bytes_out": len(reply.body),
    }


REFUSALS = [
    ("unknown", "/v2/models/nobody/infer", b"{}", 404, "unknown_model"),
    ("malformed", AFFINE, b"{", 400, "bad_request"),
    ("failed", "/v2/models/ledger/infer", None, 500, "model_failed"),
    ("tf", "/v1/models/affine/versions/9:predict", b"{}", 404, "unknown_version"),
]
BELOW_0 = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [-1]}]}


@pytest.mark.parametrize(("name", "path", "body", "status", "code"), REFUSALS)
def test_a_refusal_is_one_line_with_its_code(
    server: Server, name: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    assert server.post(path, BELOW_0 if body is None else body, {"x-request-id": f"no-{name}"}).status == status
    line = line_of(server, f"no-{name}")
    assert (line["status"], line["code"], line["level"]) == (status, code, "error" if status == 500 else "warning")


def test_a_defect_has_its_traceback_in_a_line_with_the_same_id(server: Server) -> None:
    server.post("/v2/models/ledger/infer", BELOW_0, {"x-request-id": "traced"})
    line_of(server, "traced")
    (failed,) = (line for line in lines_of(server, "traced") if line["logger"] == "tureen.errors")
    assert failed["exception"].startswith("Traceback (most recent call last):\n")
    assert (failed["level"], "\n" in failed["exception"]) == ("error", True)


def test_any_other_request_is_one_line_with_its_route(server: Server) -> None:
    server.get("/v2/models/affine", {"x-request-id": "plain"})
    server.request("DELETE", "/v2", None, {"x-request-id": "not-allowed"})
    line = line_of(server, "plain")
    assert (line["method"], line["route"], line["status"], line["code"]) == ("GET", "/v2/models/<model:name>", 200, None)
    line = line_of(server, "not-allowed")
    assert (line["status"], line["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/v2/repository/models/nobody/unload", "/nobody/there"])
def test_any_other_request_tells_its_path_and_not_its_query(server: Server, path: str) -> None:
    name = f"asked-{path.count('/')}"
    server.post(f"{path}?api_key=secret", {}, {"x-request-id": name})
    assert line_of(server, name)["path"] == path
    assert not [line for line in list(server.log) if "api_key" in line]


def test_a_client_that_leaves_is_499(server: Server, gate: Gate) -> None:
    inputs = [
        {"name": "x", "datatype": "FP64", "shape": [1], "data": [1]},
        {"name": "gate", "datatype": "BYTES", "shape": [1], "data": [gate.name]},
    ]
    name = f"left-{gate.name}"
    with wire(server) as connection:
        connection.send(post("/v2/models/gate/infer", json.dumps({"inputs": inputs}).encode(), f"X-Request-Id: {name}"))
        gate.await_call()
    line = line_of(server, name)
    assert (line["status"], line["code"], line["rows"], line["bytes_out"]) == (499, None, 1, 0)


def test_probes_are_not_in_the_log(fast_server: Server) -> None:
    for path in ("/healthz", "/v2/health/ready", "/v2/health/live", "/readyz", "/", "/v2/models/affine/ready"):
        assert fast_server.get(path, {"x-request-id": "probing"}).status == 200
    fast_server.get("/v2", {"x-request-id": "after-the-probes"})
    line_of(fast_server, "after-the-probes")
    assert lines_of(fast_server, "probing") == []


def test_every_line_of_the_log_is_json(fast_server: Server) -> None:
    for line in list(fast_server.log):
        assert {"timestamp", "level", "logger", "event", "worker", "pid"} <= set(json.loads(line)), line


# -- who reads the log -------------------------------------------------------------------------------------------------------


@contextmanager
def piped(size: int = 65536) -> Iterator[tuple[int, int]]:
    """A pipe of that size: the reading end and the writing end, closed at the end where that has not been done."""
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, size)
    try:
        yield ours, theirs
    finally:
        os.close(theirs)
        os.closerange(ours, ours + 1)


def sample(server: Server, name: str) -> float:
    """A counter of `/metrics`."""
    found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", server.get("/metrics").body.decode(), re.MULTILINE)
    return sum(map(float, found))


def test_a_log_pipe_that_is_closed_stops_nothing_and_is_counted(kitchen: Path, tmp_path: Path) -> None:
    with piped() as (ours, theirs), serving(kitchen, "--workers", 2, cwd=tmp_path, log=theirs) as server:
        os.close(ours)
        for _ in range(50):
            assert server.post(AFFINE, ROW).status == 200
        until(lambda: sample(server, "tureen_log_dropped_lines_total") > 0, "lost lines are counted")
        assert len(server.workers) == 2


def test_a_log_pipe_that_nobody_reads_stops_nothing_and_is_counted(kitchen: Path, tmp_path: Path) -> None:
    with (
        piped(4096) as (_, theirs),
        serving(kitchen, "--app", "talkative:extend", kind="uvicorn", cwd=tmp_path, log=theirs) as server,
    ):
        for _ in range(2):
            assert server.get("/talk/12000").status == 200
        assert server.post(AFFINE, ROW).status == 200
        until(lambda: sample(server, "tureen_log_dropped_lines_total") > 0, "lost lines are counted")


@pytest.fixture(scope="module")
def pair(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers that share a pipe, and a full disk to capture to."""
    env = {"TUREEN_LOG__CAPTURE": "/dev/full", "TUREEN_LOG__CAPTURE_SAMPLE": "1"}
    arguments = ("--workers", 2, "--app", "talkative:extend")
    with serving(kitchen, *arguments, kind="uvicorn", cwd=tmp_path_factory.mktemp("pair"), env=env) as server:
        yield server


def test_workers_do_not_tear_each_others_lines(pair: Server) -> None:
    for _ in range(10):
        assert pair.get("/talk/500").status == 200
    until(lambda: sum('"logger":"talkative"' in line for line in list(pair.log)) == 5000, "all of it is in the log")
    for line in list(pair.log):
        json.loads(line)


def test_a_full_disk_ends_the_capture_and_the_service_goes_on(pair: Server) -> None:
    for _ in range(20):
        assert pair.post(AFFINE, ROW).status == 200
    until(lambda: any("nothing is captured any more" in line for line in list(pair.log)), "the log says so")
    assert pair.get("/v2/health/ready").status == 200


# -- captures ----------------------------------------------------------------------------------------------------------------


def ask_all(server: Server) -> None:
    """Requests of each kind: both protocols, binary, refused, and one that takes another model."""
    octets = b"".join(value.to_bytes(4, "little") for value in (1065353216,) * 4)  # four ones, FP32
    head = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}]}
    binary = json.dumps({**head, "parameters": {"binary_data_output": True}}).encode()
    server.post(AFFINE, ROW)
    server.post("/v1/models/affine:predict", {"instances": [[1, 2, 3, 4], [0, 0, 0, 1]]})
    server.post(AFFINE, binary + octets, {"inference-header-content-length": str(len(binary)), "authorization": "Bearer s3cret"})
    server.post("/v1/models/boost/labels/stable:predict", {"instances": [[0.1, 0.2, 0.3, 0.4]]})
    server.post("/v2/models/boost/versions/7/infer", ROW)
    server.post(AFFINE, b"{")


def captured(path: Path, lines: int) -> str:
    """What was captured, once it is all there."""
    until(lambda: path.exists() and path.read_text().count("\n") == lines, f"{lines} inferences are captured")
    return path.read_text()


def test_what_was_captured_can_be_replayed_and_a_changed_model_differs(tmp_path: Path) -> None:
    repository, capture, kept = build(tmp_path / "repository"), tmp_path / "captured.ndjson", tmp_path / "kept.ndjson"
    env = {"TUREEN_LOG__CAPTURE": str(capture), "TUREEN_LOG__CAPTURE_SAMPLE": "1"}
    with serving(repository, lane="quart", cwd=tmp_path, env=env) as server:
        ask_all(server)
        kept.write_text(captured(capture, lines=6))
        assert "s3cret" not in kept.read_text()
        assert stat.S_IMODE(capture.stat().st_mode) == 0o600

        done = run("replay", kept, "--url", server.url, cwd=tmp_path)
        assert (done.returncode, "6 equal, 0 different, 0 failed" in done.stdout) == (0, True), done.stdout + done.stderr

        (repository / "boost" / "1" / "model.txt").write_text((repository / "boost" / "2" / "model.txt").read_text())
        assert server.post("/v2/repository/models/boost/load").status == 200
        done = run("replay", kept, "--url", server.url, cwd=tmp_path)
        assert (done.returncode, "5 equal, 1 different, 0 failed" in done.stdout) == (1, True), done.stdout + done.stderr
        assert "/v1/models/boost/labels/stable:predict" in done.stdout
        assert "predictions[0]: " in done.stdout


def test_redacted_values_are_not_in_the_file(kitchen: Path, tmp_path: Path) -> None:
    capture = tmp_path / "captured.ndjson"
    env = {"TUREEN_LOG__CAPTURE": str(capture), "TUREEN_LOG__CAPTURE_SAMPLE": "1", "TUREEN_LOG__CAPTURE_REDACT": "name,greeting"}
    with serving(kitchen, kind="uvicorn", cwd=tmp_path, env=env) as server:
        named = {"name": "name", "datatype": "BYTES", "shape": [1, 1]}
        server.post("/v2/models/greet/infer", {"inputs": [{**named, "data": ["Edeltraud"]}]})
        server.post("/v1/models/greet:predict", {"instances": [["Edeltraud"]]})
        server.post("/v2/models/greet/infer", {"inputs": [{**named, "datatype": "FP32", "data": ["Edeltraud"]}]})
        text = captured(capture, lines=3)
        done = run("replay", capture, "--url", server.url, cwd=tmp_path)
    assert "Edeltraud" not in text
    assert (done.returncode, "3 skipped: redacted" in done.stdout) == (1, True)
