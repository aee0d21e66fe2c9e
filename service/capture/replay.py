"""Captured requests sent again, and their answers compared with those of then. Knows the server by HTTP alone."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from service.capture.comparison import Body, Difference, differences
from service.commands.client import REFUSALS, Client, Unreachable

#: How many differences of one answer, and how many answers that differ or failed, are told of.
SHOWN_EACH: Final = 3
SHOWN: Final = 10
#: What was answered only because of how busy the server was says nothing of the models.
MOMENTARY: Final = frozenset({429, 503, 504})
LEFT: Final = 499


@dataclass(frozen=True, slots=True)
class Entry:
    """A captured inference. ``line`` is its place in the file, from 1."""

    line: int
    id: str
    path: str
    request: Body
    status: int
    answer: Body


@dataclass(frozen=True, slots=True)
class Skipped:
    """A line that cannot be sent, or has nothing to compare with."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Different:
    """An answer that is not the one of then, or that did not come: ``problem``."""

    entry: Entry
    differences: Sequence[Difference] = ()
    problem: str = ""


@dataclass(slots=True)
class Report:
    """What came of a replay; of what differed or failed the first few are kept."""

    equal: int = 0
    different: int = 0
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    shown: list[Different] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether there was something to compare, and all of it was equal."""
        return self.equal > 0 and not self.different and not self.failed

    def add(self, outcome: Different | None) -> None:
        """One more answer; None where it is equal."""
        if outcome is None:
            self.equal += 1
            return
        if outcome.problem:
            self.failed += 1
        else:
            self.different += 1
        if len(self.shown) < SHOWN:
            self.shown.append(outcome)


def entries(lines: Iterable[str]) -> Iterator[Entry | Skipped]:
    """What the lines of a capture hold."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _entry(number, json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            yield Skipped(number, "the line is damaged")


def _entry(number: int, told: Mapping[str, Any]) -> Entry | Skipped:
    answer = told["answer"]
    status = int(answer["status"])
    for part in (told, answer):
        if part.get("redacted"):
            return Skipped(number, "redacted")
        if part.get("left_out"):
            return Skipped(number, "a body was left out")
    if status == LEFT:
        return Skipped(number, "its client had left")
    if status in MOMENTARY:
        return Skipped(number, "the server was too busy to answer it")
    path = str(told["path"])
    if not path.startswith("/"):
        raise ValueError(path)
    return Entry(number, str(told["request_id"]), path, _body(told), status, _body(answer))


def _body(part: Mapping[str, Any]) -> Body:
    body = part["body"]
    data = base64.b64decode(body["base64"], validate=True) if isinstance(body, dict) else body.encode()
    return Body(data, {str(name): str(value) for name, value in part["headers"].items()})


def judge(entry: Entry, status: int, answer: Body, tolerance: float) -> Different | None:
    """None where the answer is that of then."""
    if status in MOMENTARY:
        return Different(entry, problem=f"the server answered {status}; replay slower, with --rate or --concurrency")
    if status != entry.status:
        return Different(entry, [Difference("status", str(entry.status), str(status))])
    found = list(islice(differences(entry.answer.read(), answer.read(), tolerance), SHOWN_EACH))
    return Different(entry, found) if found else None


def replay(
    file: Path,
    client: Callable[[], Client],
    *,
    headers: Mapping[str, str],
    rate: float | None,
    concurrency: int,
    tolerance: float,
) -> Report:
    """Sends what the file holds from ``concurrency`` threads, at most ``rate`` a second, each with a client of its own.

    With one thread the order is the file's. Raises OSError where the file cannot be read.
    """
    report = Report()
    lock = threading.Lock()
    begun = time.monotonic()
    sent = 0

    with file.open(encoding="utf-8", errors="replace") as lines:
        coming = entries(lines)

        def following() -> tuple[Entry, float] | None:
            """The next one, and when it is due."""
            nonlocal sent
            with lock:
                for entry in coming:
                    if isinstance(entry, Skipped):
                        report.skipped[entry.reason] += 1
                        continue
                    sent += 1
                    return entry, begun + (0.0 if rate is None else (sent - 1) / rate)
                return None

        def work() -> None:
            with client() as server:
                while (due := following()) is not None:
                    entry, at = due
                    time.sleep(max(0.0, at - time.monotonic()))
                    outcome = _ask(server, entry, headers, tolerance)
                    with lock:
                        report.add(outcome)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(concurrency)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    report.seconds = time.monotonic() - begun
    return report


def _ask(server: Client, entry: Entry, headers: Mapping[str, str], tolerance: float) -> Different | None:
    try:
        reply = server.send(entry.path, entry.request.data, {**entry.request.headers, "x-request-id": entry.id, **headers})
    except (Unreachable, ValueError) as error:  # ValueError: a header or path that HTTP cannot say
        return Different(entry, problem=str(error))
    if reply.status != entry.status and reply.status in REFUSALS - MOMENTARY:
        return Different(entry, problem=reply.error)
    return judge(entry, reply.status, Body(reply.body, reply.headers), tolerance)
