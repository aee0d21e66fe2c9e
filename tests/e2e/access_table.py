"""The table of routes and credentials in docs/security.md, as tests read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quart import Quart

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"
HEADING = "## Routes and scopes"
#: What the table's columns are about, in their order.
CREDENTIALS = ("none", "wrong", "infer", "other", "metrics", "admin")
PASS = "pass"
ELSEWHERE, OWN = "any other path or method", "a route or mounted app of yours, WebSockets too"

_CODE = re.compile(r"`([A-Z]+) ([^`]+)`")
_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")
_LETTERS = {"name": "M", "version": "V", "label": "L", "asset": "FILE", "job": "J"}


@dataclass(frozen=True, slots=True)
class Row:
    """A route, and what becomes of each credential: a status, or that it passes."""

    method: str
    path: str
    outcomes: Mapping[str, str]


def section() -> str:
    """That part of the document."""
    return DOCUMENT.read_text().split(HEADING)[1].split("\n## ")[0]


def rows() -> list[Row]:
    """Every route of the table."""
    return [Row(method, path, outcomes) for first, outcomes in _lines() for method, path in _CODE.findall(first)]


def outcomes_of(words: str) -> Mapping[str, str]:
    """The row that names no route."""
    return next(outcomes for first, outcomes in _lines() if first == words)


def routes_of(app: Quart) -> set[tuple[str, str]]:
    """The app's own, as the table writes them."""
    return {
        (method, _VARIABLE.sub(lambda found: _LETTERS[found[1]], rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def _lines() -> list[tuple[str, Mapping[str, str]]]:
    lines = [line.strip("| ").split(" | ") for line in section().splitlines() if line.startswith("| ")]
    return [(first, dict(zip(CREDENTIALS, cells, strict=True))) for first, *cells in lines[1:]]
