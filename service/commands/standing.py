"""What a look at a server amounts to: a pure function from what was seen, now and before, to a report, its text and its JSON.

Numbers come from `/metrics`, which has those of all workers; where it is off, from `/v2/models/stats` of the worker that answered.
With a look before, rates, latencies and batches are those of the time between the two; without, those since the start.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field

from service.commands.exposition import Sample, quantile
from service.commands.look import Json, Look
from service.commands.table import table
from service.metrics import families

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Counted:
    """What one version has done up to a look: requests, those that failed, seconds and buckets of latency, rows and calls."""

    requests: float = 0
    errors: float = 0
    timed: float = 0
    seconds: float = 0
    rows: float = 0
    calls: float = 0
    buckets: tuple[tuple[float, float], ...] = ()

    def since(self, before: Counted) -> Counted:
        """What came after ``before``; all of it where a counter went back, as when a worker was replaced."""
        older = dict(before.buckets)
        later = Counted(
            self.requests - before.requests,
            self.errors - before.errors,
            self.timed - before.timed,
            self.seconds - before.seconds,
            self.rows - before.rows,
            self.calls - before.calls,
            tuple((bound, count - older.get(bound, 0)) for bound, count in self.buckets),
        )
        numbers = (later.requests, later.errors, later.timed, later.rows, later.calls, *(count for _, count in later.buckets))
        return self if min(numbers) < 0 else later


@dataclass(frozen=True, slots=True)
class Row:
    """One version of a model, or a model that has none. Latencies in milliseconds; None is what is not known."""

    model: str
    version: str
    state: str
    reason: str
    platform: str
    requests: int
    errors: int
    rate: float | None = None
    mean_ms: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    batch_rows: float | None = None
    queued: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A server's standing. ``workers`` by phase and ``connections`` come from metrics; ``seconds``: since the look before;
    ``withheld``: what the server did not tell this caller, and why."""

    url: str
    server: str
    version: str
    ready: bool
    reason: str
    metrics: bool
    seconds: float | None
    workers: Mapping[str, int]
    connections: int | None
    models: tuple[Row, ...]
    withheld: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 where the server is ready, 1 where it answers and is not."""
        return 0 if self.ready else 1

    def json(self) -> dict[str, object]:
        """As an object of plain values."""
        return asdict(self)


def report(url: str, now: Look, before: Look | None = None) -> Report:
    """What both looks say of the server."""
    seconds = None if before is None else max(now.at - before.at, 1e-9)
    counted = _counted(now)
    earlier = {} if before is None or (before.samples is None) != (now.samples is None) else _counted(before)
    seen = now.samples or ()
    queued, memory = _by_version(seen, families.QUEUED.exposed), _by_version(seen, families.MEMORY.exposed)
    entries = {(str(entry.get("name", "")), str(entry.get("version", ""))): entry for entry in now.index}
    # What reached no version of a model, such as one that is not ready, is counted under none.
    others = [key for key, total in counted.items() if key not in entries and key[0] and total.requests]
    rows = []
    for key in sorted([*entries, *others], key=_by_name_and_number):
        entry = entries.get(key, {})
        total = counted.get(key, Counted())
        latest = total.since(earlier[key]) if key in earlier else total
        rows.append(
            Row(
                *key,
                state=str(entry.get("state", "")),
                reason=str(entry.get("reason", "")),
                platform=now.platforms.get(key, ""),
                requests=int(total.requests),
                errors=int(total.errors),
                rate=None if seconds is None else latest.requests / seconds,
                mean_ms=1000 * latest.seconds / latest.timed if latest.timed else None,
                p50_ms=_milliseconds(quantile(0.5, latest.buckets)),
                p99_ms=_milliseconds(quantile(0.99, latest.buckets)),
                batch_rows=latest.rows / latest.calls if latest.calls else None,
                queued=int(queued[key]) if key in queued else None,
                memory_bytes=int(memory[key]) if key in memory else None,
            )
        )
    return Report(
        url,
        str(now.server.get("name", "")),
        str(now.server.get("version", "")),
        now.ready,
        now.reason,
        now.samples is not None,
        seconds,
        {
            sample.labels.get("phase", ""): int(sample.value)
            for sample in seen
            if sample.name == families.WORKERS.name and sample.value
        },
        _connections(seen),
        tuple(rows),
        now.withheld,
    )


def text(report: Report) -> str:
    """The report as a person reads it."""
    parts = [f"{' '.join(filter(None, (report.server, report.version)))} on {report.url}", "ready" if report.ready else "NOT READY"]
    if report.workers:
        parts.append(f"workers: {', '.join(f'{count} {phase}' for phase, count in report.workers.items())}")
    if report.connections is not None:
        parts.append(f"{report.connections} connection{'s' * (report.connections != 1)}")
    lines = [", ".join(parts)]
    if report.reason:
        lines.append(f"  {report.reason}")
    lines.append("")
    if report.models:
        head = (
            "model",
            "version",
            "state",
            "platform",
            "requests",
            "errors",
            "req/s",
            "mean ms",
            "p50",
            "p99",
            "rows/call",
            "queued",
            "MiB",
        )
        body = [_cells(row) for row in report.models]
        kept = [n for n, name in enumerate(head) if n < _NUMBERS or any(cells[n] != _NONE for cells in body)]
        lines += table([[cells[n] for n in kept] for cells in (head, *body)], (n for n, column in enumerate(kept) if column > 3))
        lines += [f"  {_name(row)}: {row.reason}" for row in report.models if row.reason]
    elif "models" not in report.withheld:
        there = "no model is there; put one into the repository, then `tureen models load NAME`"
        lines.append(f"  {there if report.ready else 'nothing has been loaded yet; the log says how far it is'}")
    lines += [f"  The models' states are not told: {report.withheld['models']}"] if "models" in report.withheld else []
    lines += ["", f"  {_about(report)}"]
    return "\n".join(lines)


_NONE = "-"
_NUMBERS = 6  # columns that are always shown


def _about(report: Report) -> str:
    why = "not for this key" if "metrics" in report.withheld else "off"
    scope = "of all workers" if report.metrics else f"of the worker that answered: /metrics is {why}"
    if report.seconds is None:
        return f"Numbers since the start, {scope}."
    return f"Rate, latencies and rows of the last {report.seconds:.1f} s, other numbers since the start, {scope}."


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.model,
        row.version or _NONE,
        row.state.lower() or _NONE,
        row.platform or _NONE,
        str(row.requests),
        str(row.errors),
        *(
            _NONE if value is None else f"{value:.{digits}f}"
            for value, digits in (
                (row.rate, 1),
                (row.mean_ms, 2),
                (row.p50_ms, 2),
                (row.p99_ms, 2),
                (row.batch_rows, 1),
                (row.queued, 0),
                (_mebibytes(row), 0),
            )
        ),
    )


def _name(row: Row) -> str:
    return f"{row.model}/{row.version}" if row.version else row.model


def _mebibytes(row: Row) -> float | None:
    return None if row.memory_bytes is None else row.memory_bytes / 1024**2


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds


def _counted(seen: Look) -> dict[Key, Counted]:
    if seen.samples is None:
        return {(str(entry.get("name")), str(entry.get("version"))): _from_statistics(entry) for entry in seen.statistics}
    return _from_metrics(seen.samples)


def _from_statistics(entry: Json) -> Counted:
    inference = entry.get("inference_stats", {})
    success, fail = inference.get("success", {}), inference.get("fail", {})
    done = float(success.get("count", 0))
    return Counted(
        requests=done + fail.get("count", 0),
        errors=float(fail.get("count", 0)),
        timed=done,
        seconds=success.get("ns", 0) / 1e9,
        rows=float(entry.get("inference_count", 0)),
        calls=float(entry.get("execution_count", 0)),
    )


def _from_metrics(seen: Iterable[Sample]) -> dict[Key, Counted]:
    seen = list(seen)
    requests = _by_version(seen, families.REQUESTS.exposed)
    errors = _by_version(seen, families.REQUESTS.exposed, lambda sample: not sample.labels.get("code", "").startswith("2"))
    latency = families.DURATION.exposed
    timed, seconds = _by_version(seen, f"{latency}_count"), _by_version(seen, f"{latency}_sum")
    # Not the histogram of rows: that one counts a batch once for each of its requests.
    rows, calls = _by_version(seen, families.ROWS_ANSWERED.exposed), _by_version(seen, families.BATCHES.exposed)
    buckets = _buckets(seen)
    return {
        key: Counted(
            requests.get(key, 0),
            errors.get(key, 0),
            timed.get(key, 0),
            seconds.get(key, 0),
            rows.get(key, 0),
            calls.get(key, 0),
            tuple(sorted(buckets.get(key, {}).items())),
        )
        for key in {*requests, *timed, *calls}
    }


def _by_version(seen: Iterable[Sample], name: str, wanted: Callable[[Sample], bool] = lambda _: True) -> dict[Key, float]:
    """A name's values, added up by model and version over all its other labels."""
    totals: dict[Key, float] = {}
    for sample in seen:
        if sample.name == name and wanted(sample) and not math.isnan(sample.value):
            key = _key(sample)
            totals[key] = totals.get(key, 0) + sample.value
    return totals


def _buckets(seen: Iterable[Sample]) -> dict[Key, dict[float, float]]:
    found: dict[Key, dict[float, float]] = {}
    for sample in seen:
        if sample.name == f"{families.DURATION.exposed}_bucket":
            bounds = found.setdefault(_key(sample), {})
            bound = float(sample.labels.get("le", "inf"))
            bounds[bound] = bounds.get(bound, 0) + sample.value
    return found


def _key(sample: Sample) -> Key:
    return sample.labels.get("model", ""), sample.labels.get("version", "")


def _connections(seen: Iterable[Sample]) -> int | None:
    open_ones = [sample.value for sample in seen if sample.name == families.CONNECTIONS.name]
    return int(sum(open_ones)) if open_ones else None


def _by_name_and_number(key: Key) -> tuple[str, int, str]:
    model, version = key
    return model, int(version) if version.isascii() and version.isdigit() else 0, version
