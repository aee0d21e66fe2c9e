"""A server as its users run it: ``tureen serve`` in a process of its own, spoken to over sockets."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.patience import PATIENCE_S

HERE = Path(__file__).parent
SUMMARY = re.compile(r"Tureen serves .* on http://([\d.]+):(\d+) \(")
#: What no request may make the servers say; that a request is no HTTP is no defect of theirs.
THEIRS = re.compile(r"asyncio|hypercorn|uvicorn|py\.warnings")
#: Beside the command itself nothing of the environment may configure it.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TUREEN_")}


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP response; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass(slots=True)
class Server:
    """A running ``tureen serve``; ``out`` and ``log`` are what it wrote so far."""

    process: subprocess.Popen[str]
    repository: Path
    kind: str
    lane: str
    host: str = ""
    port: int = 0
    out: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    up: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """What a client is given."""
        return f"http://{self.address}"

    def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None, *, timeout: float = PATIENCE_S
    ) -> Reply:
        """One request on a connection of its own; a body that is not bytes is sent as JSON."""
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=timeout)) as connection:
            connection.request(method, path, content, dict(headers or {}))
            response = connection.getresponse()
            read = response.read()
            return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, read)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        """A GET."""
        return self.request("GET", path, None, headers)

    def post(self, path: str, body: object = b"", headers: Mapping[str, str] | None = None) -> Reply:
        """A POST; without a body, an empty one."""
        return self.request("POST", path, body, headers)

    def statistics(self, model: str) -> Any:
        """The entry of the model's newest version in `/v2/models/M/stats`."""
        return self.get(f"/v2/models/{model}/stats").json()["model_stats"][-1]

    @property
    def workers(self) -> list[int]:
        """The processes that serve; those that start or leave are among them."""
        return children(self.process.pid)

    @property
    def descriptors(self) -> int:
        """Files and sockets that the workers have open."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.workers)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


def children(pid: int) -> list[int]:
    """A process's own, which have not been waited for."""
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def command(*arguments: object) -> list[str]:
    """The command line of ``tureen``, of this very environment."""
    return [sys.executable, "-c", "from service.cli import main; main()", *map(str, arguments)]


@contextmanager
def serving(
    what: Path,
    *arguments: object,
    kind: str = "hypercorn",
    lane: str = "express",
    cwd: Path,
    env: Mapping[str, str] | None = None,
    log: int = subprocess.PIPE,
) -> Iterator[Server]:
    """Serves a repository or a model's file until the ``with`` ends, then holds the server to a clean stop.

    ``log``: a descriptor for its log, which is then not in the server's ``log``.
    """
    extended = () if lane == "express" else ("--app", "quart_lane:extend")
    process = subprocess.Popen(
        command("serve", what, "--bind", "127.0.0.1:0", "--server", kind, *extended, *arguments),
        cwd=cwd,
        env={**ENVIRONMENT, "PYTHONPATH": str(HERE), "PYTHONWARNINGS": "error", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    server = Server(process, what, kind, lane)
    reads = (_read_out, _read_log) if process.stderr is not None else (_read_out,)
    readers = [threading.Thread(target=read, args=(server,), daemon=True) for read in reads]
    try:
        for reader in readers:
            reader.start()
        if not server.up.wait(PATIENCE_S) or not server.port:
            process.kill()
            readers[-1].join(PATIENCE_S)
            raise AssertionError("the server did not start:\n" + "".join(server.out + server.log))
        yield server
        if process.poll() is None:
            code = server.stop()
            if code != 0:
                raise AssertionError(f"the server stopped with exit code {code}:\n" + "".join(server.log[-100:]))
    finally:
        process.kill()
        process.wait()
        for reader in readers:
            reader.join(PATIENCE_S)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    if any(map(complains, server.log)):
        raise AssertionError("the server complained:\n" + "".join(server.log[-100:]))


def complains(line: str) -> bool:
    """Whether a line of a server's log tells of a defect."""
    try:
        told = json.loads(line)
    except ValueError:
        return False
    if not isinstance(told, dict) or told.get("level") not in ("warning", "error", "critical"):
        return False
    return THEIRS.match(str(told.get("logger"))) is not None and "Invalid HTTP request" not in str(told.get("event"))


def run(*arguments: object, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A ``tureen`` command that ends by itself."""
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env={**ENVIRONMENT, "PYTHONPATH": str(HERE), **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )


def _read_out(server: Server) -> None:
    if server.process.stdout is None:
        raise TypeError("the server was started without a pipe")
    for line in server.process.stdout:
        server.out.append(line)
        found = SUMMARY.search(line)
        if found is not None:
            server.host, server.port = found[1], int(found[2])
        if server.port and not line.strip():  # the summary's last line is empty
            server.up.set()
    server.up.set()  # it has ended: there is nothing to wait for


def _read_log(server: Server) -> None:
    if server.process.stderr is None:
        raise TypeError("the server was started without a pipe")
    server.log.extend(server.process.stderr)
