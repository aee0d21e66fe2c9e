"""The state directory of a server of this machine, as commands beside it find it; the server may run or not."""

from __future__ import annotations

import os
import pwd
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def stop(error: Exception) -> Any:
    """Ends the command with what is wrong."""
    click.echo(f"tureen: {in_lines(error)}", err=True)
    sys.exit(UNUSABLE)


def actor() -> str:
    """Who gives the command, for the audit: the user of this machine."""
    try:
        return f"user:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:  # as in a container, where nobody gave the number a name
        return f"user:{os.getuid()}"


def source() -> str:
    """From where, for the audit."""
    return f"cli {socket.gethostname()}"


def _configured(file: Path | None) -> Path:
    from service.config import Config

    given = file if file is not None else CONFIG if CONFIG.is_file() else None
    state_dir = Config.resolve(given, os.environ, {}).store.state_dir
    if state_dir is None:
        raise ConfigError(
            "there is no state directory to work on; give it by --state-dir, or write into tureen.toml, for the server too: "
            '[store] state_dir = "/var/lib/tureen"'
        )
    return state_dir
