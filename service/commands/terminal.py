"""What a terminal shows."""

from __future__ import annotations


def visible(line: str) -> str:
    """The line with what would command the terminal written out: callers, models and servers name things."""
    return line if line.isprintable() else "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
