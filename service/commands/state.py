"""The state directory of a server of this machine, as commands beside it find it; the server may run or not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from service.errors import ConfigError, in_lines

CONFIG = Path("tureen.toml")
#: The configuration is wrong, or the state cannot be used.
UNUSABLE = 2


def state_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--state-dir` and `--config`, which ``state_of`` takes as ``state_dir`` and ``file``."""
    of_config = click.option(
        "--config", "file", type=click.Path(path_type=Path), help="Configuration file.  [default: tureen.toml, if there]"
    )
    of_state = click.option(
        "--state-dir",
        type=click.Path(path_type=Path),
        help="Its state directory.  [default: [store] state_dir of the configuration]",
    )
    return of_state(of_config(command))


def state_of(state_dir: Path | None, file: Path | None, *, make: bool = False) -> Path:
    """The directory. ``make``: for its owner alone, if it is not there. Ends the command with a sentence where there is none."""
    try:
        wanted = state_dir or _configured(file)
        if make:
            wanted.mkdir(0o700, parents=True, exist_ok=True)
        elif not wanted.is_dir():
            raise ConfigError(f"there is no state directory {str(wanted)!r}; check the path")
    except ConfigError as error:
        stop(error)
    except OSError as error:
        stop(ConfigError(f"the state directory cannot be used: {error.strerror}; give one that you may write to"))
    return wanted


def stop(error: Exception) -> NoReturn:
    """Ends the command with what is wrong."""
    click.echo(f"tureen: {in_lines(error)}", err=True)
    sys.exit(UNUSABLE)


def _configured(file: Path | None) -> Path:
    from service.config import Config

    given = file if file is not None else CONFIG if CONFIG.is_file() else None
    state_dir = Config.resolve(given, os.environ, {"insecure": True}).store.state_dir  # whether it may serve is not asked here
    if state_dir is None:
        raise ConfigError(
            "there is no state directory to work on; give it by --state-dir, or write into tureen.toml, for the server too: "
            '[store] state_dir = "/var/lib/tureen"'
        )
    return state_dir
