"""A customer: asks at a steady rate, knows the right answers, and says how it was served. A process of its own.

    python -m loadtests.hostile.customer PORT KEY_FILE SECONDS RATE

Prints one line of JSON. Latencies count from when a request was due, not from when it went out.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from loadtests.hostile.wire import Broken, Line

CONNECTIONS = 16
QUESTIONS = 64
PATIENCE_S = 30.0


class Fared(TypedDict):
    """How it went in numbers, latencies in milliseconds."""

    statuses: dict[str, int]
    wrong: int
    broken: int
    p50: float
    p99: float
    max: float


@dataclass(slots=True)
class Served:
    """How it went: answers by status, how many were not the right ones, latencies in milliseconds."""

    statuses: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    broken: int = 0
    latencies: list[float] = field(default_factory=list)

    def told(self) -> Fared:
        """The same as numbers to print."""
        ordered = sorted(self.latencies)
        at = [round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 2) if ordered else -1.0 for share in (0.5, 0.99, 1)]
        return Fared(statuses=dict(self.statuses), wrong=self.wrong, broken=self.broken, p50=at[0], p99=at[1], max=at[2])


@dataclass(frozen=True, slots=True)
class Question:
    """A whole request, and its answer as the server gave it undisturbed."""

    request: bytes
    answer: object


def asked(number: int, key: str) -> bytes:
    """One of the questions: a transaction to score."""
    row = random.Random(number)
    values = [round(row.uniform(-3, 3), 3) for _ in range(15)]
    body = json.dumps({"inputs": [{"name": "input", "datatype": "FP64", "shape": [1, 15], "data": values}]}).encode()
    head = f"POST /v2/models/fraud/infer HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


async def questions(port: int, key: str) -> list[Question]:
    """All of them with their answers, asked one after the other."""
    line = Line(port)
    made = []
    for number in range(QUESTIONS):
        status, body = await asyncio.wait_for(line.exchange(asked(number, key)), PATIENCE_S)
        if status != 200:
            raise SystemExit(f"the customer was answered {status} before anything happened: {body[:200]!r}")
        made.append(Question(asked(number, key), json.loads(body)["outputs"]))
    await line.close()
    return made


async def ask(port: int, known: Sequence[Question], seconds: float, rate: float, served: Served) -> None:
    """Asks on several kept connections, each at its share of the rate."""
    begun = time.perf_counter() + 0.2
    await asyncio.gather(
        *[_ask_on(port, known, begun + share / rate, begun + seconds, CONNECTIONS / rate, served) for share in range(CONNECTIONS)]
    )


async def _ask_on(port: int, known: Sequence[Question], due: float, end: float, period: float, served: Served) -> None:
    line = Line(port)
    choose = random.Random(due)
    while due < end:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        question = choose.choice(known)
        try:
            status, body = await asyncio.wait_for(line.exchange(question.request), PATIENCE_S)
        except (Broken, OSError, TimeoutError):
            served.broken += 1
            await line.close()
        else:
            served.statuses[str(status)] += 1
            if status == 200 and json.loads(body)["outputs"] != question.answer:
                served.wrong += 1
            served.latencies.append(1000 * (time.perf_counter() - due))
        due += period
    await line.close()


async def _main(port: int, key: str, seconds: float, rate: float) -> None:
    known = await questions(port, key)
    gc.freeze()
    served = Served()
    await ask(port, known, seconds, rate, served)
    print(json.dumps(served.told()))


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), Path(sys.argv[2]).read_text(encoding="ascii").strip(), *map(float, sys.argv[3:5])))
