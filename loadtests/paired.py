"""What keys, budgets and limits cost: two servers, one with them and one without, asked in turns.

python -m loadtests.paired [--server uvicorn] [--repository demo] [--connections 32] [--seconds 60] [--slice-ms 30] [--alike]

A shared machine changes its speed by half from one second to the next, so the turns are short, and each is compared with the one
beside it. Both servers run on one core, the client on another, and neither writes a line a request. ``--alike`` gives both the
same configuration: what then comes out is the machine's.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from loadtests.hostile.server import CLIENTS, SERVER, TUREEN, pin
from loadtests.run import free_port, serving

BODY = (
    b'{"inputs":[{"name":"input","shape":[1,15],"datatype":"FP64","data":[57.2,0,1,3,48.1,12,50.3,60,49.9,4,0.0,30,0.2,121,0.1]}]}'
)
GUARDED = """
[auth]
api_keys = true
[store]
state_dir = "{state}"
[limits]
requests_per_s = 1000000
requests_burst = 1000000
rows_per_s = 1000000
rows_burst = 1000000
"""
WARM_S = 2.0


class Side:
    """Connections to one server, each of which asks again once it is answered."""

    def __init__(self, port: int, key: str, connections: int) -> None:
        credential = f"Authorization: Bearer {key}\r\n" if key else ""
        head = f"POST /v2/models/fraud/infer HTTP/1.1\r\nHost: 127.0.0.1\r\n{credential}Content-Length: {len(BODY)}\r\n\r\n"
        self._request = head.encode() + BODY
        self._sockets = {}
        self._ready = select.epoll()
        for _ in range(connections):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets[connection.fileno()] = connection
            self._ready.register(connection, select.EPOLLIN)

    def turn(self, seconds: float) -> float:
        """The rate over so long: answers a second. Raises RuntimeError for any that is none."""
        begun = time.perf_counter()
        answers, waiting = 0, len(self._sockets)
        for connection in self._sockets.values():
            connection.send(self._request)
        while waiting:
            for number, _ in self._ready.poll():
                connection = self._sockets[number]
                answer = connection.recv(65536)
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(f"expected 200, got {answer[:200]!r}")
                answers += 1
                if time.perf_counter() < begun + seconds:
                    connection.send(self._request)
                else:
                    waiting -= 1
        return answers / (time.perf_counter() - begun)


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.paired", description="What keys, budgets and limits cost.")
    parser.add_argument("--server", choices=["hypercorn", "uvicorn"], default="uvicorn")
    parser.add_argument("--repository", type=Path, default=Path("demo"))
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--slice-ms", type=float, default=30.0)
    parser.add_argument("--alike", action="store_true", help="both servers without keys and budgets")
    options = parser.parse_args(arguments)
    os.environ |= {"TUREEN_LOG__LEVEL": "warning", "TUREEN_LOG__REQUESTS": "false"}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        state, config = Path(name) / "state", Path(name) / "tureen.toml"
        config.write_text(GUARDED.format(state=state), encoding="utf-8")
        made = [TUREEN, "keys", "create", "customer", "--scope", "infer", "--config", str(config)]
        key = "" if options.alike else subprocess.run(made, check=True, capture_output=True, text=True).stdout.strip()
        sides = []
        for guarded in (not options.alike, False):
            port = free_port()
            command = [TUREEN, "serve", str(options.repository), "--server", options.server, "--bind", f"127.0.0.1:{port}"]
            command += ["--config", str(config)] if guarded else []
            process = stack.enter_context(serving(command, f"http://127.0.0.1:{port}"))
            workers = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
            pin([process.pid, *workers], SERVER)
            sides.append(Side(port, key if guarded else "", options.connections))
        pin([os.getpid()], CLIENTS)
        for side in sides:
            side.turn(WARM_S)
        rates: list[tuple[float, float]] = []
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            first, second = sides if len(rates) % 2 else reversed(sides)
            one, other = first.turn(options.slice_ms / 1000), second.turn(options.slice_ms / 1000)
            rates.append((one, other) if first is sides[0] else (other, one))
    ratios = [on / off for on, off in rates]
    low, middle, high = statistics.quantiles(ratios, n=4)
    on, off = (statistics.median(side) for side in zip(*rates, strict=True))
    error = 1.25 * (high - low) / 1.35 / len(ratios) ** 0.5  # of a median, where the ratios are about normal
    print(f"{len(rates)} pairs: {on:,.0f} a second with, {off:,.0f} without")
    print(f"ratio {middle:.3f} +- {error:.3f} (median of the pairs; quartiles {low:.2f}, {high:.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
