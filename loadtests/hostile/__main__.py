"""Runs attacks beside a measured customer and says what each cost; see the package."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import sys
from pathlib import Path

from loadtests.hostile.attacks import ATTACKS
from loadtests.hostile.rounds import SLOWER, Round, fare
from loadtests.hostile.server import CLIENTS, Attacked, attacked, pin
from loadtests.hostile.soak import soak

#: What a new server answers first takes longer, and would make the normal longer than it is.
WARM_UP_S = 3.0


async def each(server: Attacked, names: list[str], seconds: float, pairs: int) -> int:
    """Every attack in turn, each time after a measurement of the normal; what is judged is the median of the pairs."""
    await fare(server, None, WARM_UP_S)
    print(f"{'attack':18}{'p50 ms':>8}{'p99 ms':>8}{'max ms':>8}{'MiB':>7}{'files':>7}  seen by the attacker", flush=True)
    failed = 0
    for name in names:
        normals, made = [], []
        for _ in range(pairs):
            normals.append(await fare(server, None, seconds))
            _show(normals[-1])
            made.append(await fare(server, name, seconds))
            _show(made[-1])
        normal, under = (statistics.median(fared.p99 for fared in rounds) for rounds in (normals, made))
        print(f"{name:18}  p99 {under / normal:.2f} times the normal: {under:.1f} ms to {normal:.1f} ms", flush=True)
        faults = dict.fromkeys(fault for fared in made for fault in fared.faults())
        if under >= SLOWER * normal:
            faults[f"the customer's p99 is {under / normal:.1f} times the normal one"] = None
        for fault in faults:
            failed += 1
            print(f"{'':18}FAULT: {fault}", flush=True)
    return 1 if failed else 0


def _show(made: Round) -> None:
    customer = made.customer
    figures = f"{customer['p50']:>8}{customer['p99']:>8}{customer['max']:>8}{made.resident >> 20:>7}{made.descriptors:>7}"
    print(f"{made.name:18}{figures}  {dict(made.seen.most_common(6))}", flush=True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.hostile", description=__doc__)
    parser.add_argument("attack", nargs="*", help=f"soak, or any of {', '.join(ATTACKS)}; by default all, one by one")
    parser.add_argument("--server", choices=["hypercorn", "uvicorn"], default="hypercorn")
    parser.add_argument("--repository", type=Path, default=Path("demo"))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pairs", type=int, default=3, help="how often each attack is measured, and the normal before it")
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args()
    unknown = set(options.attack) - {*ATTACKS, "soak"}
    if unknown:
        parser.error(f"there is no attack {', '.join(sorted(unknown))}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 65_536)), hard))
    with attacked(options.repository, options.server) as server:
        pin([os.getpid()], CLIENTS)
        if "soak" in options.attack:
            names = [name for name in options.attack if name != "soak"] or list(ATTACKS)
            return asyncio.run(soak(server, options.minutes, names))
        return asyncio.run(each(server, options.attack or list(ATTACKS), options.seconds, options.pairs))


if __name__ == "__main__":
    sys.exit(main())
