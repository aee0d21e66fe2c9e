"""A run as one HTML file."""

from __future__ import annotations

from collections.abc import Iterator

from service.commands.bench.charts import charts
from service.commands.bench.drawing import svg
from service.commands.bench.markup import document, folded, heading, line, table
from service.commands.bench.result import Result
from service.commands.bench.text import durations, requests, sorted_by_count


def page(result: Result) -> str:
    """The whole document."""
    return document(f"tureen bench: {_model(result)}", _parts(result))


def _parts(result: Result) -> Iterator[str]:
    asked, record, batches = result.asked, result.record, result.batches
    yield heading(_model(result))
    yield line(f"{asked.url}, {asked.protocol}: {asked.load}, {result.seconds:.1f} s", "muted")
    for remark in result.remarks:
        yield line(remark, "bad")
    yield line(f"{result.rate:,.1f} requests/s, {result.rows_rate:,.1f} rows/s", "rate")
    yield line(requests(result), "bad" if record.failed else "")
    if failures := [(what, f"{count:,}", example) for what, count, example in result.failures]:
        yield table([("failure", "requests", "the first"), *failures])
    if known := durations(result):
        yield heading("Durations", 2)
        yield table(known)
    for drawing in charts(result):
        yield svg(drawing)
    if batches is not None and batches.mean_rows is not None:
        yield line(f"{batches.calls:,} calls of the model, {batches.mean_rows:.2f} rows each on average.")
        if batches.source == "answers":
            yield line("How many had how many rows is estimated by the answers.", "muted")
        if batches.reasons:
            yield table([("closed", "calls"), *((name, f"{count:,}") for name, count in sorted_by_count(batches.reasons))])
    yield folded(result.json())


def _model(result: Result) -> str:
    return f"{result.asked.model} {result.asked.version or ''}".strip()
