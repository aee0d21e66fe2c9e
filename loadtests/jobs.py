"""What a job costs those who wait, and whether it is whole: interactive requests in an open loop, without a job and beside one.

python -m loadtests.jobs [--rows 1000000] [--rate 500] [--server uvicorn] [--seconds 30] [--kill]

The server has one core and its clients the others. Latencies count from when a request was due. They are taken without a job,
beside one in slices until it is over, and without one again. ``--kill`` ends the server and its workers by SIGKILL once half of the
job is done, between two slices, and starts it anew. Then each line of the results is held to what the idle server answered for its
row. Exit code 1 with a line that begins with FAULT for each promise that was not kept.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from loadtests import forest
from loadtests.flood import OK, Question, Tally
from loadtests.hostile.server import pin
from loadtests.overload import TUREEN, Clients, percentile_ms, questions
from loadtests.run import StartFailed, free_port, serving

#: How much longer the interactive p99 may be beside a job.
ALLOWED = 1.5
#: Different rows of a job, which come again and again.
DISTINCT = 1009
#: One slice of what is measured beside a job (seconds).
SLICE_S = 5.0
CONNECTIONS = 256
#: A job that has no more done after so long does not go on (seconds).
STUCK_S = 60.0


@dataclass(slots=True)
class Beside:
    """What was measured beside the job: each slice, how long the job was taken in and ran (seconds), and its last JSON."""

    slices: list[Tally]
    taken_s: float
    ran_s: float
    job: dict[str, Any]


class Served:
    """A server that keeps its jobs in a directory, and may be killed and started again."""

    def __init__(self, repository: Path, state: Path, kind: str, cores: frozenset[int]) -> None:
        self.port = free_port()
        self._command = [TUREEN, "serve", str(repository), "--server", kind, "--bind", f"127.0.0.1:{self.port}"]
        self._cores, self._state = cores, state
        self._stack = ExitStack()

    def start(self) -> None:
        """Returns once it is ready. Raises StartFailed."""
        os.environ["TUREEN_STORE__STATE_DIR"] = str(self._state)
        self._process = self._stack.enter_context(serving(self._command, f"http://127.0.0.1:{self.port}"))
        if self._cores:
            pin(self._processes(), set(self._cores))

    def kill(self) -> None:
        """Nothing of it is asked or told."""
        for pid in self._processes():
            os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._stack.close()

    def stop(self) -> None:
        """As its operator does."""
        self._stack.close()

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """A JSON answer. Raises StartFailed for an error."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)) as connection:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            read = reply.read()
        if reply.status >= 300:
            raise StartFailed(f"{method} {path} was answered {reply.status}: {read[:300]!r}")
        return json.loads(read)

    def _processes(self) -> list[int]:
        pid = self._process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split())]


def rows() -> list[list[float]]:
    """Those that a job's are made of."""
    found: list[list[float]] = np.round(np.random.default_rng(5).random((DISTINCT, forest.FEATURES)), 4).tolist()
    return found


