"""What is known of one model at one moment: frozen, so that a reader never sees half a change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from models.errors import ModelError, NotReady, UnknownVersion
from models.lease import LoadedVersion
from models.nearest import nearest


class State(StrEnum):
    """The repository index's states."""

    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One line of the index; no version where the whole model has none to speak of."""

    name: str
    version: int | None
    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Shelf:
    """One model: its ready versions, ascending; its labels; versions that load now, and why others do not serve.

    ``failed`` may name a version that is ready too: its newer file would not load. Its key None speaks of the whole model.
    ``unloaded``: it was taken out of service, and is not missed.
    """

    name: str
    ready: Mapping[int, LoadedVersion] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    loading: frozenset[int] = frozenset()
    failed: Mapping[int | None, str] = field(default_factory=dict)
    unloaded: bool = False

    def find(self, version: int | None, label: str | None) -> LoadedVersion:
        """That ready version; the highest one where neither is named. Raises UnknownVersion, NotReady."""
        if label is not None:
            if label not in self.labels:
                raise self._no_label(label)
            version = self.labels[label]
        elif version is None:
            if self.ready:
                return self.ready[max(self.ready)]
            raise self._none_ready()
        if version in self.ready:
            return self.ready[version]
        if version in self.loading:
            raise NotReady(f"model {self.name!r} version {version} is still loading")
        if version in self.failed:
            raise NotReady(self.failed[version])
        if not self.ready and not self.loading and None in self.failed:
            raise self._none_ready()
        served = ", ".join(map(str, sorted({*self.ready, *self.loading}))) or "none"
        raise UnknownVersion(f"model {self.name!r} does not serve version {version}; it serves {served}")

    def reasons(self) -> list[str]:
        """Why something of the model does not serve, or not in its newest form; the whole model first."""
        return [reason for _, reason in sorted(self.failed.items(), key=lambda item: item[0] or 0)]

    def index(self, leaving: Iterable[int] = ()) -> list[IndexEntry]:
        """The model's lines of the index, by version; ``leaving`` are retired versions that somebody still uses."""
        states: dict[int | None, State] = dict.fromkeys(self.failed, State.UNAVAILABLE)
        states |= dict.fromkeys(leaving, State.UNLOADING)
        states |= dict.fromkeys(self.loading, State.LOADING)
        states |= dict.fromkeys(self.ready, State.READY)
        order = sorted(states, key=lambda version: version or 0)
        return [IndexEntry(self.name, version, states[version], self.failed.get(version, "")) for version in order]

    def _none_ready(self) -> ModelError:
        if self.loading:
            return NotReady(f"model {self.name!r} is still loading")
        return NotReady("; ".join(dict.fromkeys(self.reasons())) or f"model {self.name!r} has no version that is ready")

    def _no_label(self, label: str) -> ModelError:
        meant = nearest(label, self.labels)
        has = f"; the nearest it has is {meant!r}" if meant else "; it has no labels"
        return UnknownVersion(f"model {self.name!r} has no label {label[:128]!r}{has}")
