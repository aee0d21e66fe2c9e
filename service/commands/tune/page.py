"""A search as one HTML file."""

from __future__ import annotations

import html
from collections.abc import Iterator

from service.commands.bench.drawing import svg
from service.commands.bench.markup import document, folded, heading, line, table
from service.commands.tune.chart import charts
from service.commands.tune.report import Report
from service.commands.tune.text import standing


def page(report: Report) -> str:
    """The whole document."""
    return document(f"tureen tune: {report.model}", _parts(report))


def _parts(report: Report) -> Iterator[str]:
    yield heading(report.model)
    yield line(f"{report.load}; {report.machine}; {report.when:%Y-%m-%d %H:%M}", "muted")
    for remark in report.remarks:
        yield line(remark, "bad")
    for number, sentence in enumerate(report.advice):
        yield line(sentence, "rate" if number == 0 else "" if report.outcome.met else "bad")
    yield f"<pre>{html.escape(report.fragment)}</pre>"
    for drawing in charts(report):
        yield svg(drawing)
    if report.outcome.tried:
        yield heading("Settings", 2)
        yield table(standing(report))
    yield folded(report.json())
