"""`tureen audit`: who changed what, when and from where, as the state directory has it, whether or not a server runs."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.commands.duration import seconds
from service.commands.state import state_of, state_options, stop
from service.commands.table import table
from service.commands.terminal import visible
from service.errors import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from service.store.audit import Line

WRONG = 1
#: How often a command that follows looks, and how much it reads at once.
LOOK_S = 0.5
AT_ONCE = 1000

#: How much of a configuration's SHA-256 is shown: enough to see whether two are the same.
DIGEST = 12

_DIGEST = re.compile(r"[0-9a-f]{64}")
_WITNESS = re.compile(r"(\d{1,15}):([0-9a-fA-F]{64})")


def since(text: str, now: float) -> float:
    """Seconds since the epoch of `24h`, `7d`, `2026-11-22`, `2026-11-22T14:30:00+01:00`; UTC without a zone. Raises ValueError."""
    with suppress(ValueError):
        return now - seconds(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text[:60]!r} is no time; write how long ago, as in 30m, 24h or 7d, or a date, as in 2026-11-22"
        ) from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def noted(text: str) -> tuple[int, str]:
    """A line's number and hash, as `--verify` has written them. Raises ValueError."""
    match = _WITNESS.fullmatch(text)
    if match is None:
        raise ValueError("write a line's number and hash with a colon between them, as --verify does")
    return int(match[1]), match[2]


def as_dict(line: Line) -> dict[str, object]:
    """A line as JSON has it."""
    entry = line.entry
    return {
        "number": line.number,
        "at": _time(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "outcome": entry.outcome,
        "source": entry.source,
        "request_id": entry.request_id,
        "detail": entry.detail,
        "hash": line.hash,
    }


def text(lines: Iterable[Line], *, head: bool = True) -> list[str]:
    """Lines for people, aligned; the first says what is what."""
    rows: list[Sequence[str]] = [("time", "actor", "action", "target", "outcome", "from", "request", "detail")] if head else []
    for line in lines:
        entry = line.entry
        detail = ", ".join(_detail(name, value) for name, value in entry.detail.items())
        row = (_time(entry.at), entry.actor, entry.action, entry.target, entry.outcome, entry.source, entry.request_id, detail)
        rows.append([visible(cell) or "-" for cell in row])
    return table(rows) if rows else []


@click.command()
@state_options
@click.option("--since", "start", metavar="TIME", help="Only from then on: 30m, 24h, 7d ago, or a date.")
@click.option("--actor", help="Only what this one did; * stands for anything, as in 'key:*'.")
@click.option("--action", help="Only this; * stands for anything, as in 'key*'.")
@click.option("-n", "number", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="At most so many, the newest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@click.option("--verify", is_flag=True, help="Say whether any line was changed, deleted or put in; exits 1 if so.")
@click.option("--noted", "known", metavar="NUMBER:HASH", help="With --verify: hold the past to a line that was noted elsewhere.")
def audit(
    file: Path | None,
    state_dir: Path | None,
    start: str | None,
    actor: str | None,
    action: str | None,
    number: int,
    as_json: bool,
    follow: bool,
    verify: bool,
    known: str | None,
) -> None:
    """Show who changed what, when and from where: loads, unloads, keys, starts, stops, reloads, and what was refused.

    Exits 2 when there is no audit to read.
    """
    from service.store.audit import lines
    from service.store.connection import opened

    try:
        first = 0.0 if start is None else since(start, time.time())
        witness = None if known is None else noted(known)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if witness is not None and not verify:
        raise click.UsageError("--noted goes with --verify")
    try:
        path = _readable(state_of(state_dir, file))
        if verify:
            _verify(path, witness, as_json)
            return
        after, head = 0, not as_json
        with opened(path, "ro") as connection:
            while True:
                found = lines(connection, number if not after else AT_ONCE, after=after, since=first, actor=actor, action=action)
                found.reverse()
                for shown in map(json.dumps, map(as_dict, found)) if as_json else text(found, head=head):
                    click.echo(shown)
                if not follow:
                    return
                head = head and not found
                after = found[-1].number if found else after
                time.sleep(LOOK_S)
    except KeyboardInterrupt:
        return
    except (ConfigError, StoreUnavailable) as error:
        stop(error)


def _verify(path: Path, known: tuple[int, str] | None, as_json: bool) -> None:
    from service.store.audit import verify
    from service.store.connection import opened

    with opened(path, "ro") as connection:
        verdict = verify(connection, known)
    if as_json:
        told = {"lines": verdict.lines, "number": verdict.number, "hash": verdict.hash, "wrong": verdict.wrong}
        click.echo(json.dumps(told))
    elif verdict.wrong:
        for wrong in verdict.wrong:
            click.echo(f"  WRONG  {wrong}")
    else:
        click.echo(f"  {verdict.lines} lines, each as it was written")
        if verdict.lines:
            click.echo(f"  The last is {verdict.number}:{verdict.hash}; note it elsewhere, and hold the past to it with --noted")
    if verdict.wrong:
        sys.exit(WRONG)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _detail(name: str, value: object) -> str:
    if name == "config" and isinstance(value, str) and _DIGEST.fullmatch(value):
        return f"{name}={value[:DIGEST]}…"
    if name == "changed" and isinstance(value, dict) and all(isinstance(pair, list) and len(pair) == 2 for pair in value.values()):
        return f"{name}: {', '.join(_change(key, *pair) for key, pair in value.items()) or 'nothing'}"
    return f"{name}={json.dumps(value, ensure_ascii=False)}"  # quoted, so that what a caller wrote does not look like a field


def _change(key: str, was: object, now: object) -> str:
    """A key of the configuration; both values are the mark of what is not told where it is a path or an address."""
    return key if was == now else f"{key} {_value(was)} -> {_value(now)}"


def _value(value: object) -> str:
    return value if isinstance(value, str) else "unset" if value is None else json.dumps(value)


def _readable(state: Path) -> Path:
    """The control store's file. Raises ConfigError where it is of another release, StoreUnavailable."""
    from service.store.connection import opened
    from service.store.control import FILE
    from service.store.migrations import MIGRATIONS, version

    path = state / FILE
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; a server with that state directory makes it, and `tureen keys create` does")
    with opened(path, "ro") as connection:
        has, known = version(connection), len(MIGRATIONS)
    if has != known:
        whose = "a newer Tureen; run that one" if has > known else "an older Tureen; start the server once with this one"
        raise ConfigError(f"{path} is of {whose} (its schema is version {has}, and this Tureen's is {known})")
    return path
