"""Who asked for what, from where, and what became of it. Rows are only ever appended; triggers of the database see to that.

Each line has the SHA-256 over the line before it and its own content, as in Haber and Stornetta's linking (1991): who takes the
triggers away and changes or deletes a line breaks the chain behind it, which ``verify`` tells. Who may write the file can make a
whole new chain, so a number and hash that were noted elsewhere are what the past is held to.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import socket
import sqlite3
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

from service.store.migrations import transaction

#: Characters of a line's words, and of its detail as JSON: callers choose some of them, and nothing is ever deleted.
WORD: Final = 256
DETAIL: Final = 4096
#: What the first line follows.
START: Final = bytes(32)
#: How many things that are wrong are told.
TOLD: Final = 20

_COLUMNS: Final = "number, at, actor, action, target, source, request_id, detail, outcome, hash"


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked for a change, in which request, and from where."""

    actor: str
    request_id: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line; ``at`` is in seconds since the epoch, ``source`` an address or `cli` with a host."""

    actor: str
    action: str
    target: str
    outcome: str
    detail: Mapping[str, object] = field(default_factory=dict)
    at: float = field(default_factory=time.time)
    source: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """An entry as it was written; ``hash`` is empty in lines of releases that made no chain."""

    number: int
    entry: Entry
    hash: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the chain: how many lines there are, the last one's number and hash, and what is wrong, in sentences."""

    lines: int
    number: int
    hash: str
    wrong: tuple[str, ...]


def operator() -> tuple[str, str]:
    """Who gives a command on this machine, as an actor and a source: the user that the system says it is, and the host."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user need not have a name
        user = str(os.getuid())
    return f"user:{user}", f"cli {socket.gethostname()}"


def append(connection: sqlite3.Connection, entry: Entry) -> None:
    """Writes a line, within the connection's transaction or in one of its own."""
    with nullcontext() if connection.in_transaction else transaction(connection):
        before = _last(connection)
        # AUTOINCREMENT keeps the highest number ever given, so that lines cut off at the end leave a gap.
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
        words = (entry.actor, entry.action, entry.target, entry.source, entry.request_id)
        content = (
            (0 if row is None else int(row[0])) + 1,
            float(entry.at),
            *(word[:WORD].encode("utf-8", "replace").decode() for word in words),
            _detail(entry.detail),
            entry.outcome,
        )
        places = ", ".join("?" * (len(content) + 1))
        connection.execute(f"INSERT INTO audit ({_COLUMNS}) VALUES ({places})", (*content, _link(before, content)))


def latest(connection: sqlite3.Connection, limit: int) -> tuple[Entry, ...]:
    """The last lines, the newest first."""
    return tuple(line.entry for line in lines(connection, limit))


def lines(
    connection: sqlite3.Connection,
    limit: int,
    *,
    after: int = 0,
    since: float = 0.0,
    actor: str | None = None,
    action: str | None = None,
) -> list[Line]:
    """The last lines, newest first, of those after a number, since a time, of an actor and an action; `*` stands for anything."""
    wanted = ["number > ?", "at >= ?"]
    values: list[object] = [after, since]
    for column, given in (("actor", actor), ("action", action)):
        if given is not None:
            wanted.append(f"{column} GLOB ?" if "*" in given else f"{column} = ?")
            values.append(given.replace("[", "[[]").replace("?", "[?]") if "*" in given else given)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM audit WHERE {' AND '.join(wanted)} ORDER BY number DESC LIMIT ?", (*values, limit)
    )
    return [_line(row) for row in rows]


def verify(connection: sqlite3.Connection, known: tuple[int, str] | None = None) -> Verdict:
    """Walks the chain from its start; ``known`` is the number and hash of a line as they were once noted."""
    wrong: list[str] = []
    count = number = 0
    link, chained, met = START, False, known is None
    connection.execute("BEGIN")  # lines that come meanwhile are not seen by half
    try:
        for row in connection.execute(f"SELECT {_COLUMNS} FROM audit ORDER BY number"):
            *content, its = row
            if content[0] != number + 1:
                wrong.append(_missing(number + 1, content[0] - 1))
            made = _link(link, tuple(content))
            if its is None and chained:
                wrong.append(f"line {content[0]} was not written by Tureen: it is no part of the chain")
            elif its is not None and its != made and content[0] == number + 1:
                wrong.append(f"line {content[0]}, or one before it, is not as it was written")
            link, chained = (made if its is None else bytes(its)), chained or its is not None
            count, number = count + 1, int(content[0])
            if known is not None and number == known[0]:
                met = link.hex() == known[1].lower()
            del wrong[TOLD:]
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
    finally:
        connection.execute("COMMIT")
    if row is not None and row[0] > number:
        wrong.append(_missing(number + 1, row[0]))
    if known is not None and not met:
        wrong.append(f"line {known[0]} is not the one that was noted: the audit has been replaced or cut")
    return Verdict(count, number, link.hex() if count else "", tuple(wrong[:TOLD]))


def _last(connection: sqlite3.Connection) -> bytes:
    """The hash that the next line follows."""
    row = connection.execute("SELECT hash FROM audit ORDER BY number DESC LIMIT 1").fetchone()
    if row is None:
        return START
    if row[0] is not None:
        return bytes(row[0])
    link = START  # lines of a release that made no chain, which the first of the chain holds from now on; read so once
    for *content, _ in connection.execute(f"SELECT {_COLUMNS} FROM audit ORDER BY number"):
        link = _link(link, tuple(content))
    return link


def _link(before: bytes, content: tuple[Any, ...]) -> bytes:
    return hashlib.sha256(before + json.dumps(content, separators=(",", ":")).encode()).digest()


def _detail(detail: Mapping[str, object]) -> str:
    text = json.dumps(detail)
    if len(text) > DETAIL:
        text = json.dumps({name: _short(value) for name, value in detail.items()})
    return text if len(text) <= DETAIL else json.dumps(_short(detail))


def _short(value: object) -> object:
    """The value; where it is long, what tells whether another one is the same."""
    text = json.dumps(value)
    if len(text) <= WORD:
        return value
    return {"characters": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _line(row: tuple[Any, ...]) -> Line:
    number, at, actor, action, target, source, request_id, detail, outcome, link = row
    entry = Entry(actor, action, target, outcome, json.loads(detail), at, source, request_id)
    return Line(number, entry, "" if link is None else bytes(link).hex())


def _missing(first: int, last: int) -> str:
    return f"line {first} is missing" if first == last else f"lines {first} to {last} are missing"
