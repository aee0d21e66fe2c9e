"""Whether a server keeps to a model's latency target while the load goes up and down in steps.

python -m loadtests.steps [--target-ms 20] [--rates 200,4000,200] [--seconds 10] [--server uvicorn|hypercorn] [--max-rows 64]

Starts a server with a LightGBM model that has that target, and asks it in an open loop, each rate for so long. Latencies count from
when a request was due, at the client. The goal is kept where in every second but the first after a step the p99 of the answers is
under the target; what is refused for it is told, and anything else that fails is a fault. Exit code 1 where the goal was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadtests import forest
from loadtests.hostile.server import CLIENTS, SERVER, TUREEN, pin
from loadtests.run import StartFailed, free_port, serving
from service.commands.bench.arrivals import Open, schedule
from service.commands.bench.drive import Drive, Prepared, Ran
from service.commands.bench.histogram import Histogram
from service.commands.bench.payload import inputs, made
from service.commands.bench.record import Record, Told
from service.commands.bench.run import fast_loop
from service.commands.bench.target import Target
from service.commands.client import Client

#: What a request that would be answered too late is refused with.
REFUSED = "503 queue_full"
WARM_S, CONNECTIONS, DISTINCT, TIMEOUT_S = 2.0, 512, 64, 10.0
_MODEL_TOML = """\
[batching]
max_rows = {max_rows}
target_p99_ms = {target_ms}
"""


@dataclass(slots=True)
class Second:
    """What was due in one second: latencies of what was answered. What was refused, or failed, counts when that was known."""

    latency: Histogram = field(default_factory=Histogram)
    refused: int = 0
    failed: Counter[str] = field(default_factory=Counter)


class Seconds(Record):
    """A record that also keeps its seconds apart."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.by_second = [Second() for _ in range(math.ceil(seconds))]
        self._start = 0.0

    def begin(self, now: float) -> None:
        """The measured time begins."""
        super().begin(now)
        self._start = now

    def answered(self, due: float, now: float, rows: int, told: Told) -> None:
        """A request succeeded."""
        super().answered(due, now, rows, told)
        self._of(due).latency.add(now - due)

    def failure(self, what: str, now: float, example: str) -> None:
        """It failed."""
        super().failure(what, now, example)
        if what == REFUSED:
            self._of(now).refused += 1
        else:
            self._of(now).failed[what] += 1

    def _of(self, at: float) -> Second:
        return self.by_second[min(max(0, int(at - self._start)), len(self.by_second) - 1)]


def steps(rates: Sequence[float], seconds: int, seed: int = 1) -> Sequence[float]:
    """When requests are due that come by chance, each rate (requests a second) for so long, in seconds from the start."""
    due = array("d")
    for step, rate in enumerate(rates):
        due.extend([step * seconds + at for at in schedule("poisson", rate, seconds, seed + step)])
    return due


def missed(by_second: Sequence[Second], seconds: int, target_ms: float) -> Iterator[str]:
    """Each second that did not keep to the target, but for the first after a step, and whatever failed otherwise, as a sentence."""
    for number, second in enumerate(by_second):
        found = second.latency.percentiles((99,))
        if number % seconds and found and 1000 * found[0] > target_ms:
            yield f"second {number}: p99 is {1000 * found[0]:.1f} ms, more than {target_ms:g} ms"
        for what, count in second.failed.items():
            yield f"second {number}: {count:,} requests: {what}"


def table(by_second: Sequence[Second], rates: Sequence[float], seconds: int) -> Iterator[str]:
    """A line a second."""
    yield f"{'second':>6} {'asked/s':>9} {'answered':>9} {'refused':>9} {'p50 ms':>9} {'p99 ms':>9}"
    for number, second in enumerate(by_second):
        found = second.latency.percentiles((50, 99))
        p50, p99 = (f"{1000 * each:9.2f}" for each in found) if found else ("        -", "        -")
        yield f"{number:6} {rates[number // seconds]:9,g} {second.latency.count:9,} {second.refused:9,} {p50} {p99}"


async def _driven(drive: Drive, due: Sequence[float], record: Record, seconds: float) -> Ran:
    return await drive.run(Open(due), record, seconds)


def _measured(url: str, rates: Sequence[float], seconds: int) -> tuple[Seconds, Ran, object]:
    target = Target(url, forest.NAME, None, "oip")
    with Client(url, TIMEOUT_S) as client, asyncio.Runner(loop_factory=fast_loop) as runner:
        specs, batched = inputs(target.config(client))
        requests: list[Prepared] = target.prepared(made(specs, batched, "oip", 1, DISTINCT, 1))

        async def opened() -> Drive:
            return Drive(target.address, requests, CONNECTIONS, TIMEOUT_S)

        drive = runner.run(opened())
        try:
            runner.run(_driven(drive, steps(rates[:1], math.ceil(WARM_S)), Record(WARM_S), WARM_S))
            record = Seconds(seconds * len(rates))
            ran = runner.run(_driven(drive, steps(rates, seconds), record, seconds * len(rates)))
        finally:
            runner.run(drive.close())
        stats = client.get(f"/v2/models/{forest.NAME}/stats").json()
        return record, ran, stats["model_stats"][0].get("tuning") if isinstance(stats, dict) else None


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.steps", description="A latency target under a load in steps.")
    parser.add_argument("--target-ms", type=float, default=20.0)
    parser.add_argument("--rates", default="200,4000,200", help="requests a second, by commas")
    parser.add_argument("--seconds", type=int, default=10, help="of each rate")
    parser.add_argument("--server", choices=["hypercorn", "uvicorn"], default="uvicorn")
    parser.add_argument("--max-rows", type=int, default=64, help="of a call: with few, the model is the limit")
    options = parser.parse_args(arguments)
    try:
        rates = [float(rate) for rate in options.rates.split(",")]
    except ValueError:
        parser.error(f"--rates: expected numbers with commas between them, as in 200,4000,200; got {options.rates!r}")
    if min(rates) <= 0 or options.seconds < 2:
        parser.error("--rates have to be above 0, and --seconds at least 2: the first after a step does not count")
    os.environ |= {"TUREEN_LOG__LEVEL": "warning", "TUREEN_LOG__REQUESTS": "false"}
    with tempfile.TemporaryDirectory() as name:
        repository = Path(name)
        forest.plant(repository)
        text = _MODEL_TOML.format(max_rows=options.max_rows, target_ms=options.target_ms)
        (repository / forest.NAME / "model.toml").write_text(text, encoding="utf-8")
        address = f"127.0.0.1:{free_port()}"
        command = [TUREEN, "serve", str(repository), "--server", options.server, "--bind", address]
        try:
            with serving(command, f"http://{address}") as process:
                workers = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
                pin([process.pid, *workers], SERVER)
                pin([os.getpid()], CLIENTS)
                record, ran, tuning = _measured(f"http://{address}", rates, options.seconds)
        except StartFailed as error:
            print(error, file=sys.stderr)
            return 1
    print(*table(record.by_second, rates, options.seconds), sep="\n")
    print(f"the server: {tuning}")
    late_ms = 1000 * (record.late.percentiles((99,)) or [0.0])[0]
    print(f"the client was busy {ran.busy:.0%} of the time, sent {late_ms:.1f} ms late at p99, and {ran.unsent:,} requests never")
    faults = list(missed(record.by_second, options.seconds, options.target_ms))
    print(*(f"FAULT {fault}" for fault in faults), sep="\n", end="\n" if faults else "")
    print(f"the target of {options.target_ms:g} ms was {'missed' if faults else 'kept, but for the first second after a step'}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
