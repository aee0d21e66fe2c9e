"""What a look at a server amounts to: a pure function from what was seen, now and before, to a report, its text and its JSON.

Numbers come from `/metrics`, which has those of all workers; where it is off, from `/v2/models/stats` of the worker that answered.
With a look before, rates, latencies and batches are those of the time between the two; without, those since the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from service.commands.counts import Counted, Key, by_version, counted
from service.commands.exposition import Sample, quantile
from service.commands.look import Look
from service.commands.table import table
from service.metrics import families


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
    done = counted(now)
    earlier = {} if before is None or (before.samples is None) != (now.samples is None) else counted(before)
    seen = now.samples or ()
    queued, memory = by_version(seen, families.QUEUED.exposed), by_version(seen, families.MEMORY.exposed)
    entries = {(str(entry.get("name", "")), str(entry.get("version", ""))): entry for entry in now.index}
    # What reached no version of a model, such as one that is not ready, is counted under none.
    others = [key for key, total in done.items() if key not in entries and key[0] and total.requests]
    rows = []
    for key in sorted([*entries, *others], key=_by_name_and_number):
        entry = entries.get(key, {})
        total = done.get(key, Counted())
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


def _connections(seen: Iterable[Sample]) -> int | None:
    open_ones = [sample.value for sample in seen if sample.name == families.CONNECTIONS.name]
    return int(sum(open_ones)) if open_ones else None


def _by_name_and_number(key: Key) -> tuple[str, int, str]:
    model, version = key
    return model, int(version) if version.isascii() and version.isdigit() else 0, version
