"""One conversation with either protocol: uvicorn's own, which is the oracle, or ours; and what of it has to be the same."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvicorn
from quart import Quart
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.app import create_app
from service.config import Config
from service.context import Service, service_of
from service.lane.express_uvicorn import express_protocol
from service.sections import Limits
from tests.service.turning import Clockwork, Peer, Stove, settle, turn

MODEL: Final = """
from models import PythonModel, TensorSpec
class Double(PythonModel):
    inputs = [TensorSpec("x", "FP64", [-1])]
    outputs = [TensorSpec("y", "FP64", [-1])]
    def infer(self, inputs):
        if (inputs["x"] < 0).any():
            raise ValueError("it is below 0")
        return {"y": inputs["x"] * 2}
"""
BODY_BYTES: Final = 100_000
HEADER_BYTES: Final = 2048
#: Long enough for the loop to turn in, as time goes here: an hour.
NEVER_S: Final = 3600.0
IDLE_S: Final = 60
#: How long a conversation goes on by itself when it is over, and in which steps: all that is waited for ends (seconds).
REST_S, STEP_S = 4.0, 0.5
#: So many connections are company for an answer (see the outbox).
COMPANY: Final = 4
DATE: Final = (b"date", b"Mon, 23 Nov 2026 10:00:00 GMT")
CLOSE: Final = (b"connection", b"close")

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r]*\r\n")
_ID = re.compile(rb'"request_id":"[^"]*"')


# -- what may happen -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes, in one packet."""

    data: bytes

    def __repr__(self) -> str:
        shown = self.data if len(self.data) < 600 else self.data[:300] + b"..." + self.data[-100:]
        return f"Send({len(self.data)}: {shown!r})"


@dataclass(frozen=True, slots=True)
class Turn:
    """So many turns of the loop."""

    times: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Time passes (seconds)."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Event:
    """Anything else, by its name, a method of ``Conversation``."""

    name: str


Step = Send | Turn | Wait | Event
#: The loop turns until all wait for something; the models compute too; the peer stops reading, reads on, sends no more, leaves; the
#: server is about to stop, and stops.
SETTLE, COOK, STOP, READ_ON, EOF, LEAVE, BREAK, PART, SHUTDOWN = (
    Event(name) for name in ("settle", "cook", "stop", "read_on", "eof", "leave", "break_off", "part", "shutdown")
)


# -- what comes of it ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, without what differs from one time to the next: ids and durations."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @property
    def unparted(self) -> Answer:
        """The same, whatever it says of the connection."""
        return Answer(self.status, tuple(header for header in self.headers if header != CLOSE), self.body)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one conversation. ``answers``: whole ones; ``rest``: what came behind them. ``counted``: by the server, as served.
    ``finished``: the server has ended its own side before it closed."""

    answers: list[Answer]
    rest: bytes
    closed: bool
    counted: int
    faults: list[str] = field(default_factory=list, compare=False)
    finished: bool = False


def read(received: bytes, methods: Sequence[str]) -> tuple[list[Answer], bytes]:
    """The whole answers to requests of those methods, and what follows them."""
    answers: list[Answer] = []
    asked = iter(methods)
    while True:
        end = received.find(b"\r\n\r\n") + 4
        line = _STATUS.match(received)
        if end < 4 or line is None:
            return answers, received
        status = int(line[1])
        headers = [
            (name, value) for name, _, value in (one.partition(b": ") for one in received[line.end() : end - 4].split(b"\r\n"))
        ]
        found = dict(headers)
        length = int(found.get(b"content-length", b"0"))
        if status >= 200 and next(asked, "GET") == "HEAD" and received[end : end + 5] in (b"", b"HTTP/"):
            length = 0
        if b"transfer-encoding" in found:
            raise ValueError(f"an answer in chunks: {received[:400]!r}")
        body = received[end : end + length]
        if len(body) < length:
            return answers, received
        received = received[end + length :]
        answers.append(_plain(status, headers, body))


def _plain(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> Answer:
    volatile = {b"x-request-id", b"server-timing"}
    plain = _ID.sub(b'"request_id":"..."', body)
    if plain != body:
        volatile.add(b"content-length")
    told = [(name, b"..." if name in volatile else value) for name, value in headers]
    allowed = [(name, b", ".join(sorted(value.split(b", "))) if name == b"allow" else value) for name, value in told]
    return Answer(status, tuple(sorted(allowed)), plain)


# -- the conversation ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limited:
    """uvicorn's own limits."""

    limit_concurrency: int | None = None


class House:
    """The service, and the two protocols in front of it."""

    def __init__(self, app: Quart, stove: Stove, loop: Clockwork) -> None:
        self.app, self.stove, self.loop = app, stove, loop
        self.service: Service = service_of(app)
        self.unhandled: list[str] = []
        loop.set_exception_handler(lambda _, context: self.unhandled.append(repr(context.get("exception", context["message"]))))
        self._settings: dict[Limited, uvicorn.Config] = {}

    def settings(self, limited: Limited) -> uvicorn.Config:
        """uvicorn's, which both protocols are given."""
        found = self._settings.get(limited)
        if found is None:
            found = self._settings[limited] = uvicorn.Config(
                self.app,
                http=HttpToolsProtocol,
                lifespan="off",
                proxy_headers=False,
                access_log=False,
                log_config=None,
                timeout_keep_alive=IDLE_S,
                limit_concurrency=limited.limit_concurrency,
            )
            found.load()
        return found

    async def converse(self, steps: Sequence[Step], methods: Sequence[str], *, ours: bool, setting: Setting) -> Outcome:
        """What comes of the steps."""
        made = express_protocol(self.service) if ours else HttpToolsProtocol
        return await Conversation(self, made, setting).hold(steps, methods)