def write_body(path: Path, count: int) -> None:
    """A job's body of so many rows."""
    lines = [json.dumps(row).encode() + b"\n" for row in rows()]
    whole = b"".join(lines)
    with path.open("wb") as file:
        for _ in range(count // DISTINCT):
            file.write(whole)
        file.writelines(lines[: count % DISTINCT])


def wrong(server: Served, path: str, count: int, right: Sequence[Any]) -> Iterator[str]:
    """What is not as it should be in a job's results: each row once, in order, with its own answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)) as connection:
        connection.request("GET", f"{path}/results?follow=false")
        number = 0
        for line in connection.getresponse():
            wanted = {"row": number, "prediction": right[number % DISTINCT]}
            if json.loads(line) != wanted:
                yield f"line {number} of the results is {line[:100]!r}, and not {wanted}"
                return
            number += 1
    if number != count:
        yield f"the results have {number:,} lines, and the job {count:,} rows"


def beside(server: Served, clients: Clients, asked: Sequence[Question], body: Path, rate: float, *, kill: bool) -> Beside:
    """Measures while a job arrives and runs. Raises StartFailed where it does not go on."""
    slices: list[Tally] = []
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as sender:
        begun = time.monotonic()
        sending = sender.submit(send, server.port, str(body))
        while not sending.done():
            slices.append(clients.open(asked, rate, SLICE_S))
        taken_s = time.monotonic() - begun
        path = sending.result()
    last, moved = -1, time.monotonic()
    while (job := server.ask("GET", path))["state"] in ("queued", "running"):
        if kill and job["done"] >= job["rows"] / 2:
            server.kill()
            print(f"killed with {job['done']:,} of {job['rows']:,} rows done", flush=True)
            server.start()
            kill = False
            continue
        slices.append(clients.open(asked, rate, SLICE_S))
        if job["done"] > last:
            last, moved = job["done"], time.monotonic()
        elif time.monotonic() > moved + STUCK_S:
            raise StartFailed(f"the job stands still at {job}")
    if kill:
        print("the job was over before it was half done as seen from here; nothing was killed: send more --rows")
    return Beside(slices, taken_s, job["finished"] - job["created"], job)


def send(port: int, body: str) -> str:
    """Asks for the job; its path."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=3600)) as connection, open(body, "rb") as file:
        headers = {"Content-Type": "application/x-ndjson", "Content-Length": str(os.path.getsize(body))}
        connection.request("POST", f"/v1/jobs?model={forest.NAME}", file, headers)
        reply = connection.getresponse()
        read = reply.read()
    if reply.status != 202:
        raise StartFailed(f"the job was answered {reply.status}: {read[:300]!r}")
    return str(reply.getheader("location"))


def told(what: str, tallies: Sequence[Tally]) -> str:
    """A line: how many were right, and their latencies; the p99 is the median of the slices'."""
    right = [tally.latencies.get(OK, ()) for tally in tallies]
    p50, p99 = (statistics.median([percentile_ms(latencies, percent) for latencies in right]) for percent in (50, 99))
    worst = max(percentile_ms(latencies, 99) for latencies in right)
    return (
        f"{what:16} {sum(map(len, right)):>9,} answers   p50 {p50:7.2f} ms   p99 {p99:7.2f} ms   worst slice's p99 {worst:7.2f} ms"
    )


def p99(tallies: Sequence[Tally]) -> float:
    """Of all of them together (milliseconds)."""
    return percentile_ms([latency for tally in tallies for latency in tally.latencies.get(OK, ())], 99)


def main(arguments: Sequence[str]) -> int:
    """The command."""
    options = _parser().parse_args(arguments)
    os.environ |= {"TUREEN_LOG__LEVEL": "warning", "TUREEN_LOG__REQUESTS": "false"}
    cores = sorted(os.sched_getaffinity(0))
    mine, others = (frozenset(cores[:1]), frozenset(cores[1:])) if len(cores) > 1 else (frozenset[int](), frozenset[int]())
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        place = Path(name)
        (place / "repository").mkdir()
        forest.plant(place / "repository")
        forest.settle(place / "repository", 1)
        write_body(place / "body", options.rows)
        pool = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
        server = Served(place / "repository", place / "state", options.server, mine)
        stack.callback(server.stop)
        try:
            server.start()
            found = list(_measured(server, Clients(server.port, 1, CONNECTIONS, others, pool), place / "body", options))
        except StartFailed as error:
            print(error, file=sys.stderr)
            return 1
    print("\n".join(f"FAULT {fault}" for fault in found) or "no faults")
    return int(bool(found))


def _measured(server: Served, clients: Clients, body: Path, options: argparse.Namespace) -> Iterator[str]:
    asked = questions(server.port, 1)(None)
    answered = server.ask("POST", f"/v1/models/{forest.NAME}:predict", json.dumps({"instances": rows()}))
    count = max(1, round(options.seconds / SLICE_S))
    alone = [clients.open(asked, options.rate, SLICE_S) for _ in range(count)]
    print(told("without a job", alone), flush=True)
    ran = beside(server, clients, asked, body, options.rate, kill=options.kill)
    print(told("beside it", ran.slices), flush=True)
    alone += [clients.open(asked, options.rate, SLICE_S) for _ in range(count)]
    print(told("without, twice", alone))
    job = ran.job
    print(f"the job: {job['rows']:,} rows, taken in {ran.taken_s:.1f} s, over {ran.ran_s:.1f} s later, {job['state']}")
    if job["state"] != "succeeded" or job["failed"]:
        yield f"the job ended as {job}"
    yield from wrong(server, f"/v1/jobs/{job['id']}", options.rows, answered["predictions"])
    for tally in ran.slices:
        yield from (f"{number:,} requests: {what}" for what, number in tally.outcomes.items() if what != OK)
    without, with_it = p99(alone), p99(ran.slices)
    if with_it > ALLOWED * without:
        yield f"the interactive p99 beside the job is {with_it:.2f} ms, more than {ALLOWED} times the {without:.2f} ms without"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests.jobs", description="What a job costs those who wait.")
    parser.add_argument("--server", choices=["hypercorn", "uvicorn"], default="uvicorn")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the job, default: 1000000")
    parser.add_argument("--rate", type=float, default=500.0, help="interactive requests a second, default: 500")
    parser.add_argument("--seconds", type=float, default=30.0, help="measured without a job, before it and after it, default: 30")
    parser.add_argument("--kill", action="store_true", help="kill the server once half of the job is done")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
