"""Debian's redis-server for tests, on a free port, with nothing on disk."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
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


@asynccontextmanager
async def hanging(port: int) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A port that leads to Redis until the event is set, from when on nothing comes back."""
    hang, tasks = asyncio.Event(), set[asyncio.Task[None]]()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(relay(reader, writer)))

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside, outside = await asyncio.open_connection("127.0.0.1", port)
        back = asyncio.create_task(copy(inside, writer))
        await copy(reader, outside)
        outside.close()
        await back

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if not hang.is_set():
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], hang
    finally:
        server.close()
        for task in tasks:
            await task
