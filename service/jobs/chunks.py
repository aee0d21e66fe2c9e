"""Rows and results as the ledger stores them: some at a time, as compressed lines."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from typing import Final, Literal

#: A chunk closes before it grows over this (bytes of text), unless one line alone does.
CHUNK_BYTES: Final = 512 * 1024
#: The quickest: rows of JSON shrink to a third by it, and more takes longer than the disk does.
_LEVEL: Final = 1

Table = Literal["rows", "results"]


def cut(lines: Sequence[bytes], most: int) -> Iterator[Sequence[bytes]]:
    """The lines in chunks of at most ``most``, and of about CHUNK_BYTES."""
    start = size = 0
    for index, line in enumerate(lines):
        if index > start and (index - start >= most or size + len(line) > CHUNK_BYTES):
            yield lines[start:index]
            start, size = index, 0
        size += len(line)
    if start < len(lines):
        yield lines[start:]


def pack(lines: Sequence[bytes]) -> bytes:
    """At least one line of JSON as a chunk."""
    text = b"\n".join(lines)
    if text.count(b"\n") != len(lines) - 1:  # in JSON a line feed is never more than a blank
        text = b"\n".join([line.replace(b"\n", b" ") for line in lines])
    return zlib.compress(text, _LEVEL)


def unpack(chunk: bytes) -> list[bytes]:
    """The lines of a chunk."""
    return zlib.decompress(chunk).split(b"\n")


def read(connection: sqlite3.Connection, table: Table, number: int, start: int, limit: int) -> list[bytes]:
    """At most ``limit`` lines of a job from line ``start`` on, all of one chunk; none where there is no such line."""
    found = connection.execute(
        f"SELECT first, body FROM {table} WHERE job = ? AND first <= ? ORDER BY first DESC LIMIT 1", (number, start)
    ).fetchone()
    if found is None:
        return []
    first, body = found
    return unpack(body)[start - first : start - first + limit]


def write(connection: sqlite3.Connection, table: Table, number: int, first: int, lines: Sequence[bytes], most: int) -> int:
    """Stores a job's lines from line ``first`` on; the bytes that it took."""
    took = 0
    for chunk in cut(lines, most):
        body = pack(chunk)
        connection.execute(f"INSERT INTO {table} VALUES (?, ?, ?)", (number, first, body))
        first += len(chunk)
        took += len(body)
    return took


def drop(connection: sqlite3.Connection, table: Table, number: int, most: int, before: int | None = None) -> tuple[int, int]:
    """Removes at most ``most`` of a job's chunks, of those that begin ``before`` a line the first; how many, and their bytes."""
    sizes = [
        size
        for (size,) in connection.execute(
            f"DELETE FROM {table} WHERE rowid IN "
            f"(SELECT rowid FROM {table} WHERE job = ? AND first < ? ORDER BY first LIMIT ?) RETURNING length(body)",
            (number, 2**62 if before is None else before, most),
        )
    ]
    return len(sizes), sum(sizes)
