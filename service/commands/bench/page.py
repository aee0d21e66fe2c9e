"""A run as one HTML file, which needs no other and no network."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence

from service.commands.bench.charts import charts
from service.commands.bench.drawing import svg
from service.commands.bench.result import Result
from service.commands.bench.text import durations, requests, sorted_by_count

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 800px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: 0; } h2 { font-size: 1.05rem; margin-top: 2rem; }
.rate { font-size: 1.3rem; } .bad { color: #a02a1e; font-weight: 600; } .muted { color: #666; }
table { border-collapse: collapse; } th, td { text-align: right; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #e4e4e4; }
th:first-child, td:first-child { text-align: left; } td { font-variant-numeric: tabular-nums; }
svg { display: block; max-width: 100%; height: auto; margin: 1rem 0; } pre { overflow: auto; background: #f6f6f6; padding: 1rem; }
"""


def page(result: Result) -> str:
    """The whole document."""
    return "\n".join(_parts(result)) + "\n"


def _parts(result: Result) -> Iterator[str]:
    asked, record, batches = result.asked, result.record, result.batches
    title = html.escape(f"{asked.model} {asked.version or ''}".strip())
    yield "<!doctype html>"
    yield f'<html lang="en"><head><meta charset="utf-8"><title>tureen bench: {title}</title><style>{_STYLE}</style></head><body>'
    yield f"<h1>{title}</h1>"
    yield _line(f"{asked.url}, {asked.protocol}: {asked.load}, {result.seconds:.1f} s", "muted")
    for remark in result.remarks:
        yield _line(remark, "bad")
    yield _line(f"{result.rate:,.1f} requests/s, {result.rows_rate:,.1f} rows/s", "rate")
    yield _line(requests(result), "bad" if record.failed else "")
    if failures := [(what, f"{count:,}", example) for what, count, example in result.failures]:
        yield _table([("failure", "requests", "the first"), *failures])
    if known := durations(result):
        yield "<h2>Durations</h2>"
        yield _table(known)
    for drawing in charts(result):
        yield svg(drawing)
    if batches is not None and batches.mean_rows is not None:
        yield _line(f"{batches.calls:,} calls of the model, {batches.mean_rows:.2f} rows each on average.", "")
        if batches.source == "answers":
            yield _line("How many had how many rows is estimated by the answers.", "muted")
        if batches.reasons:
            yield _table([("closed", "calls"), *((name, f"{count:,}") for name, count in sorted_by_count(batches.reasons))])
    yield f"<details><summary>JSON</summary><pre>{html.escape(json.dumps(result.json(), indent=2))}</pre></details>"
    yield "</body></html>"


def _line(text: str, kind: str) -> str:
    return f'<p class="{kind}">{html.escape(text)}</p>'


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = [[html.escape(cell) for cell in row] for row in rows]
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body]
    return "<table>" + "".join(lines) + "</table>"
