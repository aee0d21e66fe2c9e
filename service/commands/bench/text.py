"""What a run came to, on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from service.commands.bench.batches import Batches
from service.commands.bench.result import Result, distribution
from service.commands.table import table

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = "▁▂▃▄▅▆▇█"
_BAR = 40
#: Bins of the plotted latencies, and rows that a plot of batches has at most.
_BINS, _MOST_BARS = 14, 16


def text(result: Result) -> str:
    """Lines for people."""
    return "\n".join(_lines(result))


def _lines(result: Result) -> Iterator[str]:
    asked, record = result.asked, result.record
    version = "" if asked.version is None else f" version {asked.version}"
    yield f"{asked.model}{version} on {asked.url}, {asked.protocol}: {asked.load}, {result.seconds:.1f} s"
    yield from (f"  ! {remark}" for remark in result.remarks)
    yield ""
    yield f"  {result.rate:,.1f} requests/s, {result.rows_rate:,.1f} rows/s"
    yield f"  {requests(result)}"
    for what, count, example in result.failures:
        yield f"    {count:,} {what}" + (f": {example}" if example else "")
    if record.cache:
        yield "  cache: " + ", ".join(f"{count:,} {what}" for what, count in record.cache.most_common())
    if len(record.versions) > 1:
        yield "  versions: " + ", ".join(f"{count:,} by {version}" for version, count in record.versions.most_common())
    if not record.ok:
        return
    yield ""
    yield from table(durations(result), range(1, 9))
    yield ""
    yield from _latencies(result)
    yield ""
    yield from _over_time(result)
    yield ""
    yield from _batches(result.batches)


def requests(result: Result) -> str:
    """How many there were, and what became of them."""
    unsent = f", {result.unsent:,} never sent" if result.unsent else ""
    return f"{result.due:,} requests: {result.record.ok:,} answered, {result.record.failed:,} failed{unsent}"


def durations(result: Result) -> list[Sequence[str]]:
    """A table in milliseconds: its head, and a row for each kind of duration that is known."""
    record = result.record
    kinds = [("latency", record.latency), ("queue", record.queue), ("infer", record.infer)]
    if result.asked.rate is not None:
        kinds.insert(1, ("sent late", record.late))
    rows = [(name, distribution(kind)) for name, kind in kinds if kind.count]
    return [("ms", *rows[0][1]), *((name, *map(number, found.values())) for name, found in rows)] if rows else []


def bars(values: Sequence[float], width: int = _BAR) -> list[str]:
    """A bar for each value, the greatest as long as ``width``."""
    most = max(values, default=0)
    return [_bar(value / most * width if most else 0) for value in values]


def spark(values: Sequence[float]) -> str:
    """A row of blocks, the greatest value the highest, from 0 on."""
    most = max(values, default=0)
    return "".join(_LEVELS[round(value / most * 7) if most else 0] for value in values)


def coarse(by_rows: Mapping[int, int], most: int = _MOST_BARS) -> list[tuple[int, int, int]]:
    """From, to and how many calls: as they are where they are few, else in ranges of equal width."""
    if len(by_rows) <= most:
        return [(rows, rows, calls) for rows, calls in sorted(by_rows.items())]
    low, high = min(by_rows), max(by_rows)
    width = -(-(high - low + 1) // most)
    starts = range(low, high + 1, width)
    return [
        (start, min(start + width - 1, high), sum(by_rows.get(rows, 0) for rows in range(start, start + width))) for start in starts
    ]


def _latencies(result: Result) -> Iterator[str]:
    bins = result.record.latency.bins(_BINS)
    yield "  latency, requests"
    for (low, _, count), bar in zip(bins, bars([count for _, _, count in bins]), strict=True):
        yield f"  {number(1e3 * low):>9} ms  {count:>9,}  {bar}".rstrip()


def _over_time(result: Result) -> Iterator[str]:
    slots = list(result.slots)
    width = result.record.width
    rates = [ok / width for _, ok, _, _ in slots]
    slow = [1e3 * (latency.percentile(99) or 0) for _, _, _, latency in slots]
    failed = [failed for _, _, failed, _ in slots]
    yield f"  over time, {width:.2g} s a column"
    yield f"  requests/s  {spark(rates)}  {min(rates):,.0f} to {max(rates):,.0f}"
    yield f"  p99         {spark(slow)}  {number(min(filter(None, slow), default=None))} to {number(max(slow))} ms"
    if any(failed):
        yield f"  failed      {spark(failed)}  at most {max(failed) / width:,.0f}/s"


def _batches(batches: Batches | None) -> Iterator[str]:
    if batches is None or batches.mean_rows is None:
        yield "  batches: the server tells of none"
        return
    about = "" if batches.source == "statistics" else "; how many had how many rows is estimated by the answers"
    yield f"  batches: {batches.calls:,} calls, {batches.mean_rows:.2f} rows each on average{about}"
    if batches.reasons:
        total = sum(batches.reasons.values())
        yield "  closed: " + ", ".join(f"{name} {count / total:.0%}" for name, count in sorted_by_count(batches.reasons))
    ranges = coarse(batches.by_rows)
    rows = [("rows", "calls", "")]
    drawn = bars([calls for _, _, calls in ranges])
    rows += [
        (str(low) if low == high else f"{low}–{high}", f"{calls:,}", bar)
        for (low, high, calls), bar in zip(ranges, drawn, strict=True)
    ]
    yield from table(rows, (0, 1))


def sorted_by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The most frequent first."""
    return sorted(counts.items(), key=lambda item: -item[1])


def _bar(length: float) -> str:
    eighths = round(length * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def number(value: float | None) -> str:
    """Milliseconds, in three digits or more."""
    if value is None:
        return "-"
    return (
        f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
    )
