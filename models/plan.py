"""What a look at a model's files says is to be done about it. Pure: nothing is loaded here."""

from __future__ import annotations

from dataclasses import dataclass

from models.lease import LoadedVersion
from models.manifest import Manifest
from models.repository import ModelEntry, Source, wanted
from models.runtime import Runtime
from models.shelf import Shelf
from models.vision.recipe import Recipe


@dataclass(slots=True)
class Candidate:
    """A version on its way to be served; the time that it took so far, and what the process grew by meanwhile."""

    source: Source
    manifest: Manifest
    runtime: Runtime | None = None
    recipe: Recipe | None = None
    spent_s: float = 0.0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """The versions to serve, those of them that must be opened first, and why others cannot be."""

    name: str
    manifest: Manifest
    wanted: frozenset[int]
    candidates: tuple[Candidate, ...]
    failed: dict[int | None, str]
    served_before: bool


def planned(entry: ModelEntry, manifest: Manifest, before: Shelf) -> Plan:
    """What is to be opened: wanted versions that are new, whose files differ, or that are set up otherwise."""
    if entry.problem is not None:
        return Plan(entry.name, manifest, frozenset(before.ready), (), {None: entry.problem}, bool(before.ready))
    failed: dict[int | None, str] = {}
    candidates: list[Candidate] = []
    found = {version.version: version for version in entry.versions}
    policy = manifest.versions
    named = () if isinstance(policy.policy, str) else policy.policy
    asked = frozenset({*wanted(found, policy), *named, *policy.labels.values()})
    for version in sorted(asked):
        there = found.get(version)
        if there is None:
            has = ", ".join(map(str, found))
            failed[version] = f"model {entry.name!r}, model.toml: versions asks for version {version}; the repository has {has}"
        elif there.source is None:
            failed[version] = there.problem or f"model {entry.name!r} version {version} cannot be read"
        elif _differs(before.ready.get(version), there.source, manifest):
            candidates.append(Candidate(there.source, manifest))
    return Plan(entry.name, manifest, asked, tuple(candidates), failed, bool(before.ready))


def _differs(loaded: LoadedVersion | None, source: Source, manifest: Manifest) -> bool:
    if loaded is None or loaded.stamp != source.stamp:
        return True
    return loaded.manifest.runtime != manifest.runtime or loaded.manifest.image != manifest.image
