"""Who asked for what, and what became of it. Rows are only ever appended; triggers of the database hold everybody to that."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked for a change, and in which request."""

    actor: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line; ``at`` is in seconds since the epoch."""

    actor: str
    action: str
    target: str
    outcome: str
    detail: Mapping[str, object] = field(default_factory=dict)
    at: float = field(default_factory=time.time)


def append(connection: sqlite3.Connection, entry: Entry) -> None:
    """Writes a line."""
    connection.execute(
        "INSERT INTO audit (at, actor, action, target, detail, outcome) VALUES (?, ?, ?, ?, ?, ?)",
        (entry.at, entry.actor, entry.action, entry.target, json.dumps(entry.detail), entry.outcome),
    )


def latest(connection: sqlite3.Connection, limit: int) -> tuple[Entry, ...]:
    """The last lines, the newest first."""
    rows = connection.execute("SELECT actor, action, target, outcome, detail, at FROM audit ORDER BY number DESC LIMIT ?", (limit,))
    return tuple(
        Entry(actor, action, target, outcome, json.loads(detail), at) for actor, action, target, outcome, detail, at in rows
    )
