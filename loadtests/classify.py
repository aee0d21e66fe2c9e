"""Photographs in, labels out: the server beside a plain offline loop, and beside LitServe and BentoML, on the same cores in turns.

python -m loadtests.classify [--servers uvicorn,hypercorn] [--peers DIR] [--cores 0] [--rounds 3] [--seconds 8] [--connections 32]

The model has MobileNetV2's shapes and made-up weights, the photographs are made-up JPEGs of 640 x 480, uploaded as multipart forms.
Every turn has a process of its own, started on ``--cores``, alone there but for the client where there is no other core for it.
``--peers`` names a directory for the peers' virtual environments, which are made there with pip: some 500 MB. Exit code 1 where a
goal was missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadtests import mobilenet
from loadtests.hostile.server import TUREEN
from loadtests.peers.environments import PEERS, Peer
from loadtests.photographs import photographs
from loadtests.run import StartFailed, free_port
from loadtests.uploads import Unexpected, Uploaded, request, upload

#: The share of the offline loop's rate that the server reaches, and how many times a peer's.
OFFLINE_SHARE, PEER_TIMES = 0.9, 2.0
ROOT = Path(__file__).parent.parent
PHOTOGRAPHS, WARM_S, PATIENCE_S = 64, 2.0, 60.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What every turn has in common: where things lie, and how much of the machine is used."""

    model: Path
    photographs: Path
    cores: frozenset[int]
    client: frozenset[int]
    batch: int
    threads: int
    instances: int
    workers: int
    connections: int
    seconds: float


@dataclass(slots=True)
class Turns:
    """Rates and CPU time of an image of one contestant, a turn each, and of a server's last turn what else was seen."""

    rates: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    last: Uploaded | None = None

    @property
    def rate(self) -> float:
        """The median."""
        return statistics.median(self.rates)


@dataclass(frozen=True, slots=True)
class Names:
    """Reads names that are joined by commas."""

    known: Sequence[str]

    def __call__(self, text: str) -> list[str]:
        """The names. Raises ArgumentTypeError."""
        names = [name for name in text.split(",") if name]
        for name in names:
            if name not in self.known:
                raise argparse.ArgumentTypeError(f"{name!r} is unknown; expected some of {', '.join(self.known)}")
        return names


