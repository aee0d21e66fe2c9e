"""Whole requests as bytes on a connection of either server, and as what a server makes of them, to the app.

The server runs in this process, on a loop that turns only while an input is in work, and is asked over a real socket: so libFuzzer
sees what our classes do with each byte. ``<|>`` in an input is where one write ends and the next begins.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import shutil
import socket
import string
import tempfile
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

from quart import Quart

from service.config import Config
from service.response import code_of
from tests.fuzz.target import CORPUS, Broken, Target

Result = TypeVar("Result")

#: Where an input's bytes are told apart into writes.
CUT: Final = b"<|>"
#: What a server may answer: never 500. 501: a coding that is none; 503, 504: it is too busy for a deadline of the request's own.
ANSWERS: Final = frozenset({101, 200, 204, 400, 401, 403, 404, 405, 408, 411, 413, 414, 415, 417, 426, 429, 431, 501, 503, 504})
#: What ends a connection: there is no reading on.
REFUSALS: Final = frozenset({400, 408, 413, 431, 501})
#: How long a connection says nothing before it is taken to wait for more (seconds).
QUIET_S: Final = 0.004
#: After which a server that does not even close is hanging (seconds).
HANGS_S: Final = 20.0

_SETTINGS = re.compile(rb"\x00\x00.\x04\x00\x00{4}", re.DOTALL)
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BREAKS = re.compile(rb"[\0\r\n]")
_STATUS = re.compile(rb"(?:\A|[\n}\]0])HTTP/1\.1 (\d{3}) ")


class _Complaints(logging.Handler):
    """What the server logged as a defect."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps it."""
        self.told.append(f"{record.name}: {record.getMessage()} {record.exc_info[1] if record.exc_info else ''}")


