"""`tureen status`: what a running server has loaded and how it does."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from service.commands.client import DEFAULT_URL, Client, Refused, Unreachable
from service.commands.credential import credential, key_file, shown
from service.commands.look import Look, look
from service.commands.standing import report, text
from service.commands.terminal import echo

#: Nothing answers, or nothing that is a server of models.
UNREACHABLE = 2
_CLEAR = "\x1b[H\x1b[2J"


@click.command()
@click.option("--url", default=DEFAULT_URL, show_default=True, help="Where the server listens.")
@key_file
@click.option("--json", "as_json", is_flag=True, help="One JSON object a look, on one line.")
@click.option(
    "--watch",
    type=click.FloatRange(min=0.1),
    is_flag=False,
    flag_value=2.0,
    metavar="[SECONDS]",
    help="Look again and again, each 2 s by default, until interrupted.",
)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=5.0, show_default=True, help="Seconds for an answer."
)
def status(url: str, key_file: Path | None, as_json: bool, watch: float | None, timeout: float) -> None:
    """Show what a running server has loaded, and how it does.

    Exits 0 when the server is ready, 1 when it answers and is not ready, 2 when no server answers, or none that takes the key.
    A key of the scopes infer and metrics sees everything; one of them alone shows the rest.
    """
    try:
        client = Client(url, timeout, shown(credential(key_file), url))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    before: Look | None = None
    code = UNREACHABLE
    with client:
        try:
            while True:
                before, code = _show(client, before, as_json, watch is not None)
                if watch is None:
                    break
                time.sleep(watch)
        except KeyboardInterrupt:
            pass
    sys.exit(code)


def _show(client: Client, before: Look | None, as_json: bool, again: bool) -> tuple[Look | None, int]:
    """One look, told; what was seen, for the next one to compare with, and the exit code."""
    clear = again and not as_json and sys.stdout.isatty()
    try:
        seen = look(client, None if before is None else before.platforms)
    except (Unreachable, Refused) as error:
        click.echo(_CLEAR if clear else "", nl=False, err=True)
        echo(f"tureen: {error}", err=True)
        return None, UNREACHABLE
    told = report(client.url, seen, before)
    if as_json:
        click.echo(json.dumps(told.json()))
    else:
        click.echo(_CLEAR if clear else "", nl=False)
        echo(text(told) + ("\n" if again and not clear else ""))
    return seen, told.exit_code
