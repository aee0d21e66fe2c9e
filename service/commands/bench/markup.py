"""Pages that need no other file and no network."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence

from service.commands.bench import charts

#: What takes the place of a chart's colours where a reader's pages are dark.
DARK = {
    charts.INK: "#e6e6e6",
    charts.GRID: "#3a3a3a",
    charts.MUTED: "#a0a0a0",
    charts.BLUE: "#6aa5e8",
    charts.ORANGE: "#f0a84a",
    charts.RED: "#f0786a",
    charts.TEAL: "#5cc2b6",
}
_STYLE = (
    """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 800px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: 0; } h2 { font-size: 1.05rem; margin-top: 2rem; }
.rate { font-size: 1.3rem; } .bad { color: #a02a1e; font-weight: 600; } .muted { color: #666; }
table { border-collapse: collapse; } th, td { text-align: right; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #e4e4e4; }
th:first-child, td:first-child { text-align: left; } td { font-variant-numeric: tabular-nums; }
svg { display: block; max-width: 100%; height: auto; margin: 1rem 0; } pre { overflow: auto; background: #f6f6f6; padding: 1rem; }
:root { color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
body { background: #161616; color: #e6e6e6; } .bad { color: #f0786a; } .muted { color: #a0a0a0; }
th, td { border-bottom-color: #3a3a3a; } pre { background: #222; }
"""
    + "".join(
        f'svg [fill="{light}"] {{ fill: {dark}; }} svg [stroke="{light}"] {{ stroke: {dark}; }}\n' for light, dark in DARK.items()
    )
    + "}\n"
)


def document(title: str, parts: Iterable[str]) -> str:
    """The whole page; ``title`` is text, the parts are HTML."""
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return "\n".join(["<!doctype html>", f'<html lang="en"><head>{head}</head><body>', *parts, "</body></html>"]) + "\n"


def heading(text: str, level: int = 1) -> str:
    """A heading."""
    return f"<h{level}>{html.escape(text)}</h{level}>"


def line(text: str, kind: str = "") -> str:
    """A paragraph; ``kind``: `rate`, `bad`, `muted` or nothing."""
    return f'<p class="{kind}">{html.escape(text)}</p>'


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table, whose head is the first row."""
    head, *body = [[html.escape(cell) for cell in row] for row in rows]
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body]
    return "<table>" + "".join(lines) + "</table>"


def folded(content: object) -> str:
    """The report for programs, to be unfolded."""
    return f"<details><summary>JSON</summary><pre>{html.escape(json.dumps(content, indent=2))}</pre></details>"
