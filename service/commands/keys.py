"""`tureen keys`: makes, lists, rotates and revokes API keys in a server's state directory, whether it runs or not.

A key goes to standard output, alone and once; all else that there is to say goes to standard error.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from models.manifest import bursts_without_a_rate
from models.repository import valid_name
from service.commands.duration import seconds
from service.commands.state import state_of, state_options, stop
from service.commands.table import table
from service.errors import ConfigError, StoreUnavailable
from service.guard.credentials.key import Key, digest, identified, mint
from service.guard.principal import Budget, Scope
from service.store import ControlStore, Entry, KeyRefused, operator, prepare

REFUSED = 1
#: A name's characters.
NAME = 64


@click.group()
def keys() -> None:
    """Make, list, rotate and revoke the API keys of a server on this machine, running or not.

    Exits 1 when a key is refused, 2 when the state directory cannot be used.
    """


def _name(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not 0 < len(value) <= NAME or not value.isprintable() or value != value.strip():
        raise click.BadParameter(f"a key's name is 1 to {NAME} printable characters, as in ci or 'shop, staging'")
    return value


def _models(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not valid_name(value):
            raise click.BadParameter("a model's name has 1 to 128 letters, digits, '.', '_' or '-', and no dot first")
    return values


def _key_id(context: click.Context, parameter: click.Parameter, value: str) -> str:
    found = identified(value)
    if found is None:  # what was given is not shown: it may be a key with a letter too many
        raise click.BadParameter("a key's ID is ten letters and digits, the part after tur_; `tureen keys list` has them")
    return found


def _time_given(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _budget_options(command: Callable[..., Any]) -> Callable[..., Any]:
    rate, count = click.FloatRange(min=0, min_open=True), click.IntRange(min=1)
    for name, kind, text in reversed(
        (
            ("requests-per-s", rate, "Requests a second, on the whole."),
            ("requests-burst", count, "Requests at once; the rate has to be given too.  [default: a second's worth]"),
            ("rows-per-s", rate, "Rows a second, on the whole."),
            ("rows-burst", count, "Rows at once; the rate has to be given too.  [default: a second's worth]"),
            ("requests-per-day", count, "Requests a day of UTC."),
            ("rows-per-day", count, "Rows a day of UTC."),
        )
    ):
        command = click.option(f"--{name}", type=kind, help=text)(command)
    return command


@keys.command()
@click.argument("name", callback=_name)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    default=[Scope.INFER.value],
    show_default=True,
    help="What it is for; may be given several times. admin includes the others.",
)
@click.option("--model", "models", multiple=True, callback=_models, help="A model that it is for; several times.  [default: all]")
@click.option("--expires", metavar="TIME", callback=_time_given, help="When it ends, from now, as in 90d or 12h.  [default: never]")
@_budget_options
@state_options
def create(
    name: str,
    scopes: tuple[str, ...],
    models: tuple[str, ...],
    expires: float | None,
    state_dir: Path | None,
    file: Path | None,
    **budget: Any,
) -> None:
    """Make a key called NAME, and print it: this once, it is not kept."""
    for burst, rate in bursts_without_a_rate(budget.items()):
        raise click.UsageError(
            f"{_option(burst)} is how much of a rate may come at once; give {_option(rate)} too, or leave it out"
        )
    now = time.time()
    key_id, shown = mint()
    made = Key(
        key_id,
        name,
        digest(shown.encode()),
        frozenset(map(Scope, scopes)),
        frozenset(models) or None,
        Budget(**budget),
        now,
        None if expires is None else now + expires,
    )
    with _store(state_dir, file, make=True) as store:
        store.create_key(made, _entry("create", made.id, now, _rights(made)))
    click.echo(shown)
    _tell(f"key {made.id} ({name}) is made; keep it now, it is not shown again: {_extent(made, now)}")


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="A JSON array.")
@state_options
def listing(as_json: bool, state_dir: Path | None, file: Path | None) -> None:
    """Every key, without its secret; those that are revoked or have expired say so."""
    with _store(state_dir, file) as store:
        there, now = store.keys(), time.time()
    click.echo(json.dumps([described(key, now) for key in there], indent=2) if as_json else listed(there, now))


@keys.command()
@click.argument("key_id", metavar="ID", callback=_key_id)
@click.option(
    "--overlap",
    metavar="TIME",
    callback=_time_given,
    default="24h",
    show_default=True,
    help="How long the old key stays good; 0s: not at all.",
)
@state_options
def rotate(key_id: str, overlap: float, state_dir: Path | None, file: Path | None) -> None:
    """Make a key with the rights of ID, and print it: this once. ID ends after the overlap."""
    now = time.time()
    successor, shown = mint()
    with _store(state_dir, file) as store:
        entry = _entry("rotate", key_id, now, {"successor": successor, "overlap_s": overlap})
        old, new = store.rotate_key(key_id, (successor, digest(shown.encode())), overlap, entry)
    click.echo(shown)
    _tell(f"key {new.id} ({new.name}) is made; keep it now, it is not shown again: {_extent(new, now)}")
    _tell(f"key {old.id} is good until {_time(old.expires)}")


@keys.command()
@click.argument("key_id", metavar="ID", callback=_key_id)
@state_options
def revoke(key_id: str, state_dir: Path | None, file: Path | None) -> None:
    """End the key ID, in every worker of a running server within a second."""
    with _store(state_dir, file) as store:
        revoked = store.revoke_key(key_id, _entry("revoke", key_id, time.time(), {}))
    _tell(f"key {revoked.id} ({revoked.name}) is revoked")
    if revoked.successor is not None:
        _tell(f"key {revoked.successor}, which succeeds it, is not")


def described(key: Key, now: float) -> dict[str, object]:
    """A key as JSON has it; times in ISO 8601. Nothing of it tells the secret."""
    return {
        "id": key.id,
        "name": key.name,
        "state": state(key, now),
        "scopes": sorted(key.scopes),
        "models": None if key.models is None else sorted(key.models),
        "budget": {name: value for name, value in asdict(key.budget).items() if value is not None},
        "created": _time(key.created),
        "expires": _time(key.expires),
        "revoked": _time(key.revoked),
        "successor": key.successor,
    }


def listed(there: Sequence[Key], now: float) -> str:
    """The same as a table."""
    if not there:
        return "  there is no key; make one: tureen keys create NAME"
    rows = [("id", "name", "state", "scopes", "models", "budget", "created", "expires")]
    rows += [
        (
            key.id,
            key.name,
            state(key, now) + (f" to {key.successor}" if key.successor is not None else ""),
            ",".join(sorted(key.scopes)),
            "all" if key.models is None else ",".join(sorted(key.models)),
            ",".join(f"{name}={value:g}" for name, value in asdict(key.budget).items() if value is not None) or "-",
            str(_time(key.created)),
            _time(key.expires) or "never",
        )
        for key in there
    ]
    return "\n".join(table(rows))


def state(key: Key, now: float) -> str:
    """A word for how good the key is."""
    if key.revoked is not None:
        return "revoked"
    if key.expires is not None and key.expires <= now:
        return "expired"
    return "active" if key.successor is None else "rotated"


@contextmanager
def _store(state_dir: Path | None, file: Path | None, *, make: bool = False) -> Iterator[ControlStore]:
    """The control store for the length of a command; what cannot be ends it with a sentence."""
    state = state_of(state_dir, file, make=make)
    try:
        prepare(state)
        yield ControlStore(state)
    except KeyRefused as refused:
        _tell(str(refused))
        sys.exit(REFUSED)
    except (ConfigError, StoreUnavailable) as error:
        stop(error)


def _entry(action: str, key_id: str, now: float, detail: dict[str, object]) -> Entry:
    actor, source = operator()
    return Entry(actor, f"key {action}", f"key:{key_id}", "done", detail, now, source)


def _rights(key: Key) -> dict[str, object]:
    told = described(key, key.created)
    return {name: told[name] for name in ("name", "scopes", "models", "budget", "expires")}


def _option(parameter: str) -> str:
    return f"--{parameter}".replace("_", "-")


def _extent(key: Key, now: float) -> str:
    models = "all models" if key.models is None else f"model{'s' * (len(key.models) > 1)} {', '.join(sorted(key.models))}"
    ends = "without end" if key.expires is None else f"until {_time(key.expires)}"
    return f"{', '.join(sorted(key.scopes))}; {models}; {ends}"


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _tell(sentence: str) -> None:
    click.echo(f"tureen: {sentence}", err=True)
