"""What has been spent of quotas, so that it outlives the server: a count each, of the last day on which there was any."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping


def spent(connection: sqlite3.Connection, day: int, most: int) -> dict[str, int]:
    """The counts of a day, the largest first, and so many at most."""
    rows = connection.execute("SELECT name, units FROM spent WHERE day = ? ORDER BY units DESC LIMIT ?", (day, most))
    return dict(rows.fetchall())


def keep_spent(connection: sqlite3.Connection, day: int, counts: Mapping[str, int]) -> None:
    """Writes counts, of which each worker tells the whole: the larger one is the later. What is of other days goes."""
    connection.execute("DELETE FROM spent WHERE day < ?", (day,))
    connection.executemany(
        "INSERT INTO spent (name, day, units) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
        "units = CASE WHEN day = excluded.day THEN max(units, excluded.units) ELSE excluded.units END, day = excluded.day",
        [(name, day, units) for name, units in counts.items()],
    )
