"""Servers that ask for a key, and the keys that they take, made as their operators make them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.e2e.served import Server, run, serving


class Keyed(NamedTuple):
    """A server that asks for a key, one that it takes, and the directory in which it keeps them."""

    server: Server
    key: str
    state: Path


@contextmanager
def keyed(repository: Path, place: Path, *options: object) -> Iterator[Keyed]:
    """Such a server in that directory, for as long as it is needed; the options are its key's."""
    state = place / "state"
    key = key_of(state, *options)
    with serving(repository, cwd=place, env=asking(state)) as server:
        yield Keyed(server, key, state)


def asking(state: Path) -> Mapping[str, str]:
    """The environment of a server that keeps its keys in that directory."""
    return {"TUREEN_AUTH__API_KEYS": "true", "TUREEN_STORE__STATE_DIR": str(state)}


def key_of(state: Path, *options: object) -> str:
    """A new key; the options are those of `tureen keys create`, beside its name."""
    made = run("keys", "create", "a key of a test", "--state-dir", state, *options, cwd=state.parent)
    if made.returncode != 0:
        raise AssertionError(made.stderr)
    return made.stdout.strip()


def bearer(key: str) -> Mapping[str, str]:
    """What shows it."""
    return {"Authorization": f"Bearer {key}"}
