"""Options of every command that asks a model: which requests, and where the report goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

REPORT = click.Path(path_type=Path, dir_okay=False, writable=True)


def asking(command: Command) -> Command:
    """Adds ``--rows``, ``--distinct``, ``--data`` and ``--protocol``, in that order."""
    for option in reversed(_ASKING):
        command = option(command)
    return command


_ASKING = (
    click.option("--rows", type=click.IntRange(1, 1_000_000), help="Rows of each request.  [default: 1]"),
    click.option("--distinct", type=click.IntRange(1, 100_000), help="Different requests that are made up.  [default: 64]"),
    click.option(
        "--data", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A file of requests: JSON, one or a line."
    ),
    click.option(
        "--protocol",
        type=click.Choice(["oip", "oip-binary", "tfserving"]),
        default="oip",
        show_default=True,
        help="The Open Inference Protocol, in JSON or with binary tensors, or TensorFlow Serving's :predict.",
    ),
)
