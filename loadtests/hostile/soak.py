"""Attacks that come and go beside the customer for long: what leaks shows, what is wrong is counted.

What is held is compared at quiet moments alone. What an attack leaves behind is let go of in its own time, up to a minute after it,
so that a moment in the middle says which attack was the last one, and nothing of leaks.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from loadtests.hostile.attacks import ATTACKS, Seen
from loadtests.hostile.rounds import EXPLAINED, FINE, SETTLE_S, fare
from loadtests.hostile.server import Attacked
from loadtests.hostile.wire import Line

#: So many attacks at once, for so long (seconds).
AT_ONCE, TURN_S = 3, 20.0
#: Longer than any connection is kept that says nothing (seconds).
QUIET_S = 90.0
#: How often it is quiet, the warm-up apart.
STOPS = 4
#: What may be held more at the last quiet moment than at the first: memory as a share, for an allocator keeps what it has had.
MORE_BYTES, MORE_FILES, MORE_TASKS = 0.10, 2, 2


class Held(NamedTuple):
    """What all workers hold."""

    resident: int
    files: int
    tasks: int

    def __str__(self) -> str:
        return f"{self.resident / (1 << 20):.0f} MiB, {self.files} files, {self.tasks} tasks"


def grown(first: Held, last: Held) -> list[str]:
    """What is held more than may be, in words."""
    faults = []
    if last.resident > first.resident * (1 + MORE_BYTES):
        faults.append(f"memory grew by {last.resident / first.resident - 1:.1%}")
    if last.files > first.files + MORE_FILES:
        faults.append(f"files grew from {first.files} to {last.files}")
    if last.tasks > first.tasks + MORE_TASKS:
        faults.append(f"tasks grew from {first.tasks} to {last.tasks}")
    return faults


async def soak(server: Attacked, minutes: float, names: list[str]) -> int:
    """Every attack once, to warm up; then attacks that come and go at random, several at once, beside the customer."""
    told = Told()
    print(f"{'minute':>7}{'MiB':>8}{'files':>8}{'tasks':>8}{'p50 ms':>8}{'p99 ms':>8}  attacks", flush=True)
    for at in range(0, len(names), AT_ONCE):
        await _turn(server, names[at : at + AT_ONCE], told)
    quiet = [await _quiet(server)]
    turns, begun = _turns(names), time.monotonic()
    for stop in range(STOPS):
        while time.monotonic() - begun < 60 * minutes * (stop + 1) / STOPS:
            await _turn(server, next(turns), told)
        quiet.append(await _quiet(server))
    print(f"customer: {dict(told.customer)}\nattackers: {dict(told.attackers)}")
    faults = told.faults + grown(quiet[0], quiet[-1])
    bad = {name: count for name, count in told.attackers.items() if name.startswith("5") and name not in EXPLAINED}
    if bad or set(told.customer) - FINE:
        faults.append(f"answers that nothing explains: attackers {bad}, customer {dict(told.customer)}")
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


class Told:
    """What was seen: statuses of the customer and of the attackers, and what went wrong."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.customer: Counter[str] = Counter()
        self.attackers: Seen = Counter()
        self.faults: list[str] = []


def _turns(names: list[str]) -> Iterator[list[str]]:
    chance = random.Random(3)
    while True:
        yield chance.sample(names, AT_ONCE)


async def _turn(server: Attacked, chosen: list[str], told: Told) -> None:
    minute = (time.monotonic() - told.begun) / 60
    running = [asyncio.create_task(ATTACKS[name](server, told.attackers)) for name in chosen]
    customer = (await fare(server, None, TURN_S)).customer
    for task in running:
        if task.done():
            task.result()
        task.cancel()
    await asyncio.wait(running)
    await asyncio.sleep(SETTLE_S)
    told.customer.update(customer["statuses"])
    if customer["wrong"] or customer["broken"]:
        told.faults.append(f"minute {minute:.1f}: {customer} beside {chosen}")
    now = await _held(server)
    latencies = f"{customer['p50']:>8}{customer['p99']:>8}"
    print(f"{minute:>7.1f}{now.resident >> 20:>8}{now.files:>8}{now.tasks:>8}{latencies}  {chosen}", flush=True)


async def _quiet(server: Attacked) -> Held:
    await asyncio.sleep(QUIET_S)
    held = await _held(server)
    print(f"after {QUIET_S:g} quiet seconds: {held}", flush=True)
    return held


async def _held(server: Attacked) -> Held:
    return Held(server.resident(), server.descriptors(), await _tasks(server))


async def _tasks(server: Attacked) -> int:
    """Tasks of all workers, each asked on fresh connections until all have been."""
    tasks: dict[int, int] = {}
    for _ in range(200):
        line = Line(server.port)
        request = f"GET /inside HTTP/1.1\r\nHost: a\r\nX-API-Key: {server.key}\r\n\r\n".encode()
        status, body = await line.exchange(request)
        await line.close()
        if status == 200:
            told = json.loads(body)
            tasks[told["pid"]] = told["tasks"]
        if set(tasks) >= set(server.workers()):
            break
    return sum(tasks.values())
