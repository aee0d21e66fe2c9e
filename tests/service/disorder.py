"""Ways in which the control store is out of order, each for as long as a block lasts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process writes to it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def damaged(path: Path) -> Iterator[None]:
    """Its file holds something else."""
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.write(b"\x5a" * len(whole))
    yield
    with path.open("r+b") as file:
        file.write(whole)


@contextmanager
def gone(path: Path) -> Iterator[None]:
    """Its file is away."""
    path.rename(path.with_suffix(".away"))
    yield
    path.with_suffix(".away").rename(path)
