"""The load tests' own logic, and one short run against a stand-in server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests import thresholds
from loadtests.looks import Look, Told, between
from loadtests.outcome import load as load_outcome
from loadtests.page import page
from loadtests.run import StartFailed, free_port, serving
from loadtests.verdict import Check, Measured, Thresholds, table, verdict
from loadtests.zipf import users
from service.commands.bench.batches import Batches, Counted

ROOT = Path(__file__).parents[1]
WANTED = Thresholds(rate=1000.0)
GOOD = Measured(requests=60_000, failures=0, seconds=60.0, p50_ms=4.0, p99_ms=20.0)


def failed(measured: Measured, thresholds: Thresholds = WANTED) -> list[str]:
    return [check.name for check in verdict(measured, thresholds) if not check.passed]


def test_a_good_run_passes_every_check() -> None:
    assert verdict(GOOD, WANTED) == (
        Check("errors", "<= 0.00%", "0.00%", True),
        Check("p50", "<= 10 ms", "4 ms", True),
        Check("p99", "<= 50 ms", "20 ms", True),
        Check("rate", ">= 990/s", "1000.0/s", True),
    )


def test_a_limit_reached_exactly_is_kept() -> None:
    assert failed(replace(GOOD, p99_ms=50.0, requests=59_400)) == []


@pytest.mark.parametrize(
    ("measured", "missed"),
    [
        (replace(GOOD, failures=1), ["errors"]),
        (replace(GOOD, p99_ms=51.0), ["p99"]),
        (replace(GOOD, p50_ms=11.0), ["p50"]),
        (replace(GOOD, requests=59_399), ["rate"]),
        (replace(GOOD, failures=60_000, p99_ms=900.0, requests=30_000), ["errors", "p99", "rate"]),
        (Measured(0, 0, 60.0, 0.0, 0.0), ["errors", "p50", "p99", "rate"]),
        (Measured(0, 0, 0.0, 0.0, 0.0), ["errors", "p50", "p99", "rate"]),
    ],
)
def test_each_missed_threshold_fails_its_check(measured: Measured, missed: list[str]) -> None:
    assert failed(measured) == missed


@given(st.integers(1, 100_000), st.floats(0, 1), st.integers(1, 100))
def test_the_error_share_allowed_is_a_share_of_the_requests(requests: int, allowed: float, percent: int) -> None:
    failures = requests * percent // 100
    errors = verdict(replace(GOOD, requests=requests, failures=failures), replace(WANTED, error_share=allowed))[0]
    assert errors.passed == (failures / requests <= allowed)


def test_the_table_names_every_check_and_its_outcome() -> None:
    measured = replace(GOOD, p99_ms=80.0)
    lines = table(measured, verdict(measured, WANTED)).splitlines()
    assert lines[0] == "60000 requests in 60.0 s counted"
    assert [line.split()[-1] for line in lines[2:]] == ["passed", "passed", "FAILED", "passed"]


def test_uvicorn_is_held_to_half_the_p99_of_hypercorn_and_to_all_else_alike() -> None:
    for scenario, wanted in thresholds.SCENARIOS.items():
        assert thresholds.on("hypercorn", scenario) == wanted
        assert thresholds.on("uvicorn", scenario) == replace(wanted, p99_ms=wanted.p99_ms / 2)


def test_what_a_server_told_is_the_difference_of_two_looks() -> None:
    before = Look({"a": Counted(5, 0, 10, 5, {2: 5}), "gone": Counted(9, 0, 9, 9, {1: 9})}, 1.5, {"hit": 3})
    after = Look({"a": Counted(9, 0, 20, 8, {2: 6, 4: 2}), "gone": Counted(1, 0, 1, 1, {1: 1})}, 2.0, {"hit": 3, "miss": 4})
    a = Batches(3, 10, {2: 1, 4: 2}, "statistics")
    assert between(before, after) == Told({"a": a}, 0.5, {"miss": 4})
    assert between(before, after).all == a
    assert between(Look(), after) == Told({}, None, {"hit": 3, "miss": 4})


def test_users_follow_the_zipf_law_and_their_seed() -> None:
    drawn = users(10_000, 1.1, 50_000, seed=1)
    assert drawn == users(10_000, 1.1, 50_000, seed=1)
    count = Counter(drawn)
    assert count[0] / count[9] == pytest.approx(10**1.1, rel=0.2)
    assert 0 <= min(drawn) <= max(drawn) < 10_000


class Answers(BaseHTTPRequestHandler):
    """Answers every request as the recommender would, after ``status``."""

    protocol_version = "HTTP/1.1"
    # Headers and body in one segment: apart, they wait for each other.
    wbufsize = -1
    status: ClassVar[int] = 200
    scores: ClassVar[list[int]] = list(range(10, 0, -1))
    seen: ClassVar[list[tuple[str, str]]] = []

    def do_POST(self) -> None:
        self.seen.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
        body = json.dumps({"predictions": [{"items": list(range(10)), "scores": self.scores}]}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def standing_in(answers: type[Answers]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def load(host: str, outcome: Path) -> subprocess.CompletedProcess[str]:
    options = ["--users", "5", "--rate", "40", "--rate-share", "0.5", "--warm-up", "0.2", "--seconds", "1"]
    options += ["--p50-ms", "5000", "--p99-ms", "5000"]
    command = [sys.executable, "-m", "locust", "--config", "loadtests/locust.conf", "--host", host, "--outcome", str(outcome)]
    return subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_a_run_exits_0_and_leaves_its_outcome_where_the_server_keeps_its_promises(tmp_path: Path) -> None:
    class Good(Answers):
        seen: ClassVar[list[tuple[str, str]]] = []

    with standing_in(Good) as host:
        run = load(host, tmp_path / "outcome")
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("passed") == 4
    outcome = load_outcome(tmp_path / "outcome")
    assert outcome.requests == outcome.result.record.ok >= 20
    assert outcome.told == Told()  # the stand-in tells nothing of itself
    written = page([outcome])
    assert written.count("<svg") == 4  # percentiles, rate, latency over time, histogram
    assert not re.search(r"(src|href)=|@import|url\(", written)
    path, body = Good.seen[0]
    assert path == "/v1/models/recommender:predict"
    assert json.loads(body)["instances"][0]["k"] == 10


def test_a_run_exits_1_where_the_server_fails(tmp_path: Path) -> None:
    class Failing(Answers):
        status = 503

    with standing_in(Failing) as host:
        run = load(host, tmp_path / "outcome")
    assert run.returncode == 1
    assert "100.00%  FAILED" in run.stdout


def test_a_server_that_stops_before_it_is_ready_is_reported() -> None:
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    with pytest.raises(StartFailed, match="exit code 3"), serving(command, f"http://127.0.0.1:{free_port()}"):
        pass
