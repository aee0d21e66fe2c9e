"""Debian's redis-server for tests, on a free port, with nothing on disk."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.patience import until


@dataclass(slots=True)
class RedisServer:
    """One that runs until it is stopped, and may be started again at the same port."""

    port: int
    directory: Path
    password: str | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What a client is given."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        secret = [] if self.password is None else ["--requirepass", self.password]
        self.process = subprocess.Popen([*command, *secret], cwd=self.directory, stdout=subprocess.DEVNULL)
        until(self._answers, "Redis answers")

    def stop(self) -> None:
        """Kills it: whoever is connected is told."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ask(self, *words: str) -> str:
        """What `redis-cli` prints."""
        secret = [] if self.password is None else ["-a", self.password, "--no-auth-warning"]
        command = ["redis-cli", "-p", str(self.port), *secret, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def _answers(self) -> bool:
        try:
            return self.ask("ping") == "PONG"
        except subprocess.CalledProcessError:
            return False


@contextmanager
def redis_server(directory: Path, password: str | None = None) -> Iterator[RedisServer]:
    """One, started; skips the test where there is none to start."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = RedisServer(port, directory, password)
    try:
        server.start()
        yield server
    finally:
        server.stop()
