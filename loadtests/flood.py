"""A client that can ask for far more than a server answers: one thread, its connections polled, some 20 us a request.

In an open loop requests are due at fixed times, whatever becomes of the others, and each latency counts from when its request was
due, also where every connection was taken. Every answer is checked against what is right.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import resource
import select
import socket
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from service.commands.bench.arrivals import Closed, Open, Pace, schedule

now = time.monotonic  # one clock for all processes of a machine

OK, WRONG, LOST, UNANSWERED = "ok", "wrong answer", "connection lost", "no answer"
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_CODE = re.compile(rb'"code": *"([a-z_]+)"')
#: For so long after the last request answers are waited for.
PATIENCE_S = 5.0
_SLICE_S = 0.05


class Unreadable(Exception):
    """The answer is not HTTP as it is expected here."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request as it goes over the wire, and the body of its right answer."""

    wire: bytes
    answer: bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """What one process does. ``rate``: None for a closed loop of all connections. ``start``: of ``time.monotonic()``; what is due
    within ``warmup_s`` from then does not count, what is due in the ``seconds`` after that does."""

    port: int
    questions: Sequence[Question]
    connections: int
    rate: float | None
    start: float
    warmup_s: float
    seconds: float
    cores: frozenset[int]


@dataclass(slots=True)
class Tally:
    """What became of the requests that count: latencies in seconds by outcome (``OK``, status and code, or what went wrong).

    ``in_time``: right answers that came within the seconds that count. ``late``: from when requests were due until they were sent.
    ``unsent``: those that were due and found no connection. ``busy``: the greatest share of the time that a process kept its core.
    """

    latencies: dict[str, array[float]] = field(default_factory=dict)
    late: array[float] = field(default_factory=lambda: array("d"))
    in_time: int = 0
    unsent: int = 0
    busy: float = 0.0

    def add(self, outcome: str, latency: float) -> None:
        """One more."""
        self.latencies.setdefault(outcome, array("d")).append(latency)

    def merge(self, other: Tally) -> None:
        """Those of another process too."""
        for outcome, latencies in other.latencies.items():
            self.latencies.setdefault(outcome, array("d")).extend(latencies)
        self.late.extend(other.late)
        self.in_time += other.in_time
        self.unsent += other.unsent
        self.busy = max(self.busy, other.busy)

    @property
    def outcomes(self) -> Counter[str]:
        """How many had each."""
        return Counter({outcome: len(latencies) for outcome, latencies in self.latencies.items()})


def answer(received: bytes) -> tuple[int, bytes, bool] | None:
    """Status and body of a whole answer, and whether its connection stays; None while more is to come. Raises Unreadable."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = received[: end + 2]
    length = _LENGTH.search(head)
    if not head.startswith(b"HTTP/1.1 ") or length is None:
        raise Unreadable(f"expected HTTP/1.1 with a Content-Length, got {head[:200]!r}")
    body = received[end + 4 :]
    if len(body) < int(length[1]):
        return None
    return int(head[9:12]), body, b"connection: close" not in head.lower()


def outcome(status: int, body: bytes, right: bytes) -> str:
    """What an answer was."""
    if status == 200:
        return OK if body == right else WRONG
    code = _CODE.search(body)
    return f"{status} {code[1].decode()}" if code else str(status)


def flood(plan: Plan) -> Tally:
    """Carries the plan out. Raises OSError where the server takes no connections, and Unreadable."""
    if plan.cores:
        os.sched_setaffinity(0, plan.cores)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(plan.connections + 64, hard)), hard))
    with contextlib.ExitStack() as stack:
        return _Flood(plan, stack).run()


class _Flight:
    """A connection, and what it was last asked."""

    __slots__ = ("due", "question", "received", "socket")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.due: float | None = None
        self.question: Question
        self.received = b""


class _Flood:
    def __init__(self, plan: Plan, stack: contextlib.ExitStack) -> None:
        self._plan, self._stack = plan, stack
        self._tally = Tally()
        self._poll = select.epoll()
        stack.callback(self._poll.close)
        self._flights: dict[int, _Flight] = {}
        self._idle = [self._opened() for _ in range(plan.connections)]
        total = plan.warmup_s + plan.seconds
        self._pace: Pace = Closed(plan.connections) if plan.rate is None else Open(schedule("constant", plan.rate, total, 1))
        self._asked = 0

    def run(self) -> Tally:
        """From the start to the last answer."""
        plan, pace = self._plan, self._pace
        gc.collect()
        gc.freeze()
        time.sleep(max(0.0, plan.start - now()))
        begun, cpu_s = now(), time.process_time()
        self._from, self._until = plan.start + plan.warmup_s, plan.start + plan.warmup_s + plan.seconds
        pace.begin(plan.start)
        while (at := now()) < self._until:
            self._send(at)
            following = pace.next if self._idle else None
            self._receive(_SLICE_S if following is None else min(_SLICE_S, max(0.0, following - now())))
        self._tally.busy = (time.process_time() - cpu_s) / (at - begun)
        if plan.rate is not None:
            self._tally.unsent = pace.waiting(self._until)
        while len(self._idle) < len(self._flights) and now() < self._until + PATIENCE_S:
            self._receive(_SLICE_S)
        for flight in self._flights.values():
            if flight.due is not None:
                self._count(UNANSWERED, flight.due, now())
        return self._tally

    def _opened(self) -> _Flight:
        connection = self._stack.enter_context(socket.create_connection(("127.0.0.1", self._plan.port), timeout=PATIENCE_S))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        flight = self._flights[connection.fileno()] = _Flight(connection)
        self._poll.register(connection, select.EPOLLIN)
        return flight

    def _send(self, at: float) -> None:
        questions = self._plan.questions
        while self._idle and (due := self._pace.take(at)) is not None:
            flight = self._idle.pop()
            flight.question, flight.due = questions[self._asked % len(questions)], due
            self._asked += 1
            if due >= self._from:
                self._tally.late.append(at - due)
            try:
                flight.socket.sendall(flight.question.wire)
            except OSError:
                self._lost(flight, at)

    def _receive(self, seconds: float) -> None:
        for number, _ in self._poll.poll(seconds):
            flight = self._flights[number]
            try:
                some = flight.socket.recv(65536)
            except OSError:
                some = b""
            if not some:
                self._lost(flight, now())
                continue
            flight.received += some
            whole = answer(flight.received)
            if whole is None:
                continue
            status, body, stays = whole
            flight.received = b""
            at = now()
            if flight.due is not None:
                self._count(outcome(status, body, flight.question.answer), flight.due, at)
                flight.due = None
                self._pace.finished(at)
            self._idle.append(flight if stays else self._again(flight))

    def _lost(self, flight: _Flight, at: float) -> None:
        if flight.due is None:
            self._idle.remove(flight)
        else:
            self._count(LOST, flight.due, at)
            self._pace.finished(at)
        self._idle.append(self._again(flight))

    def _again(self, flight: _Flight) -> _Flight:
        del self._flights[flight.socket.fileno()]
        flight.socket.close()
        return self._opened()

    def _count(self, what: str, due: float, at: float) -> None:
        if self._from <= due < self._until:
            self._tally.add(what, at - due)
        if what == OK and self._from <= at < self._until:
            self._tally.in_time += 1
