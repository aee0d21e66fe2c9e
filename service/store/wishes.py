"""What is wanted of the models: a wish each, by generation.

A wish is *settled* once every worker that could has brought it about; before that it is one on trial, and is withdrawn where no
worker can. A worker that starts begins from the settled ones, and then tries the others as its neighbours have.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from enum import StrEnum

from models.live import Change, laid, read, write


class Wanted(StrEnum):
    """What a model should be."""

    LOADED = "loaded"
    UNLOADED = "unloaded"
    CONFIGURED = "configured"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of one model from one generation on. ``config``, as JSON: what a load overrides of its `model.toml`; of a wish
    to have it configured, all that is changed of it. Whether a model is loaded and how it is configured are two things: a wish for
    the one never takes the place of one for the other."""

    generation: int
    model: str
    wanted: Wanted
    config: str | None = None
    settled: bool = False


def generation(connection: sqlite3.Connection) -> int:
    """The number of the latest change."""
    return int(connection.execute("SELECT number FROM generation").fetchone()[0])


def wishes(connection: sqlite3.Connection) -> tuple[Wish, ...]:
    """All wishes, by generation."""
    rows = connection.execute("SELECT generation, model, wanted, config, settled FROM wanted ORDER BY generation")
    return tuple(Wish(number, model, Wanted(wanted), config, bool(settled)) for number, model, wanted, config, settled in rows)


def wish(connection: sqlite3.Connection, model: str, wanted: Wanted, config: str | None) -> Wish:
    """Writes a wish on trial, with a generation of its own."""
    (number,) = connection.execute("UPDATE generation SET number = number + 1 RETURNING number").fetchone()
    connection.execute(
        "INSERT INTO wanted (generation, model, wanted, config, changed_at) VALUES (?, ?, ?, ?, ?)",
        (number, model, wanted.value, config, time.time()),
    )
    return Wish(number, model, wanted, config)


def change(connection: sqlite3.Connection, model: str, change: Change) -> Wish:
    """Writes the wish for what is changed of a model after a change, on trial; two changes at once are one after the other."""
    row = connection.execute(
        "SELECT config FROM wanted WHERE model = ? AND wanted = ? ORDER BY generation DESC LIMIT 1",
        (model, Wanted.CONFIGURED.value),
    ).fetchone()
    return wish(connection, model, Wanted.CONFIGURED, write(laid(read(None if row is None else row[0]), change)))


def settle(connection: sqlite3.Connection, done: Wish) -> None:
    """The wish stays; those before it for the same thing of the same model do not."""
    connection.execute(
        "DELETE FROM wanted WHERE model = ? AND generation < ? AND (wanted = ?) = ?",
        (done.model, done.generation, Wanted.CONFIGURED.value, done.wanted is Wanted.CONFIGURED),
    )
    connection.execute("UPDATE wanted SET settled = 1 WHERE generation = ?", (done.generation,))


def withdraw(connection: sqlite3.Connection, failed: Wish) -> None:
    """The wish goes; what was wanted before it is wanted again."""
    connection.execute("DELETE FROM wanted WHERE generation = ?", (failed.generation,))
