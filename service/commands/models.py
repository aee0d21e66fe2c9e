"""`tureen models`: loads, unloads and configures models of a running server, by the calls that anybody may make of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from models.nearest import nearest
from service.commands.client import DEFAULT_URL, REFUSALS, Client, Refused, Reply, Unreachable
from service.commands.credential import credential, key_file, shown
from service.commands.table import table
from service.commands.terminal import echo

REFUSED = 1
UNREACHABLE = 2
#: The sections of what a server shows of a model that may be changed while it serves.
SECTIONS = ("batching", "cache", "limits")
#: A load opens and warms up what may be gigabytes, on each worker (seconds).
PATIENCE_S = 600.0

_URL = click.option("--url", help=f"Where the server listens.  [default: {DEFAULT_URL}]")
_TIMEOUT = click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=PATIENCE_S, show_default=True, help="Seconds for an answer."
)


@dataclass(frozen=True, slots=True)
class _Where:
    """Which server to ask, and as whom: what a command is given goes before what its group is."""

    url: str | None
    key_file: Path | None

    def or_else(self, given: _Where) -> _Where:
        return _Where(self.url or given.url, self.key_file or given.key_file)


@click.group(invoke_without_command=True)
@_URL
@key_file
@click.pass_context
def models(context: click.Context, url: str | None, key_file: Path | None) -> None:
    """List, load, unload and configure the models of a running server. Exits 1 when it refuses, 2 when no server answers."""
    context.obj = _Where(url, key_file)
    if context.invoked_subcommand is None:
        _list(context.obj)


@models.command("list")
@_URL
@key_file
@click.pass_obj
def listing(given: _Where, url: str | None, key_file: Path | None) -> None:
    """Every model and version with its state, and why where it does not answer."""
    _list(_Where(url, key_file).or_else(given))


@models.command()
@click.argument("name")
@_URL
@key_file
@_TIMEOUT
@click.pass_obj
def load(given: _Where, name: str, url: str | None, key_file: Path | None, timeout: float) -> None:
    """Load what the repository has of NAME, or load it again; the old answers until the new is warm."""
    with _server(_Where(url, key_file).or_else(given), timeout) as client:
        _done(client.post(f"/v2/repository/models/{quote(name, safe='')}/load"), f"{name} was not loaded")
        echo(loaded(name, _index(client)))


@models.command()
@click.argument("name")
@_URL
@key_file
@_TIMEOUT
@click.pass_obj
def unload(given: _Where, name: str, url: str | None, key_file: Path | None, timeout: float) -> None:
    """Take NAME out of service; what it has taken is answered first."""
    with _server(_Where(url, key_file).or_else(given), timeout) as client:
        _done(client.post(f"/v2/repository/models/{quote(name, safe='')}/unload"), f"{name} was not unloaded")
        echo(f"{name} is unloaded; its requests are answered 503 until it is loaded again")


@models.command()
@click.argument("name")
@click.argument("keys", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--reset", is_flag=True, help="Put back to what model.toml says: the keys that are named, or everything.")
@_URL
@key_file
@_TIMEOUT
@click.pass_obj
def config(
    given: _Where, name: str, keys: tuple[str, ...], reset: bool, url: str | None, key_file: Path | None, timeout: float
) -> None:
    """Show how NAME is batched, cached and limited; with KEY=VALUE, as max_rows=128, change it while it serves."""
    path = quote(name, safe="")
    with _server(_Where(url, key_file).or_else(given), timeout) as client:
        reply = client.get(f"/v2/models/{path}/config")
        if keys or reset:
            _done(reply, f"{name} was not changed")
            try:
                change = put_back(keys, reply.json()) if reset else changed(keys, reply.json())
            except ValueError as error:
                raise click.UsageError(str(error)) from None
            reply = client.patch(f"/v1/models/{path}/config", change)
            _done(reply, f"{name} was not changed")
        _done(reply, f"{name} cannot be shown")
        echo(configured(reply.json()))


def changed(keys: Sequence[str], shown: Mapping[str, Any]) -> dict[str, Any]:
    """The change that ``key=value`` and ``section.key=value`` ask for; ``shown`` is what the server says of the model, and so which
    section a key is in, or the one that is meant: of a key that it does not know the server itself says so. Raises ValueError."""
    change: dict[str, Any] = {}
    for word in keys:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ValueError(f"{word!r} says nothing; write it as max_rows=128, or give --reset to put keys back")
        _put(change, key, shown, _value(text))
    return change


def put_back(keys: Sequence[str], shown: Mapping[str, Any]) -> dict[str, Any]:
    """The change that puts those keys back, or all that was changed. Raises ValueError."""
    change: dict[str, Any] = {}
    for key in keys:
        if "=" in key:
            raise ValueError(f"{key!r} has a value, and --reset takes names alone; give one or the other")
        _put(change, key, shown, None)
    return change if keys else dict.fromkeys(_sections(shown))


def configured(shown: Mapping[str, Any]) -> str:
    """The keys that may be changed, with their values, and which of them are not as model.toml says."""
    ours = shown.get("changed", {})
    rows = [
        (f"{section}.{key}", "-" if value is None else _text(value), "changed" if key in ours.get(section, {}) else "")
        for section, keys in _sections(shown).items()
        for key, value in keys.items()
    ]
    return "\n".join(table([("key", "value", ""), *rows]))


def loaded(name: str, index: Sequence[dict[str, Any]]) -> str:
    """The sentence after a load: what of the model answers now, and what does not."""
    entries = [entry for entry in index if entry.get("name") == name]
    ready = [str(entry.get("version")) for entry in entries if entry.get("state") == "READY"]
    lines = [f"{name} is loaded: {_versions(ready)}"]
    lines += [f"  {_called(entry)}: {entry['reason']}" for entry in entries if entry.get("reason")]
    return "\n".join(lines)


def listed(index: Sequence[dict[str, Any]]) -> str:
    """The index as a table, with the reasons below."""
    if not index:
        return "  no model is there; put one into the repository, then `tureen models load NAME`"
    rows = [("model", "version", "state")]
    rows += [(str(entry.get("name")), str(entry.get("version", "-")), str(entry.get("state", "-")).lower()) for entry in index]
    reasons = [f"  {_called(entry)}: {entry['reason']}" for entry in index if entry.get("reason")]
    ours = {str(entry.get("name")): entry["changed"] for entry in index if isinstance(entry.get("changed"), dict)}
    return "\n".join(
        [*table(rows), *reasons, *(f"  {name}: changed while it serves: {_keys(keys)}" for name, keys in ours.items())]
    )


def _put(change: dict[str, Any], key: str, shown: Mapping[str, Any], value: object) -> None:
    section, dot, own = key.rpartition(".")
    if not dot:
        home = {known: name for name, keys in _sections(shown).items() for known in keys}
        section = home.get(nearest(key, home, 0.7) or "", "")
    if section:
        change.setdefault(section, {})[own] = value
    else:
        change[key] = value


def _value(text: str) -> object:
    """A number, true, false or null as JSON has it; else the text itself, so that nobody has to quote."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _sections(shown: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Those that may be changed, with their keys."""
    return {name: keys for name in SECTIONS if isinstance(keys := shown.get(name), dict)}


