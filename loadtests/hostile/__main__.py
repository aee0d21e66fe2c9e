"""Runs attacks beside a measured customer and says what each cost; see the package."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
from pathlib import Path

from loadtests.hostile.attacks import ATTACKS
from loadtests.hostile.rounds import Round, fare
from loadtests.hostile.server import CLIENTS, Attacked, attacked, pin
from loadtests.hostile.soak import soak

#: What a new server answers first takes longer, and would make the normal longer than it is.
WARM_UP_S = 3.0


async def each(server: Attacked, names: list[str], seconds: float) -> int:
    """Every attack in turn, between two measurements of the normal."""
    await fare(server, None, WARM_UP_S)
    normal = await fare(server, None, seconds)
    print(f"{'attack':18}{'p50 ms':>8}{'p99 ms':>8}{'max ms':>8}{'MiB':>7}{'files':>7}  seen by the attacker", flush=True)
    _show(normal)
    failed = 0
    for name in names:
        made = await fare(server, name, seconds)
        _show(made)
        for fault in made.faults(normal.p99):
            failed += 1
            print(f"{'':18}FAULT: {fault}", flush=True)
    _show(await fare(server, None, seconds))
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
        return asyncio.run(each(server, options.attack or list(ATTACKS), options.seconds))


if __name__ == "__main__":
    sys.exit(main())
