"""`tureen bench` against servers that run: what it counts is what they count."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.keyed import keyed
from tests.e2e.patience import until
from tests.e2e.served import Server, command, run, serving

CLOSED = ("--connections", 4)
OPEN = ("--rate", 200)


def bench(server: Server, cwd: Path, *arguments: object) -> Any:
    """What the command reports as JSON."""
    done = run("bench", *arguments, "--url", server.url, "--json", cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def answered(server: Server, model: str) -> int:
    return int(server.statistics(model)["inference_stats"]["success"]["count"])


@pytest.mark.parametrize("loop", [CLOSED, OPEN], ids=["closed", "open"])
def test_what_it_counts_is_what_the_server_counts(fast_server: Server, loop: tuple[object, ...], tmp_path: Path) -> None:
    before = answered(fast_server, "affine")
    told = bench(fast_server, tmp_path, "affine", "--duration", 1, "--warmup", 0, "--rows", 3, *loop)
    requests, batches = told["requests"], told["batches"]
    assert requests["failed"] == 0
    assert requests["ok"] == requests["sent"] > 10
    assert answered(fast_server, "affine") - before == requests["ok"] + 1  # the one that tried whether there is an answer
    assert batches["rows"] == 3 * requests["ok"]
    assert (batches["by_rows_from"], sum(batches["closed"].values())) == ("statistics", batches["calls"])
    assert sum(each["rows"] * each["calls"] for each in batches["by_rows"]) == batches["rows"]
    assert told["versions"] == {"1": requests["ok"]}
    assert told["queue_ms"]["p50"] <= told["latency_ms"]["max"]


def test_an_open_loop_is_due_what_its_rate_says(hypercorn_server: Server, tmp_path: Path) -> None:
    told = bench(hypercorn_server, tmp_path, "affine", "--duration", 1, "--warmup", 0.2, *OPEN, "--arrivals", "constant")
    assert told["requests"]["due"] == 200


@pytest.mark.parametrize(
    ("model", "protocol"),
    [
        ("pair", "oip"),
        ("boost", "oip"),
        ("greet", "oip-binary"),
        ("half", "oip-binary"),
        ("greet", "tfserving"),
        ("fixed", "tfserving"),
    ],
)
def test_every_protocol_is_spoken(hypercorn_server: Server, model: str, protocol: str, tmp_path: Path) -> None:
    told = bench(hypercorn_server, tmp_path, model, "--duration", 0.1, "--warmup", 0, "--protocol", protocol, *CLOSED)
    assert told["requests"]["failed"] == 0
    assert told["requests"]["ok"] > 0


def test_the_batches_of_several_workers_are_those_of_all(kitchen: Path, tmp_path: Path) -> None:
    with serving(kitchen, "--workers", 2, cwd=tmp_path) as server:
        told = bench(server, tmp_path, "affine", "--duration", 1, "--warmup", 0.2, "--connections", 8)
    batches = told["batches"]
    assert batches["rows"] == told["requests"]["ok"]
    assert batches["calls"] == sum(batches["closed"].values())
    assert batches["by_rows_from"] == "answers"


def test_one_version_is_asked_where_it_is_named(hypercorn_server: Server, tmp_path: Path) -> None:
    told = bench(hypercorn_server, tmp_path, "boost", "--version", 1, "--duration", 0.2, "--warmup", 0, *CLOSED)
    assert told["versions"] == {"1": told["requests"]["ok"]}


def test_it_reports_for_people_and_writes_a_page_and_a_picture(hypercorn_server: Server, tmp_path: Path) -> None:
    asked = ("bench", "affine", "--url", hypercorn_server.url, "--duration", 0.5, "--warmup", 0, *CLOSED)
    done = run(*asked, "--html", "run.html", "--png", "run.png", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "requests/s" in done.stdout
    assert "batches:" in done.stdout
    assert (tmp_path / "run.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupt_reports_what_was_measured_so_far(hypercorn_server: Server, tmp_path: Path) -> None:
    before = answered(hypercorn_server, "pair")
    asked = ("bench", "pair", "--url", hypercorn_server.url, "--duration", 600, "--warmup", 0, "--json", *CLOSED)
    with subprocess.Popen(command(*asked), cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        until(lambda: answered(hypercorn_server, "pair") > before + 50, "it measures")
        running.send_signal(signal.SIGINT)
        told = json.loads(running.communicate()[0])
    assert running.returncode == 0
    assert told["interrupted"] is True
    assert answered(hypercorn_server, "pair") - before == told["requests"]["ok"] + 1


def test_requests_of_a_file_are_sent_as_they_are(hypercorn_server: Server, tmp_path: Path) -> None:
    (tmp_path / "requests").write_text('{"instances": [[1, 2, 3, 4], [5, 6, 7, 8]]}\n{"instances": [[1, 2, 3, 4]]}\n')
    told = bench(
        hypercorn_server, tmp_path, "affine", "--data", "requests", "--protocol", "tfserving", "--duration", 0.3, "--warmup", 0
    )
    assert told["requests"]["failed"] == 0
    assert told["requests"]["ok"] < told["batches"]["rows"] < 2 * told["requests"]["ok"]


def test_where_no_request_succeeds_it_exits_1_and_says_of_what_they_failed(hypercorn_server: Server, tmp_path: Path) -> None:
    (tmp_path / "requests").write_text('{"instances": [[1, 2]]}')
    asked = ("bench", "affine", "--url", hypercorn_server.url, "--protocol", "tfserving", "--data", "requests")
    done = run(*asked, cwd=tmp_path)
    assert done.returncode == 1
    assert "affine answers 400" in done.stderr
    assert "mend the file of --data" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "there is no model 'nothing'"),
        (("half",), "use --protocol oip-binary"),
        (("fixed", "--rows", 2), "leave out --rows"),
        (("affine", "--arrivals", "constant"), "--arrivals goes with --rate"),
        (("affine", "--html", "nowhere/run.html"), "no directory nowhere"),
        (("affine", "--rate", 1e6, "--duration", 3600), "give less of one of them"),
    ],
)
def test_where_there_is_nothing_to_ask_it_exits_2_and_says_what_to_do(
    hypercorn_server: Server, arguments: tuple[object, ...], said: str, tmp_path: Path
) -> None:
    done = run("bench", *arguments, "--url", hypercorn_server.url, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


def test_where_a_key_is_asked_for_it_takes_one_and_lets_nobody_else_in(kitchen: Path, tmp_path: Path) -> None:
    with keyed(kitchen, tmp_path, "--scope", "infer") as guarded:
        asked = ("bench", "affine", "--url", guarded.server.url, "--duration", 0.3, "--warmup", 0, "--json")
        refused = run(*asked, cwd=tmp_path)
        done = run(*asked, cwd=tmp_path, env={"TUREEN_API_KEY": guarded.key})
    assert refused.returncode == 2
    assert "the server asks for a key" in refused.stderr
    told = json.loads(done.stdout)
    assert (done.returncode, told["requests"]["failed"]) == (0, 0)
    assert told["batches"]["rows"] == told["requests"]["ok"]  # of the statistics: a key for inference sees no metrics
    assert told["batches"]["closed"] is None
