"""Starts a server with the demo models, loads it, stops it; the exit code is the load test's.

python -m loadtests.run [--repository demo] [--server hypercorn|uvicorn] [LOCUST OPTIONS]
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

CONFIG = Path(__file__).with_name("locust.conf")
PATIENCE_S = 60.0


class StartFailed(Exception):
    """The server did not get ready."""


def main(arguments: Sequence[str]) -> int:
    """Runs the load test; what is not its own option is given to Locust."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.run", description="Load a server of its own.", allow_abbrev=False)
    parser.add_argument("--repository", type=Path, default=Path("demo"), help="models to serve, default: demo")
    parser.add_argument("--server", choices=["hypercorn", "uvicorn"], default="hypercorn")
    options, for_locust = parser.parse_known_args(arguments)
    tureen = str(Path(sys.executable).with_name("tureen"))
    address = f"127.0.0.1:{free_port()}"
    command = [tureen, "serve", str(options.repository), "--bind", address, "--server", options.server]
    try:
        with serving(command, f"http://{address}"):
            locust = [sys.executable, "-m", "locust", "--config", str(CONFIG), "--host", f"http://{address}"]
            return subprocess.run([*locust, *for_locust], cwd=CONFIG.parent.parent, check=False).returncode
    except StartFailed as error:
        print(error, file=sys.stderr)
        return 1


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
