"""What became of each request, in memory that does not grow with their number."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field

from service.commands.bench.histogram import Histogram

#: Parts that the measured time is looked at in.
SLOTS = 60
_SHORTEST_SLOT_S = 0.05
#: Kinds of failures, versions and the like that are told apart; servers name them.
_KINDS = 64
#: What `X-Cache` says of answers that the model was called for; the others waited for no batch.
_COMPUTED = frozenset({b"", b"miss"})
_TIMING = re.compile(rb'queue;dur=([0-9.]+), infer;dur=([0-9.]+).*?rows=([0-9]+)"')


@dataclass(slots=True)
class Failures:
    """Requests that failed in one way; ``example``: the sentence that came with the first."""

    example: str
    count: int = 0


@dataclass(slots=True)
class Slot:
    """What ended within one part of the time."""

    ok: int = 0
    failed: int = 0
    latency: Histogram = field(default_factory=Histogram)


class Record:
    """What is known of the requests from ``begin`` on. Latencies are those of requests that succeeded.

    ``late``: from when a request was due until it was sent. ``shared``: rows of answers, by the rows of the call that they shared.
    """

    def __init__(self, seconds: float) -> None:
        self.width = max(seconds / SLOTS, _SHORTEST_SLOT_S)
        self.slots: dict[int, Slot] = {}
        self.latency, self.late = Histogram(), Histogram()
        self.queue, self.infer = Histogram(), Histogram()
        self.ok = self.failed = self.sent = self.ok_in_time = self.rows_in_time = 0
        self.failures: dict[str, Failures] = {}
        self.shared: Counter[int] = Counter()
        self.versions: Counter[str] = Counter()
        self.cache: Counter[str] = Counter()
        self._began = 0.0
        self._over = False

    def begin(self, now: float) -> None:
        """The measured time begins."""
        self._began = now

    def end(self) -> None:
        """It is over: answers that come later count, and not in its rate."""
        self._over = True

    def asked(self, due: float, now: float) -> None:
        """A request was sent."""
        self.sent += 1
        self.late.add(now - due)

    def answered(self, due: float, now: float, rows: int, told: Told) -> None:
        """It succeeded."""
        latency = now - due
        self.ok += 1
        self.latency.add(latency)
        if not self._over:
            self.ok_in_time += 1
            self.rows_in_time += rows
            slot = self._slot(now)
            slot.ok += 1
            slot.latency.add(latency)
        timing = _TIMING.match(told.timing) if told.cache in _COMPUTED else None
        if timing is not None:
            self.queue.add(float(timing[1]) / 1e3)
            self.infer.add(float(timing[2]) / 1e3)
            self.shared[int(timing[3])] += rows
        _count(self.versions, told.version)
        if told.cache:
            _count(self.cache, told.cache)

    def failure(self, what: str, now: float, example: str) -> None:
        """It failed; requests that fail in the same way have the same ``what``."""
        self.failed += 1
        found = self.failures.get(what)
        if found is None:
            found = self.failures.setdefault(what if len(self.failures) < _KINDS else "other", Failures(example))
        found.count += 1
        if not self._over:
            self._slot(now).failed += 1

    def _slot(self, now: float) -> Slot:
        number = int((now - self._began) / self.width)
        found = self.slots.get(number)
        if found is None:
            found = self.slots[number] = Slot()
        return found


@dataclass(slots=True)
class Told:
    """What an answer's head says beside its status."""

    timing: bytes = b""
    version: bytes = b""
    cache: bytes = b""


def named(status: int, body: bytes) -> tuple[str, str]:
    """What a request failed of, by status and code, and the server's sentence."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    code, sentence = (content.get("code"), content.get("error")) if isinstance(content, dict) else (None, None)
    return f"{status} {code}"[:80] if isinstance(code, str) else str(status), sentence[:300] if isinstance(sentence, str) else ""


def _count(counter: Counter[str], value: bytes) -> None:
    name = value.decode("latin-1")
    if name in counter or len(counter) < _KINDS:
        counter[name] += 1
