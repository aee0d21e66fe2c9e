"""What a run came to: for people in `text.py`, for programs here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from service.commands.bench.arrivals import Arrivals
from service.commands.bench.batches import Batches
from service.commands.bench.histogram import PERCENTILES, Histogram
from service.commands.bench.record import Record

#: A client that is busier than that may be slower than its server.
_BUSY = 0.85


@dataclass(frozen=True, slots=True)
class Asked:
    """What was to be done. ``rate``: None in a closed loop; ``version``: None for whichever answers."""

    url: str
    model: str
    version: str | None
    protocol: str
    connections: int
    rate: float | None
    arrivals: Arrivals
    seed: int
    seconds: float
    warmup_s: float

    @property
    def load(self) -> str:
        """How requests came, in words."""
        if self.rate is None:
            return f"closed loop of {self.connections} connection{'s' * (self.connections != 1)}"
        kind = "Poisson" if self.arrivals == "poisson" else "constant"
        return f"open loop, {kind} arrivals at {self.rate:,g}/s over at most {self.connections} connections"


@dataclass(frozen=True, slots=True)
class Result:
    """``seconds``: how long requests were sent; ``unsent``: those that were due by then and were never sent.

    ``busy``: the share of the time for which the client kept a core busy. ``connections``: the most that were open.
    ``not_told``: why the server's statistics are missing, empty where they are not.
    """

    asked: Asked
    record: Record
    seconds: float
    busy: float
    unsent: int
    interrupted: bool
    connections: int
    batches: Batches | None
    not_told: str = ""

    @property
    def due(self) -> int:
        """Requests that were to be sent."""
        return self.record.ok + self.record.failed + self.unsent

    @property
    def remarks(self) -> list[str]:
        """What puts the figures in doubt."""
        found = []
        if self.interrupted:
            found.append(f"interrupted: measured for {self.seconds:.1f} s of {self.asked.seconds:g} s")
        if self.unsent and self.asked.rate is not None:
            found.append(
                f"{self.unsent:,} requests were due and never sent, as every connection was taken: more is asked for "
                "than is kept up with, and the latencies leave these out"
            )
        if self.busy > _BUSY:
            found.append(
                f"this client was busy {self.busy:.0%} of the time, and may be the limit itself: "
                "give it a core of its own, or ask for less"
            )
        if self.not_told:
            found.append(f"the server's own counts are missing: {self.not_told}")
        return found

    @property
    def rate(self) -> float:
        """Requests answered a second, of those that succeeded within the measured time."""
        return self.record.ok_in_time / self.seconds if self.seconds else 0.0

    @property
    def rows_rate(self) -> float:
        """Their rows a second."""
        return self.record.rows_in_time / self.seconds if self.seconds else 0.0

    @property
    def failures(self) -> Iterator[tuple[str, int, str]]:
        """What requests failed of, how many, and the sentence that came with the first: the most frequent first."""
        for what, found in sorted(self.record.failures.items(), key=lambda item: -item[1].count):
            yield what, found.count, found.example

    @property
    def slots(self) -> Iterator[tuple[float, int, int, Histogram]]:
        """Each part of the time: its begin (seconds), how many succeeded and failed, their latencies. The last may be cut short."""
        record = self.record
        for number in range(max(1, int(self.seconds / record.width + 1e-6))):
            slot = record.slots.get(number)
            start = number * record.width
            yield (start, slot.ok, slot.failed, slot.latency) if slot is not None else (start, 0, 0, Histogram())

    def json(self) -> dict[str, Any]:
        """What a program reads; durations are in milliseconds, or seconds where their name says so."""
        asked, record = self.asked, self.record
        return {
            "url": asked.url,
            "model": asked.model,
            "version": asked.version,
            "protocol": asked.protocol,
            "loop": "closed" if asked.rate is None else "open",
            "rate": asked.rate,
            "arrivals": None if asked.rate is None else asked.arrivals,
            "seed": asked.seed,
            "connections": asked.connections,
            "connections_open": self.connections,
            "warmup_s": asked.warmup_s,
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
            "client_busy": round(self.busy, 3),
            "requests": {"due": self.due, "sent": record.sent, "ok": record.ok, "failed": record.failed, "never_sent": self.unsent},
            "requests_per_s": round(self.rate, 3),
            "rows_per_s": round(self.rows_rate, 3),
            "latency_ms": distribution(record.latency),
            "sent_late_ms": distribution(record.late),
            "queue_ms": distribution(record.queue),
            "infer_ms": distribution(record.infer),
            "failures": [{"what": what, "count": count, "example": example} for what, count, example in self.failures],
            "versions": dict(record.versions),
            "cache": dict(record.cache),
            "batches": _batches(self.batches),
            "remarks": self.remarks,
            "timeline": list(_timeline(self)),
        }


def distribution(histogram: Histogram) -> dict[str, float | None]:
    """Least, mean, percentiles and greatest, in milliseconds."""
    if not histogram.count:
        return dict.fromkeys(("min", "mean", *map(label, PERCENTILES), "max"))
    found = [histogram.least, histogram.mean or 0.0, *histogram.percentiles(PERCENTILES), histogram.greatest]
    return dict(zip(("min", "mean", *map(label, PERCENTILES), "max"), (round(1e3 * each, 4) for each in found), strict=True))


def label(percentile: float) -> str:
    """A percentile's name."""
    return f"p{percentile:g}"


def percentile_curve(histogram: Histogram) -> list[tuple[float, float]]:
    """Points of the percentiles: how many nines (0 is the least, 1 the 90th percentile, 2 the 99th), and milliseconds.

    As far as there are ten durations beyond, so that no single one makes the picture.
    """
    if histogram.count < 20:
        return []
    last = math.log10(histogram.count / 10)
    steps = [last * n / 80 for n in range(81)]
    found = histogram.percentiles([100 * (1 - 10**-step) for step in steps])
    return [(step, 1e3 * seconds) for step, seconds in zip(steps, found, strict=True)]


def _batches(batches: Batches | None) -> dict[str, Any] | None:
    if batches is None:
        return None
    return {
        "calls": batches.calls,
        "rows": batches.rows,
        "mean_rows": None if batches.mean_rows is None else round(batches.mean_rows, 3),
        "by_rows": [{"rows": rows, "calls": calls} for rows, calls in batches.by_rows.items()],
        "by_rows_from": batches.source,
        "closed": None if batches.reasons is None else dict(batches.reasons),
    }


def _timeline(result: Result) -> Iterator[dict[str, Any]]:
    for start, ok, failed, latency in result.slots:
        p50, p99 = latency.percentiles((50, 99)) or (None, None)
        yield {
            "from_s": round(start, 3),
            "ok": ok,
            "failed": failed,
            "p50_ms": None if p50 is None else round(1e3 * p50, 4),
            "p99_ms": None if p99 is None else round(1e3 * p99, 4),
        }
