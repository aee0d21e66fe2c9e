"""What a worker that takes another's place owes to clients: what the other one serves, unless nobody wants it any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.lease import LoadedVersion
    from models.registry import Registry


def served(ready: Iterable[LoadedVersion]) -> dict[str, list[int]]:
    """The ready versions of each model."""
    versions: dict[str, list[int]] = {}
    for loaded in ready:
        versions.setdefault(loaded.name, []).append(loaded.version)
    return versions


def lost(owed: Mapping[str, Sequence[int]], registry: Registry) -> list[str]:
    """Why versions that are ``owed`` are not ready here; empty where none is missing but those that are not wanted any more.

    A model that was unloaded is not missed, nor what the repository or its policy has left out: only what did not load is.
    """
    have = served(registry.ready_versions())
    broken = {name for name, versions in owed.items() if not registry.unloaded(name) and not {*versions} <= {*have.get(name, ())}}
    return [entry.reason for entry in registry.index() if entry.name in broken and entry.reason]