def _keys(changed: Mapping[str, Any]) -> str:
    return ", ".join(f"{section}.{key} = {_text(value)}" for section, keys in changed.items() for key, value in keys.items())


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _list(where: _Where) -> None:
    with _server(where, 5.0) as client:
        echo(listed(_index(client)))


def _index(client: Client) -> list[dict[str, Any]]:
    reply = client.post("/v2/repository/index")
    content = reply.json()
    if reply.status in REFUSALS:
        raise Refused(f"{client.url} refuses: {reply.error}")
    if reply.status != 200 or not isinstance(content, list):
        raise Unreachable(f"{client.url} does not say what it has loaded ({reply.error}); check --url")
    return [entry for entry in content if isinstance(entry, dict)]


@contextmanager
def _server(where: _Where, timeout_s: float) -> Iterator[Client]:
    """A client for the length of a command; where nothing answers, the command ends with a sentence."""
    url = DEFAULT_URL if where.url is None else where.url
    try:
        client = Client(url, timeout_s, shown(credential(where.key_file), url))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    with client:
        try:
            yield client
        except Unreachable as error:
            echo(f"tureen: {error}", err=True)
            sys.exit(UNREACHABLE)
        except Refused as error:
            echo(f"tureen: {error}", err=True)
            sys.exit(REFUSED)


def _done(reply: Reply, failed: str) -> None:
    if reply.status != 200:
        echo(f"tureen: {failed}: {reply.error}", err=True)
        sys.exit(REFUSED)


def _versions(ready: Sequence[str]) -> str:
    if not ready:
        return "no version of it answers"
    return f"version{'s' * (len(ready) > 1)} {' and '.join(ready)} answer{'s' * (len(ready) == 1)}"


def _called(entry: dict[str, Any]) -> str:
    version = entry.get("version")
    return f"{entry.get('name')}/{version}" if version else str(entry.get("name"))