def main(arguments: Sequence[str]) -> int:
    """The command."""
    options = _options(arguments)
    try:
        peers = {name: PEERS[name].install(options.peers) for name in options.only} if options.peers else {}
        return compared(options, peers)
    except (StartFailed, Unexpected, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1


def compared(options: argparse.Namespace, peers: Mapping[str, Path]) -> int:
    """All turns, and what comes of them. Raises StartFailed, Unexpected."""
    with tempfile.TemporaryDirectory() as name:
        setting = _setting(options, Path(name))
        contestants = [*(f"offline, {decoder}" for decoder in ("tureen", "pillow")), *options.servers, *peers]
        seen = {contestant: Turns() for contestant in contestants}
        best: list[int] = []
        for index in range(options.rounds):
            for contestant in contestants if index % 2 == 0 else reversed(contestants):
                turns = seen[contestant]
                if contestant.startswith("offline"):
                    rate, cpu_ms, best = offline(setting, contestant.partition(", ")[2])
                else:
                    turns.last = ask(setting, contestant, peers.get(contestant))
                    rate, cpu_ms = turns.last.rate, turns.last.cpu_ms
                turns.rates.append(rate)
                turns.cpu_ms.append(cpu_ms)
                print(f"round {index + 1}: {contestant}: {rate:.1f} images/s, {cpu_ms:.1f} ms of CPU each", flush=True)
        return report(seen, options.servers, peers, best)


def report(seen: Mapping[str, Turns], servers: Sequence[str], peers: Mapping[str, Path], best: Sequence[int]) -> int:
    """Prints what was seen and how it compares, in the same rounds; 1 where a goal was missed."""
    for contestant, turns in seen.items():
        line = f"{contestant:16} {turns.rate:7.1f} images/s ({min(turns.rates):.1f} to {max(turns.rates):.1f}), "
        line += f"{statistics.median(turns.cpu_ms):.1f} ms of CPU each"
        if turns.last is not None:
            agreement = turns.last.agreement(best)
            line += (
                f", p50 {turns.last.latency_ms(0.5):.0f} ms, p99 {turns.last.latency_ms(0.99):.0f} ms, {agreement:.0%} as offline"
            )
        print(line)
    missed = False
    offline_rates = [
        max(pair) for pair in zip(*(turns.rates for name, turns in seen.items() if name not in (*servers, *peers)), strict=True)
    ]
    for server in servers:
        against = [
            ("the faster offline loop", offline_rates, OFFLINE_SHARE),
            *((peer, seen[peer].rates, PEER_TIMES) for peer in peers),
        ]
        for name, rates, goal in against:
            ratio = statistics.median(mine / other for mine, other in zip(seen[server].rates, rates, strict=True))
            missed |= ratio < goal
            print(f"{server} beside {name}: {ratio:.2f} (goal {goal:g}): {'missed' if ratio < goal else 'reached'}")
    return int(missed)


def offline(setting: Setting, decoder: str) -> tuple[float, float, list[int]]:
    """Images a second and CPU time (ms) of an image in the best of three plain ways to use the cores; the best classes.

    One loop that decodes and computes in turns, one that decodes beside the computing, or a loop for each core.
    """
    told = []
    cores = len(setting.cores)
    for loops, decoders in ((1, 0), (1, cores), *(((cores, 0),) if cores > 1 else ())):
        command = [sys.executable, "-m", "loadtests.offline", str(setting.model), str(setting.photographs)]
        command += ["--decoder", decoder, "--decoders", str(decoders), "--batch", str(setting.batch)]
        command += ["--loops", str(loops), "--threads", str(cores // loops), "--seconds", f"{setting.seconds / 2:g}"]
        with kept_to(setting.cores):
            ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        told.append(json.loads(ran.stdout))
    better = max(told, key=lambda run: float(run["rate"]))
    return better["rate"], better["cpu_ms"], better["best"]


def ask(setting: Setting, contestant: str, environment: Path | None) -> Uploaded:
    """What a server of its own answers. Raises StartFailed, Unexpected."""
    port = free_port()
    if environment is None:
        path, name, ready = "/v1/models/mobilenet:classify?top_k=5", "file", "/v2/health/ready"
        command: Sequence[str] = [TUREEN, "serve", str(setting.model.parent), "--server", contestant, "--bind", f"127.0.0.1:{port}"]
        variables: Mapping[str, str] = os.environ | {"TUREEN_LOG__LEVEL": "warning", "TUREEN_LOG__REQUESTS": "false"}
    else:
        peer: Peer = PEERS[contestant]
        path, name, ready, command = peer.path, peer.field, peer.ready, peer.command(environment, port)
        variables = peer.variables(setting.model, port, setting.batch, setting.workers, setting.threads)
    files = sorted(setting.photographs.iterdir())
    requests = [request(path, name, file.read_bytes(), number) for number, file in enumerate(files)]
    url = f"http://127.0.0.1:{port}{ready}"
    with kept_to(setting.cores), started(command, variables, url) as server, kept_to(setting.client):
        return upload(port, requests, setting.connections, WARM_S, setting.seconds, lambda: cpu_s(server.pid))


def cpu_s(server: int) -> float:
    """What a process and all its own have spent (seconds)."""
    parents: dict[int, int] = {}
    spent: dict[int, int] = {}
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            told = (directory / "stat").read_text().rpartition(")")[2].split()
            parents[int(directory.name)], spent[int(directory.name)] = int(told[1]), int(told[11]) + int(told[12])
    theirs = {server}
    while more := {pid for pid, parent in parents.items() if parent in theirs} - theirs:
        theirs |= more
    return sum(spent.get(pid, 0) for pid in theirs) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def kept_to(cores: frozenset[int]) -> Iterator[None]:
    """What is started meanwhile runs on these cores alone, and so does this process until then."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def started(command: Sequence[str], variables: Mapping[str, str], ready: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server with all its processes, from ready until stopped; what it writes is shown where it fails. Raises StartFailed."""
    # A session of its own: some servers leave processes behind.
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, env=variables, cwd=ROOT, stdout=log, stderr=log, start_new_session=True) as server,
    ):
        try:
            _wait(server, ready)
            yield server
        except (StartFailed, Unexpected, OSError):
            log.seek(0)
            print(log.read()[-4000:], file=sys.stderr)
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)


def _wait(server: subprocess.Popen[bytes], ready: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if server.poll() is not None:
            raise StartFailed(f"the server stopped with exit code {server.returncode} before it was ready")
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(ready, timeout=5):
            return
        time.sleep(0.2)
    raise StartFailed(f"the server was not ready within {PATIENCE_S:g} s")


def _setting(options: argparse.Namespace, directory: Path) -> Setting:
    everything = frozenset(os.sched_getaffinity(0))
    cores = frozenset(map(int, options.cores.split(",")))
    instances = options.instances or len(cores)
    files = directory / "photographs"
    files.mkdir()
    for number, data in enumerate(photographs(PHOTOGRAPHS)):
        (files / f"{number:03}.jpg").write_bytes(data)
    return Setting(
        model=mobilenet.write(directory / "repository", options.batch, instances, options.threads),
        photographs=files,
        cores=cores,
        client=everything - cores or everything,
        batch=options.batch,
        threads=options.threads,
        instances=instances,
        workers=options.workers or len(cores),
        connections=options.connections,
        seconds=options.seconds,
    )


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.classify", description="Photographs in, labels out, in turns.")
    parser.add_argument("--servers", type=Names(("uvicorn", "hypercorn")), default=["uvicorn", "hypercorn"], help="default: both")
    parser.add_argument("--peers", type=Path, help="a directory for the peers' virtual environments; without it there are no peers")
    parser.add_argument("--only", type=Names(tuple(PEERS)), default=list(PEERS), help="these peers alone")
    parser.add_argument("--cores", default="0", help="of the server, such as 0,1; the client has the others, or all; default: 0")
    parser.add_argument("--batch", type=int, default=16, help="the most images in a call, of everybody")
    parser.add_argument("--threads", type=int, default=1, help="[runtime] threads, and the peers'; the loop has as many as cores")
    parser.add_argument("--instances", type=int, default=0, help="[batching] instances; default: one a core")
    parser.add_argument("--workers", type=int, default=0, help="the peers' processes; default: one a core")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each turn, after 2 s to warm up")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