@dataclass(frozen=True, slots=True)
class Setting:
    """What was before: ``company``, idle connections; ``known``, requests that were answered."""

    company: int = 0
    known: tuple[bytes, ...] = field(default=(), repr=False)
    limited: Limited = Limited()


class Conversation:
    """A peer, a connection, and all that happens to them."""

    def __init__(self, house: House, made: type[HttpToolsProtocol], setting: Setting) -> None:
        self._house, self._loop, self._setting = house, house.loop, setting
        self._state = ServerState()
        self._state.default_headers = [DATE]
        self._settings = house.settings(setting.limited)
        self._made = made
        house.unhandled.clear()
        house.service.parting = False

    async def hold(self, steps: Sequence[Step], methods: Sequence[str]) -> Outcome:
        """Goes through the steps, and then lets everything come to rest; what is left over after that is a fault."""
        before = asyncio.all_tasks()
        others = [self._connect()[0] for _ in range(self._setting.company)]
        for data in self._setting.known:
            visitor, _ = self._connect()
            visitor.send(data)
            await self.cook()
            visitor.leave()
            await self.settle()
        served = self._state.total_requests
        self._peer, self._protocol = self._connect()
        for step in steps:
            match step:
                case Send(data):
                    self._peer.send(data)
                case Turn(times):
                    await turn(times)
                case Wait(seconds):
                    self._loop.now += seconds
                    await turn(2)
                case Event(name):
                    done: Callable[[], object] = getattr(self, name)
                    found = done()
                    if asyncio.iscoroutine(found):
                        await found
        peer = self._peer
        peer.read_on()
        await self._rest()
        closed, received = peer.closed, bytes(peer.received)
        faults = list(peer.faults)
        peer.leave()
        for other in others:
            faults += [f"a bystander got {bytes(other.received)!r}"] if other.received else []
            other.leave()
        await self._rest()
        faults += [*self._left(before), *self._house.unhandled]
        return Outcome(*read(received, methods), closed, self._state.total_requests - served, faults, peer.finished)

    def _connect(self) -> tuple[Peer, HttpToolsProtocol]:
        peer, protocol = Peer(self._loop), self._made(self._settings, self._state, {}, self._loop)
        peer.meet(protocol)
        return peer, protocol

    def _left(self, before: set[asyncio.Task[object]]) -> list[str]:
        """What should not be there any more."""
        left = [f"a task: {task}" for task in asyncio.all_tasks() - before]
        left += [f"a task of uvicorn's: {task}" for task in self._state.tasks]
        left += [f"a connection: {one}" for one in self._state.connections]
        for served in self._house.service.engine.versions():
            if served.batcher.queued_rows or served.batcher.calls_in_flight:
                left.append(f"rows of {served.model}: {served.batcher.queued_rows}, calls: {served.batcher.calls_in_flight}")
        return left

    async def _rest(self) -> None:
        for _ in range(int(REST_S / STEP_S)):
            self._loop.now += STEP_S
            await self.cook()

    # -- events ----------------------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """All wait for something."""
        await settle(self._loop)

    async def cook(self) -> None:
        """Whatever the models have to do is done."""
        await settle(self._loop)
        while True:
            self._loop.now += 0.01  # windows close
            await settle(self._loop)
            if not self._house.stove.cook():
                return
            await settle(self._loop)

    def stop(self) -> None:
        """The peer reads nothing more."""
        self._peer.stop_reading()

    def read_on(self) -> None:
        """It does."""
        self._peer.read_on()

    def eof(self) -> None:
        """It sends nothing more."""
        self._peer.send_eof()

    def leave(self) -> None:
        """It is gone."""
        self._peer.leave()

    def break_off(self) -> None:
        """The connection is reset."""
        self._peer.leave(ConnectionResetError("reset"))

    def part(self) -> None:
        """From now on each answer closes its connection."""
        self._house.service.parting = True
        self._state.default_headers = [*self._state.default_headers, CLOSE]

    def shutdown(self) -> None:
        """The server stops."""
        if self._protocol in self._state.connections:  # whom uvicorn tells
            self._protocol.shutdown()


@asynccontextmanager
async def house(repository: Path, loop: Clockwork) -> AsyncIterator[House]:
    """One service, its models loaded."""
    version = repository / "double" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(MODEL)
    (version.parent / "model.toml").write_text("[batching]\ntimeout_ms = 3_600_000.0\n")
    limits = Limits(
        body_bytes=BODY_BYTES,
        header_bytes=HEADER_BYTES,
        header_timeout_s=NEVER_S,
        body_timeout_s=NEVER_S,
        write_timeout_s=NEVER_S,
        idle_timeout_s=IDLE_S,
    )
    app = create_app(Config(repository=repository, limits=limits, server="uvicorn"))
    service = service_of(app)
    stove = Stove(8)
    service.engine.threads.calls.shutdown()
    service.engine.threads.calls = service.engine.threads.decoding = stove
    async with app.test_app():
        if service.loading is None:
            raise TypeError("the app loads nothing")
        await service.loading
        stove.held = True
        try:
            yield House(app, stove, loop)
        finally:
            stove.held = False
