"""Servers that ask for a key, and the keys that they take, made as their operators make them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.e2e.served import run


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
