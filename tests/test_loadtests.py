"""The load tests' own logic, and one short run against a stand-in server."""

from __future__ import annotations

import json
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

from loadtests.run import StartFailed, free_port, serving
from loadtests.verdict import Check, Measured, Thresholds, table, verdict
from loadtests.zipf import users

ROOT = Path(__file__).parents[1]
WANTED = Thresholds(rate=1000.0)
GOOD = Measured(requests=60_000, failures=0, seconds=60.0, p50_ms=4.0, p99_ms=20.0)


def failed(measured: Measured, thresholds: Thresholds = WANTED) -> list[str]:
    return [check.name for check in verdict(measured, thresholds) if not check.passed]


def test_a_good_run_passes_every_check() -> None:
    assert verdict(GOOD, WANTED) == (
        Check("errors", "<= 0.00%", "0.00%", True),
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
        (replace(GOOD, requests=59_399), ["rate"]),
        (replace(GOOD, failures=60_000, p99_ms=900.0, requests=30_000), ["errors", "p99", "rate"]),
        (Measured(0, 0, 60.0, 0.0, 0.0), ["errors", "p99", "rate"]),
        (Measured(0, 0, 0.0, 0.0, 0.0), ["errors", "p99", "rate"]),
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
    assert lines[0] == "60000 requests in 60.0 s counted, p50 4 ms"
    assert [line.split()[-1] for line in lines[2:]] == ["passed", "FAILED", "passed"]


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


def load(host: str, report: Path) -> subprocess.CompletedProcess[str]:
    options = ["--users", "5", "--rate", "40", "--rate-share", "0.5", "--warm-up", "0.2", "--seconds", "1", "--p99-ms", "5000"]
    command = [sys.executable, "-m", "locust", "--config", "loadtests/locust.conf", "--host", host, "--html", str(report)]
    return subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_a_run_exits_0_and_leaves_a_report_where_the_server_keeps_its_promises(tmp_path: Path) -> None:
    class Good(Answers):
        seen: ClassVar[list[tuple[str, str]]] = []

    with standing_in(Good) as host:
        run = load(host, tmp_path / "reports" / "recommender.html")
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("passed") == 3
    assert "<html" in (tmp_path / "reports" / "recommender.html").read_text()
    path, body = Good.seen[0]
    assert path == "/v1/models/recommender:predict"
    assert json.loads(body)["instances"][0]["k"] == 10


def test_a_run_exits_1_where_the_server_fails(tmp_path: Path) -> None:
    class Failing(Answers):
        status = 503

    with standing_in(Failing) as host:
        run = load(host, tmp_path / "recommender.html")
    assert run.returncode == 1
    assert "100.00%  FAILED" in run.stdout


def test_a_server_that_stops_before_it_is_ready_is_reported() -> None:
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    with pytest.raises(StartFailed, match="exit code 3"), serving(command, f"http://127.0.0.1:{free_port()}"):
        pass