class Running:
    """A server, or its app alone, and the loop that it has to itself."""

    def __init__(self, kind: str) -> None:
        # Imported here, as only these targets need all of the service.
        from service.app import create_app
        from service.connections.loop import Loop
        from service.connections.servers import server_of
        from service.context import service_of

        folder = self.folder = Path(tempfile.mkdtemp(prefix="tureen-fuzz-"))
        version = folder / "gemm" / "1"
        version.mkdir(parents=True)
        shutil.copy(CORPUS / "onnx_file" / "seed-gemm", version / "model.onnx")
        (folder / "gemm" / "model.toml").write_text("[batching]\nwindow_ms = 0.0\n[warmup]\ncalls = 1\n")
        config = Config.model_validate({"repository": folder, "server": "uvicorn" if kind == "uvicorn" else "hypercorn"})
        self.complaints = _Complaints()
        logging.getLogger().addHandler(self.complaints)
        self.app: Quart = create_app(config)
        self.service = service_of(self.app)
        self.loop = Loop(self.service)
        self.loop.set_exception_handler(lambda loop, context: self.complaints.told.append(str(context)))
        listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.address = listening.getsockname()
        self.server = server_of(self.app, [listening], patient=False)
        self.serving = self.loop.create_task(self.server.run())
        self.run(self._start())

    async def _start(self) -> None:
        await self.service.started.wait()
        if self.service.loading is None:
            raise TypeError("the app loads nothing")
        await self.service.loading

    def close(self) -> None:
        """Stops as a server does."""
        self.server.close()
        self.loop.run_until_complete(asyncio.wait_for(self.serving, HANGS_S))
        self.loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Turns the loop until the work is done; nothing may be complained of meanwhile."""
        del self.complaints.told[:]
        found = self.loop.run_until_complete(asyncio.wait_for(work, HANGS_S))
        if self.complaints.told:
            raise Broken(f"the server complains: {self.complaints.told[0][:300]}")
        if self.serving.done():
            raise Broken("the server has ended")
        return found

    async def exchange(self, writes: list[bytes]) -> bytes:
        """What a connection answers to these writes until it closes or waits for more."""
        client = socket.socket()
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Any of the loopback network: one address alone would run out of ports.
        client.bind((f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.1", 0))
        answered = bytearray()
        try:
            await self.loop.sock_connect(client, self.address)
            for write in writes:
                await self.loop.sock_sendall(client, write)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            while True:
                try:
                    read = await asyncio.wait_for(self.loop.sock_recv(client, 65536), QUIET_S)
                except TimeoutError:
                    break
                if not read:
                    break
                answered += read
        except (ConnectionError, BrokenPipeError):  # it closed before all was sent
            pass
        finally:
            client.close()
        return bytes(answered)


_RUNNING: dict[str, Running] = {}


def running(kind: str) -> Running:
    """The server of that kind, started when first asked for."""
    found = _RUNNING.get(kind)
    if found is None:
        found = _RUNNING[kind] = Running(kind)
    return found


def close() -> None:
    """Ends all that run."""
    while _RUNNING:
        _RUNNING.popitem()[1].close()


def parse_stream(kind: str, data: bytes) -> list[int]:
    """The statuses of what a server answers: the same however the bytes are cut, as far as both waited for them."""
    server = running(kind)
    writes = [piece for piece in data.split(CUT) if piece]
    statuses = _statuses(server.run(server.exchange(writes)))
    if len(writes) > 1:
        whole = _statuses(server.run(server.exchange([b"".join(writes)])))
        if any(one != other for one, other in zip(_answered(statuses), _answered(whole), strict=False)):
            raise Broken(f"cut: {statuses}, whole: {whole}")
    return statuses


def _answered(statuses: list[int]) -> list[int]:
    """Without a refusal at the end: it may come before the answers to what was asked in the same read."""
    return statuses[:-1] if statuses and statuses[-1] in REFUSALS else statuses


def _statuses(answered: bytes) -> list[int]:
    if _SETTINGS.match(answered):  # HTTP/2, whose frames are its parser's own business
        return []
    # 100 depends on what of the body has come when it is asked.
    statuses = [int(status) for status in _STATUS.findall(answered) if status != b"100"]
    if answered and not answered.startswith(b"HTTP/1.1 "):
        raise Broken(f"no HTTP: {answered[:100]!r}")
    for status in statuses:
        if status not in ANSWERS:
            raise Broken(f"it answers {status}: {answered[:300]!r}")
    return statuses


def parse_request(data: bytes) -> int:
    """One request as a server gives it to the app: a line of method and path, headers, an empty line, the body. The status."""
    head, _, body = data.partition(b"\n\n")
    first, *rest = head.split(b"\n")
    method, _, asked = first.decode("latin-1").partition(" ")
    path, _, query = asked.partition("?")
    pairs = [line.partition(b":") for line in rest]
    # As the servers let them through: no line end and no NUL in a value, names that are tokens.
    headers = [(name.lower(), _BREAKS.sub(b"", value).strip()) for name, _, value in pairs if _NAME.fullmatch(name)]
    server = running("app")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method if re.fullmatch(r"[A-Z]{1,20}", method) else "POST",
        "scheme": "http",
        "path": path if path.startswith("/") else f"/{path}",
        "raw_path": quote(path).encode(),
        "query_string": quote(query, safe=string.punctuation).encode(),  # the servers let nothing else pass
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "extensions": {},
        "state": {},
    }
    status, answered = server.run(_asked(server.app, scope, body))
    if status not in ANSWERS | {302, 304, 308, 409}:
        raise Broken(f"it answers {status}: {answered[:300]!r}")
    if status >= 400 and scope["method"] != "HEAD" and code_of(answered) is None:
        raise Broken(f"{status} without a code: {answered[:300]!r}")
    return status


async def _asked(app: Quart, scope: Any, body: bytes) -> tuple[int, bytes]:
    coming: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []
    answered = asyncio.Event()

    async def receive() -> Any:
        if coming:
            return coming.pop()
        await answered.wait()  # a client that stays until it has its answer
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            answered.set()

    await app(scope, receive, send)
    return int(sent[0]["status"]), b"".join(message.get("body", b"") for message in sent[1:])


def _stream(kind: str) -> Target:
    return Target(f"stream_{kind}", partial(parse_stream, kind), longest=2048, floor=16 * 1024**2, http=False)


REQUEST = Target(
    "request",
    parse_request,
    longest=2048,
    floor=16 * 1024**2,
    http=False,
)

TARGETS = (REQUEST, _stream("hypercorn"), _stream("uvicorn"))
