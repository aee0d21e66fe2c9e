"""What becomes of a server that is asked for more than it can do: goodput, what the accepted wait, what a refusal takes.

python -m loadtests.overload [--server uvicorn|hypercorn] [--seconds 10] [--factors 1,2,5] [--deadlines 200,default]

The server has one core and a model that is all CPU; its clients have the others. What it can do is measured in a closed loop right
before and right after each run, as a shared machine is another one a minute later. Every answer is checked. Exit code 1 with a line
that begins with FAULT for each promise that was not kept.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from loadtests import forest
from loadtests.flood import OK, Plan, Question, Tally, flood
from loadtests.hostile.server import pin
from loadtests.run import StartFailed, free_port, serving

TUREEN = str(Path(sys.executable).with_name("tureen"))
PATH = f"/v2/models/{forest.NAME}/infer"
#: The deadline of requests that bring none: the model's own, as it is by default.
DEFAULT_MS = 1000.0
#: Requests a second that the model is to be good for, so that clients can ask for far more than that.
WANTED_RATE = 1000.0
DISTINCT = 64
#: Callers of the closed loop; one process drives no more requests a second than that.
CALLERS, MOST_A_PROCESS = 64, 10_000.0
WARM_S = 1.0
#: By when a client has begun, and for each connection (seconds).
PAUSE_S, CONNECT_S = 0.5, 3e-4
#: What a run is held to.
GOODPUT_SHARE, REFUSAL_P99_MS = 0.9, 50.0
#: Where clients were that busy, or that late at the 99th percentile, they may be the limit.
BUSY, LATE_MS = 0.85, 20.0


@dataclass(frozen=True, slots=True)
class Ran:
    """A run in an open loop. ``deadline_ms``: None for the model's; ``peak``: answers a second in closed loops beside it;
    ``seconds``: how long what counts was due."""

    factor: float
    deadline_ms: int | None
    rate: float
    peak: float
    seconds: float
    tally: Tally

    @property
    def allowed_ms(self) -> float:
        """When an answer is too late."""
        return DEFAULT_MS if self.deadline_ms is None else float(self.deadline_ms)

    @property
    def goodput(self) -> float:
        """Right answers within the deadline, a second."""
        return sum(1e3 * latency <= self.allowed_ms for latency in self.tally.latencies.get(OK, ())) / self.seconds

    @property
    def share(self) -> float:
        """Of the peak."""
        return self.goodput / self.peak if self.peak else 0.0

    @property
    def refused(self) -> dict[str, Sequence[float]]:
        """Latencies by what was answered instead, the most frequent first."""
        others = [(what, latencies) for what, latencies in self.tally.latencies.items() if what[0] in "45" and what[3:4] == " "]
        return dict(sorted(others, key=lambda other: -len(other[1])))

    @property
    def went_wrong(self) -> dict[str, int]:
        """What is neither a right answer nor a refusal that names its reason."""
        return {what: count for what, count in self.tally.outcomes.items() if what != OK and what not in self.refused}


def percentile_ms(latencies: Sequence[float], percent: float) -> float:
    """The least latency that so many percent do not exceed, in milliseconds; 0 where there is none."""
    if not latencies:
        return 0.0
    return 1e3 * sorted(latencies)[max(0, math.ceil(percent / 100 * len(latencies) - 1e-9) - 1)]


def faults(ran: Ran) -> Iterator[str]:
    """Each promise that was not kept, as a sentence."""
    if ran.share < GOODPUT_SHARE:
        yield f"goodput is {ran.share:.0%} of the peak, less than {GOODPUT_SHARE:.0%}"
    if (accepted := percentile_ms(ran.tally.latencies.get(OK, ()), 99)) > ran.allowed_ms:
        yield f"the accepted take {accepted:.0f} ms at p99, more than their deadline of {ran.allowed_ms:g} ms"
    refusals = [latency for latencies in ran.refused.values() for latency in latencies]
    if (refusal := percentile_ms(refusals, 99)) > REFUSAL_P99_MS:
        yield f"refusals take {refusal:.0f} ms at p99, more than {REFUSAL_P99_MS:g} ms"
    for what, count in ran.went_wrong.items():
        yield f"{count:,} requests: {what}"


def doubts(ran: Ran) -> Iterator[str]:
    """What says that the clients were the limit, and the server not the one who was measured."""
    late = percentile_ms(ran.tally.late, 99)
    if ran.tally.busy > BUSY:
        yield f"a client kept its core busy for {ran.tally.busy:.0%} of the time"
    if ran.tally.unsent:
        yield f"{ran.tally.unsent:,} requests found no connection to go out on; more --connections have room for them"
    if late > LATE_MS:
        yield f"requests went out {late:.0f} ms late at p99"


def told(ran: Ran) -> Iterator[str]:
    """The run, in lines for people."""
    deadline = "the model's deadline" if ran.deadline_ms is None else f"deadline {ran.deadline_ms} ms"
    accepted = ran.tally.latencies.get(OK, ())
    yield f"{ran.factor:g}x, {deadline}: {ran.rate:,.0f} requests/s due, peak {ran.peak:,.0f}/s"
    yield f"  goodput   {ran.goodput:>8,.0f}/s   {ran.share:.0%} of the peak"
    yield _row("accepted", accepted)
    for what, latencies in ran.refused.items():
        yield _row(what, latencies)
    yield f"  client    sent {percentile_ms(ran.tally.late, 99):.1f} ms late at p99, busy {ran.tally.busy:.0%}"
    yield from (f"  CLIENT {doubt}" for doubt in doubts(ran))
    yield from (f"  FAULT {fault}" for fault in faults(ran))


def _row(what: str, latencies: Sequence[float]) -> str:
    p50, p99 = percentile_ms(latencies, 50), percentile_ms(latencies, 99)
    return f"  {what:24} {len(latencies):>9,}   p50 {p50:8.2f} ms   p99 {p99:8.2f} ms"


class Clients:
    """Processes that drive one server, each with its share of the load."""

    def __init__(self, port: int, processes: int, connections: int, cores: frozenset[int], pool: ProcessPoolExecutor) -> None:
        self._port, self._processes, self._connections = port, processes, connections
        self._cores, self._pool = cores, pool
        list(pool.map(abs, range(8 * processes)))  # its processes have started by then

    def closed(self, questions: Sequence[Question], seconds: float) -> float:
        """Right answers a second of a closed loop, once it is warm."""
        return self._run(questions, 1, CALLERS, None, min(WARM_S, seconds / 2), seconds).in_time / seconds

    def open(self, questions: Sequence[Question], rate: float, seconds: float) -> Tally:
        """What became of ``rate`` requests a second."""
        processes = max(self._processes, math.ceil(rate / MOST_A_PROCESS))
        return self._run(questions, processes, self._connections, rate, WARM_S, seconds)

    def _run(
        self, questions: Sequence[Question], processes: int, connections: int, rate: float | None, warmup_s: float, seconds: float
    ) -> Tally:
        share = max(1, connections // processes)
        start = time.monotonic() + PAUSE_S + CONNECT_S * connections
        plans = [
            Plan(
                self._port,
                questions,
                share,
                None if rate is None else rate / processes,
                start if rate is None else start + n / rate,
                warmup_s,
                seconds,
                self._cores,
            )
            for n in range(processes)
        ]
        tally = Tally()
        for one in self._pool.map(flood, plans):
            tally.merge(one)
        return tally


def questions(port: int, rows: int) -> Callable[[int | None], list[Question]]:
    """Makes DISTINCT requests with a deadline; what is right was asked of the idle server, one by one. Raises StartFailed."""
    random = np.random.default_rng(2)
    bodies = []
    for _ in range(DISTINCT):
        data = np.round(random.random((rows, forest.FEATURES)), 4).ravel().tolist()
        tensor = {"name": "input", "shape": [rows, forest.FEATURES], "datatype": "FP64", "data": data}
        bodies.append(json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode())
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    answers = []
    for body in bodies:
        connection.request("POST", PATH, body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        answers.append(reply.read())
        if reply.status != 200:
            raise StartFailed(f"the idle server answered {reply.status}: {answers[-1][:300]!r}")
    connection.close()

    def made(deadline_ms: int | None) -> list[Question]:
        deadline = "" if deadline_ms is None else f"X-Request-Timeout-Ms: {deadline_ms}\r\n"
        head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{deadline}Content-Length: "
        asked = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]
        return [Question(wire, answer) for wire, answer in zip(asked, answers, strict=True)]

    return made


def main(arguments: Sequence[str]) -> int:
    """The command."""
    options = _parser().parse_args(arguments)
    os.environ |= {"TUREEN_LOG__LEVEL": "warning", "TUREEN_LOG__REQUESTS": "false"}
    cores = sorted(os.sched_getaffinity(0))
    server, others = (frozenset(cores[:1]), frozenset(cores[1:])) if len(cores) > 1 else (frozenset[int](), frozenset[int]())
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        repository = Path(name)
        forest.plant(repository)
        processes = max(1, options.processes)
        most = max(processes, math.ceil(max(options.factors) * 2 * WANTED_RATE / MOST_A_PROCESS))
        pool = stack.enter_context(ProcessPoolExecutor(most, mp_context=get_context("spawn")))
        try:
            rows = options.rows or _chosen(repository, options, server, others, pool)
            forest.settle(repository, rows)
            return _overloaded(repository, rows, options, server, others, pool)
        except StartFailed as error:
            print(error, file=sys.stderr)
            return 1


def _chosen(
    repository: Path, options: argparse.Namespace, server: frozenset[int], others: frozenset[int], pool: ProcessPoolExecutor
) -> int:
    """Rows a request for about WANTED_RATE requests a second."""
    tried = 8
    forest.settle(repository, tried)
    with ExitStack() as stack:
        port = _served(repository, options.server, server, stack)
        clients = Clients(port, 1, CALLERS, others, pool)
        return forest.rows_for(WANTED_RATE, clients.closed(questions(port, tried)(None), 1.0), tried)


def _served(repository: Path, kind: str, cores: frozenset[int], stack: ExitStack) -> int:
    """A server on its cores, from ready until the stack unwinds: its port."""
    port = free_port()
    command = [TUREEN, "serve", str(repository), "--server", kind, "--bind", f"127.0.0.1:{port}"]
    process = stack.enter_context(serving(command, f"http://127.0.0.1:{port}"))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii")
    if cores:
        pin([process.pid, *map(int, children.split())], set(cores))
    return port


def _overloaded(
    repository: Path,
    rows: int,
    options: argparse.Namespace,
    server: frozenset[int],
    others: frozenset[int],
    pool: ProcessPoolExecutor,
) -> int:
    found = 0
    with ExitStack() as stack:
        port = _served(repository, options.server, server, stack)
        asked = questions(port, rows)
        clients = Clients(port, options.processes, options.connections, others, pool)
        alone = min(options.seconds / 2, 3.0)
        before = clients.closed(asked(None), alone)
        print(f"{options.server}, {forest.TREES} trees, {rows} rows a request: {before:,.0f} requests/s of {CALLERS} callers")
        if not others:
            print("one core for the server and its clients: they are in each other's way")
        for deadline_ms in options.deadlines:
            for factor in options.factors:
                rate = factor * before
                tally = clients.open(asked(deadline_ms), rate, options.seconds)
                after = clients.closed(asked(None), alone)
                ran = Ran(factor, deadline_ms, rate, statistics.mean((before, after)), options.seconds, tally)
                print("\n".join(["", *told(ran)]), flush=True)
                found += len(list(faults(ran)))
                before = after
    print(f"\n{found} faults" if found else "\nno faults")
    return int(found > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.overload", description="A server that is asked for more than it can do."
    )
    parser.add_argument("--server", choices=["hypercorn", "uvicorn"], default="uvicorn")
    parser.add_argument("--seconds", type=float, default=10.0, help="what is due in so many seconds counts, default: 10")
    parser.add_argument("--factors", type=_factors, default=[1.0, 2.0, 5.0], help="times the capacity, default: 1,2,5")
    parser.add_argument("--deadlines", type=_deadlines, default=[200, None], help="milliseconds, default: 200,default")
    parser.add_argument("--connections", type=int, default=2048, help="of all clients together, default: 2048")
    parser.add_argument("--processes", type=int, default=1, help="clients at least, default: 1")
    parser.add_argument("--rows", type=int, help="rows of a request, by default as many as make for some 1000 requests/s")
    return parser


def _factors(text: str) -> list[float]:
    return [float(each) for each in text.split(",")]


def _deadlines(text: str) -> list[int | None]:
    return [None if each == "default" else int(each) for each in text.split(",")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
