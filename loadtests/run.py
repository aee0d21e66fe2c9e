"""Starts a server for each scenario, loads it, stops it, and writes a report; the exit code is 1 where a threshold was missed.

python -m loadtests.run [--scenario recommender|images|many_models|all] [--cache] [--server hypercorn|uvicorn]
                        [--repository demo] [--report reports/loadtest.html] [LOCUST OPTIONS]
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from loadtests import outcome, page, thresholds
from loadtests.outcome import Outcome
from loadtests.verdict import Check, line

CONFIG = Path(__file__).with_name("locust.conf")
PATIENCE_S = 60.0
#: Added to the recommender's model.toml; no answer is older by the end of a run.
CACHED = "\n[cache]\nttl_s = 3600\n"


class StartFailed(Exception):
    """The server did not get ready."""


def main(arguments: Sequence[str]) -> int:
    """Runs the load tests; what is not its own option is given to Locust."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.run", description="Load a server of its own.", allow_abbrev=False)
    parser.add_argument("--repository", type=Path, default=Path("demo"), help="models to serve, default: demo")
    parser.add_argument("--server", choices=["hypercorn", "uvicorn"], default="hypercorn")
    parser.add_argument("--scenario", choices=[*thresholds.SCENARIOS, "all"], default="recommender")
    parser.add_argument("--cache", action="store_true", help="the recommender without and with its cache on, and its CPU time")
    parser.add_argument("--report", type=Path, default=Path("reports/loadtest.html"), help="default: reports/loadtest.html")
    options, for_locust = parser.parse_known_args(arguments)
    if options.cache and options.scenario != "recommender":
        parser.error("--cache is of the recommender; leave out --scenario")
    scenarios = list(thresholds.SCENARIOS) if options.scenario == "all" else [options.scenario]
    missed = False
    outcomes: list[Outcome] = []
    further: list[Check] = []
    try:
        with tempfile.TemporaryDirectory() as name:
            for scenario in scenarios:
                missed |= run(scenario, options.server, options.repository, for_locust, Path(name), outcomes) != 0
            if options.cache:
                cached = with_cache(options.repository, Path(name) / "cached")
                missed |= run("recommender", options.server, cached, for_locust, Path(name), outcomes, "cache on") != 0
                further = list(cheaper(outcomes))
    except StartFailed as error:
        print(error, file=sys.stderr)
        return 1
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(page.page(outcomes, further), encoding="utf-8")
    for check in further:
        print(line(check))
    print(f"report: {options.report}")
    return int(missed or not all(check.passed for check in further))


def run(
    scenario: str,
    server: str,
    repository: Path,
    for_locust: Sequence[str],
    directory: Path,
    outcomes: list[Outcome],
    remark: str = "",
) -> int:
    """One scenario against a server of its own: Locust's exit code; adds to ``outcomes``. Raises StartFailed."""
    tureen = str(Path(sys.executable).with_name("tureen"))
    address = f"127.0.0.1:{free_port()}"
    command = [tureen, "serve", str(repository), "--bind", address, "--server", server]
    file = directory / f"{scenario}.{len(outcomes)}"
    wanted = thresholds.on(server, scenario)
    with serving(command, f"http://{address}"):
        locust = [sys.executable, "-m", "locust", "--config", str(CONFIG), "--locustfile", f"loadtests/{scenario}.py"]
        locust += ["--host", f"http://{address}", "--outcome", str(file), "--p99-ms", f"{wanted.p99_ms:g}"]
        locust += ["--serving", f"{server}, {remark}" if remark else server]
        code = subprocess.run([*locust, *for_locust], cwd=CONFIG.parent.parent, check=False).returncode
    if file.exists():
        outcomes.append(outcome.load(file))
    return code


def with_cache(repository: Path, into: Path) -> Path:
    """A copy of the repository whose recommender keeps its answers."""
    shutil.copytree(repository, into)
    with (into / "recommender" / "model.toml").open("a", encoding="utf-8") as opened:
        opened.write(CACHED)
    return into


def cheaper(outcomes: Sequence[Outcome]) -> Iterator[Check]:
    """Whether the last run took that much less CPU time a request than the one before it."""
    wanted = f"<= {thresholds.CACHE_CPU:.0%}"
    without, cached = (outcomes[-2].cpu_us, outcomes[-1].cpu_us) if len(outcomes) > 1 else (None, None)
    if without and cached is not None:
        share = cached / without
        said = f"{share:.0%} ({cached:,.0f} us of {without:,.0f} us)"
        yield Check("CPU", wanted, said, share <= thresholds.CACHE_CPU)
    else:
        yield Check("CPU", wanted, "not told", False)


@contextlib.contextmanager
def serving(command: Sequence[str], url: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command's server, from ready until stopped as an operator would. Raises StartFailed."""
    with subprocess.Popen(command) as server:
        try:
            wait_ready(server, url)
            yield server
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                server.kill()


def wait_ready(server: subprocess.Popen[bytes], url: str) -> None:
    """Returns once the server says that it is ready. Raises StartFailed."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if server.poll() is not None:
            raise StartFailed(f"the server stopped with exit code {server.returncode} before it was ready")
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{url}/v2/health/ready", timeout=1):
            return
        time.sleep(0.1)
    raise StartFailed(f"the server was not ready within {PATIENCE_S:g} s")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
