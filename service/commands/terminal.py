"""What a terminal is told: callers, models and servers name things, and it obeys control characters."""

from __future__ import annotations

import click


def visible(line: str) -> str:
    """The line with what would command the terminal written out."""
    return line if line.isprintable() else "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


def echo(text: str, *, err: bool = False) -> None:
    """Tells lines that a server had a part in."""
    click.echo("\n".join(map(visible, text.split("\n"))), err=err)
