"""Attacks that come and go beside the customer for long: what leaks shows, what is wrong is counted."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter

from loadtests.hostile.attacks import ATTACKS, Seen
from loadtests.hostile.rounds import EXPLAINED, FINE, SETTLE_S, fare
from loadtests.hostile.server import Attacked
from loadtests.hostile.wire import Line


async def soak(server: Attacked, minutes: float, names: list[str]) -> int:
    """Attacks come and go at random, several at once, beside the customer; what is held at the end is compared with the beginning.

    The first twentieth of the time warms up.
    """
    chance = random.Random(3)
    begun, held = time.monotonic(), list[tuple[int, int, int]]()
    seen: Seen = Counter()
    faults: list[str] = []
    total: Counter[str] = Counter()
    print(f"{'minute':>7}{'MiB':>8}{'files':>8}{'tasks':>8}{'p50 ms':>8}{'p99 ms':>8}  attacks", flush=True)
    while (gone := time.monotonic() - begun) < 60 * minutes:
        chosen = chance.sample(names, 3)
        running = [asyncio.create_task(ATTACKS[name](server, seen)) for name in chosen]
        fared = await fare(server, None, 20)
        for task in running:
            if task.done():
                task.result()
            task.cancel()
        await asyncio.wait(running)
        await asyncio.sleep(SETTLE_S)
        total.update({f"customer {status}": n for status, n in fared.customer["statuses"].items()})
        if fared.customer["wrong"] or fared.customer["broken"]:
            faults.append(f"minute {gone / 60:.1f}: {fared.customer} beside {chosen}")
        now = (server.resident(), server.descriptors(), await _tasks(server))
        if gone > 3 * minutes:
            held.append(now)
        latencies = f"{fared.customer['p50']:>8}{fared.customer['p99']:>8}"
        print(f"{gone / 60:>7.1f}{now[0] >> 20:>8}{now[1]:>8}{now[2]:>8}{latencies}  {chosen}", flush=True)
    await asyncio.sleep(90)  # longer than any connection is kept that says nothing
    last = (server.resident(), server.descriptors(), await _tasks(server))
    print(f"after 90 quiet seconds: {last[0] >> 20} MiB, {last[1]} files, {last[2]} tasks")
    print(f"customer: {dict(total)}\nattackers: {dict(seen)}")
    quarter = max(1, len(held) // 4)
    early, late = held[:quarter], held[-quarter:]
    for what, unit, slack in ((0, "bytes", 0.10), (1, "files", 0.10), (2, "tasks", 0.10)):
        first, then = (sum(one[what] for one in part) / len(part) for part in (early, late))
        print(f"{unit}: {first:.0f} on average in the first quarter, {then:.0f} in the last ({then / first - 1:+.1%})")
        if then > first * (1 + slack):
            faults.append(f"{unit} grew from {first:.0f} to {then:.0f}")
    bad = {name: count for name, count in seen.items() if name.startswith("5") and name not in EXPLAINED}
    if bad or any(name.split()[1] not in FINE for name in total):
        faults.append(f"answers that nothing explains: attackers {bad}, customer {dict(total)}")
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


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
