"""The report: one HTML file that needs no other and no network, with a section for each scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from loadtests.outcome import Kind, Outcome
from loadtests.verdict import Check
from service.commands.bench.charts import BLUE, HEIGHT, WIDTH, Panel, charts
from service.commands.bench.drawing import Box, Drawing, svg
from service.commands.bench.histogram import Histogram
from service.commands.bench.markup import document, folded, heading, line, table
from service.commands.bench.text import durations

BINS = 40


def page(outcomes: Sequence[Outcome], further: Sequence[Check] = ()) -> str:
    """The whole document. ``further``: checks that take more than one of the runs."""
    return document("Tureen under load", _parts(outcomes, further))


def histogram(latency: Histogram) -> Drawing | None:
    """How many requests took how long; None where there were none."""
    bins = [(1e3 * low, 1e3 * high, count) for low, high, count in latency.bins(BINS)]
    if not bins:
        return None
    panel = Panel("Requests by latency", "milliseconds, each bar wider by one factor", len(bins), max(n for *_, n in bins) * 1.12)
    shapes = panel.frame([(n, f"{bins[n][0]:.3g}") for n in range(0, len(bins), 5)])
    for n, (low, high, count) in enumerate(bins):
        left, top = panel.point(n + 0.1, count)
        right, bottom = panel.point(n + 0.9, 0)
        shapes.append(Box((left, top), right - left, bottom - top, BLUE, f"{low:.3g} to {high:.3g} ms: {count:,} requests"))
    return Drawing(WIDTH, HEIGHT, shapes)


def _parts(outcomes: Sequence[Outcome], further: Sequence[Check]) -> Iterator[str]:
    yield heading("Tureen under load")
    verdicts = [(_title(outcome), *_passed(outcome.checks)) for outcome in outcomes]
    yield table([("scenario", "passed", "missed"), *verdicts])
    if further:
        yield heading("With the cache, and without", 2)
        yield _checks(further)
    for outcome in outcomes:
        yield from _section(outcome)


def _section(outcome: Outcome) -> Iterator[str]:
    result = outcome.result
    yield heading(_title(outcome), 2)
    yield line(f"{result.asked.load}, {result.seconds:.1f} s", "muted")
    for remark in result.remarks:
        yield line(remark, "bad")
    yield _checks(outcome.checks)
    yield table(_kinds(outcome.kinds))
    if failures := [(what, f"{count:,}", example) for what, count, example in result.failures]:
        yield table([("failure", "requests", "the first"), *failures])
    if known := durations(result):
        yield table(known)
    for drawing in (*charts(result), histogram(result.record.latency)):
        if drawing is not None:
            yield svg(drawing)
    if outcome.told.batches:
        yield table(
            [
                ("model", "calls", "rows", "rows a call"),
                *(
                    (model, f"{each.calls:,}", f"{each.rows:,}", f"{each.mean_rows or 0:.2f}")
                    for model, each in outcome.told.batches.items()
                ),
            ]
        )
    if outcome.told.cpu_s is not None and outcome.cpu_us is not None:
        share = outcome.told.cpu_s / result.seconds if result.seconds else 0.0
        yield line(
            f"CPU time of the server: {outcome.told.cpu_s:.2f} s, {share:.0%} of a core, {outcome.cpu_us:,.0f} us a request."
        )
    if cache := outcome.told.cache:
        yield line("Cache: " + ", ".join(f"{count:,} {what}" for what, count in sorted(cache.items())) + ".")
    yield folded(result.json())


def _title(outcome: Outcome) -> str:
    return f"{outcome.scenario}, {outcome.server}" if outcome.server else outcome.scenario


def _passed(checks: Sequence[Check]) -> tuple[str, str]:
    missed = [check.name for check in checks if not check.passed]
    return f"{len(checks) - len(missed)} of {len(checks)}", ", ".join(missed) or "none"


def _checks(checks: Sequence[Check]) -> str:
    rows = [(check.name, check.wanted, check.measured, "passed" if check.passed else "FAILED") for check in checks]
    return table([("", "wanted", "measured", ""), *rows])


def _kinds(kinds: Mapping[str, Kind]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("requests", "answered", "failed", "p50 ms", "p99 ms", "max ms")]
    for name, kind in sorted(kinds.items()):
        found = kind.latency.percentiles((50, 99, 100)) or [0.0, 0.0, 0.0]
        rows.append((name, f"{kind.latency.count:,}", f"{kind.failed:,}", *(f"{1e3 * each:,.2f}" for each in found)))
    return rows
