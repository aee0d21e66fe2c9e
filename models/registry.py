"""Which versions are loaded now: loads, reloads and retires them, while others keep answering.

Readers never wait: what is known of a model is one frozen Shelf, and a change puts another in its place. Changes wait for
each other. What fails to load changes nothing but the reason that the index then gives.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

from models.callee import Neighbours
from models.errors import LoadError, NotReady, UnknownModel
from models.footprint import resident_bytes
from models.lease import Hold, LoadedVersion
from models.loader import load, recipe_of, warm_up
from models.manifest import Manifest
from models.plan import Candidate, Plan, planned
from models.repository import ModelEntry, Repository, unknown_model, wanted
from models.runtime import Models, Runtime
from models.shelf import IndexEntry, Shelf

log = logging.getLogger(__name__)

OnChange = Callable[[list[LoadedVersion]], None]


class Registry:
    """The repository's loaded models. Every method may be called from any thread; loading and unloading block.

    ``on_change`` is told all ready versions after each change, before a version that left is closed, in the thread that
    makes the change. It must not load or unload; if it raises, the change is undone.
    """

    def __init__(self, repository: Repository, on_change: OnChange | None = None) -> None:
        self.repository = repository
        self.on_change = on_change
        self.models: Models = Neighbours(self)
        self._shelves: Mapping[str, Shelf] = {}
        self._leaving: tuple[tuple[str, int, Hold], ...] = ()
        self._changes = threading.Lock()

    def find(self, name: str, version: int | None = None, label: str | None = None) -> LoadedVersion:
        """That ready version; the highest one where neither is named. Raises UnknownModel, UnknownVersion, NotReady."""
        return self._shelf(name).find(version, label)

    @contextmanager
    def lease(self, name: str, version: int | None = None, label: str | None = None) -> Iterator[LoadedVersion]:
        """``find``, and a lease on what it found for the length of a ``with``."""
        found = self.find(name, version, label)
        while not found.acquire():  # closed between the two, so the table has changed
            found = self.find(name, version, label)
        try:
            yield found
        finally:
            found.release()

    def knows(self, name: str) -> bool:
        """Whether there is a model of that name, ready or not."""
        return name in self._shelves

    def unloaded(self, name: str) -> bool:
        """Whether the model is one that was taken out of service, so that nobody misses it."""
        shelf = self._shelves.get(name)
        return shelf is not None and shelf.unloaded

    def require(self, name: str) -> None:
        """Raises UnknownModel where there is no model of that name, ready or not."""
        self._shelf(name)

    def labels(self, name: str) -> dict[str, int]:
        """The model's labels and the versions that they stand for. Raises UnknownModel."""
        return dict(self._shelf(name).labels)

    def ready_versions(self) -> list[LoadedVersion]:
        """Every ready version, by name and version."""
        return [loaded for _, shelf in sorted(self._shelves.items()) for loaded in shelf.ready.values()]

    def index(self) -> list[IndexEntry]:
        """Every model and version with its state, and the reason where not all is well."""
        leaving = [(name, version) for name, version, hold in self._leaving if not hold.closed]
        return [
            line
            for name, shelf in sorted(self._shelves.items())
            for line in shelf.index(version for left, version in leaving if left == name)
        ]

    def load_all(self, overrides: Mapping[str, str] = MappingProxyType({}), unloaded: Collection[str] = ()) -> list[IndexEntry]:
        """Loads all that the version policies want, models that may call others last. What fails is told in the index.

        ``overrides``: for each model what ``load`` takes as such. Models that are ``unloaded`` are known, and are not loaded.
        """
        with self._change():
            entries = self.repository.scan()
            for entry in entries:
                if entry.name in unloaded:
                    self._leave_out(entry)
            plans = [self._first_plan(entry, overrides.get(entry.name)) for entry in entries if entry.name not in unloaded]
            candidates = [candidate for plan in plans for candidate in plan.candidates]
            self._bring_up(sorted(candidates, key=lambda candidate: candidate.source.platform == "python"))
            for plan in plans:
                self._settle(plan)
        return self.index()

    def load(self, name: str, config_override: str | None = None) -> list[LoadedVersion]:
        """Looks at the model's files again, loads what is new or changed, then retires what is no longer wanted.

        ``config_override``: a JSON object of ``model.toml``'s sections; it holds until the next load. Raises UnknownModel, or
        LoadError, after which all that served still serves.
        """
        with self._change():
            plan = self._plan(*self.look(name, config_override))
            self._bring_up(plan.candidates)
            self._settle(plan)
            shelf = self._shelves[name]
        if shelf.failed:
            raise LoadError("; ".join(shelf.reasons()))
        return list(shelf.ready.values())

    def look(self, name: str, config_override: str | None = None) -> tuple[ModelEntry, Manifest]:
        """A model as it lies there now, and the manifest that a load would go by. Raises UnknownModel, LoadError; loads nothing."""
        try:
            entry = self.repository.entry(name)
        except UnknownModel:
            if name not in self._shelves:
                raise
            raise LoadError(f"model {name!r} is not in the repository any more; unload it, or put it back") from None
        return entry, _overridden(entry, config_override)

    def unload(self, name: str) -> None:
        """Takes the model out of service; each version is closed once nobody uses it. Raises UnknownModel."""
        with self._change():
            shelf = self._shelf(name)
            versions: list[int | None] = [*shelf.ready] or [None]
            failed = dict.fromkeys(versions, _unloaded(name))
            self._publish(Shelf(name, failed=failed, unloaded=True))

    def close(self) -> None:
        """Unloads everything, for the end of the process."""
        for name in sorted(self._shelves):
            self.unload(name)

    @contextmanager
    def _change(self) -> Iterator[None]:
        with self._changes:
            try:
                yield
            except BaseException:
                self._shelves = {name: replace(shelf, loading=frozenset()) for name, shelf in self._shelves.items()}
                raise

    def _shelf(self, name: str) -> Shelf:
        shelf = self._shelves.get(name)
        if shelf is None:
            raise unknown_model(name, self._shelves)
        return shelf

    def _first_plan(self, entry: ModelEntry, config_override: str | None) -> Plan:
        try:
            return self._plan(entry, _overridden(entry, config_override))
        except LoadError as error:  # the model's own model.toml has changed since the override was given
            return self._plan(replace(entry, problem=str(error)), entry.manifest)

    def _leave_out(self, entry: ModelEntry) -> None:
        versions = wanted([version.version for version in entry.versions], entry.manifest.versions) or (None,)
        self._publish(Shelf(entry.name, failed=dict.fromkeys(versions, _unloaded(entry.name)), unloaded=True))

    def _plan(self, entry: ModelEntry, manifest: Manifest) -> Plan:
        before = self._shelves.get(entry.name, Shelf(entry.name))
        plan = planned(entry, manifest, before)
        for reason in plan.failed.values():
            log.error("%s", reason)
        loading = frozenset(candidate.source.version for candidate in plan.candidates)
        self._publish(replace(before, loading=loading, failed=plan.failed, unloaded=False))
        return plan

    def _bring_up(self, candidates: Sequence[Candidate]) -> None:
        waiting = list(candidates)
        while waiting:
            left = [candidate for candidate in waiting if not self._try(candidate, last=False)]
            if len(left) == len(waiting):  # each waits for another, or for one that will never be ready
                for candidate in left:
                    self._try(candidate, last=True)
                return
            waiting = left

    def _try(self, candidate: Candidate, *, last: bool) -> bool:
        """Whether the candidate's fate is known; if not, it called a model that is not ready yet."""
        source, started, before = candidate.source, time.perf_counter(), resident_bytes()
        try:
            try:
                runtime = candidate.runtime or load(source, candidate.manifest, self.models)
                if candidate.runtime is None:
                    candidate.recipe = recipe_of(source, candidate.manifest, runtime)
                    candidate.runtime = runtime
                notes = warm_up(runtime, candidate.manifest, candidate.recipe)
            finally:
                candidate.memory_bytes += max(0, resident_bytes() - before)
        except LoadError as error:
            candidate.spent_s += time.perf_counter() - started
            if _waits(error) and not last:
                return False
            log.error("%s", error, exc_info=error.__cause__)
            shelf = self._shelves[source.model]
            self._publish(
                replace(
                    shelf,
                    loading=shelf.loading - {source.version},
                    failed={**shelf.failed, source.version: str(error)},
                )
            )
            return True
        except NotReady as error:
            candidate.spent_s += time.perf_counter() - started
            if not last:
                return False
            notes = (f"could not be warmed up, it serves nevertheless: {error}",)
            started = time.perf_counter()
        self._add(candidate, runtime, notes, candidate.spent_s + time.perf_counter() - started)
        return True

    def _add(self, candidate: Candidate, runtime: Runtime, warmth: tuple[str, ...], load_s: float) -> None:
        source = candidate.source
        loaded = LoadedVersion(
            name=source.model,
            version=source.version,
            runtime=runtime,
            manifest=candidate.manifest,
            notes=(*runtime.notes, *warmth),
            loaded_at=time.time(),
            load_s=load_s,
            memory_bytes=candidate.memory_bytes,
            stamp=source.stamp,
            hold=Hold(runtime),
            recipe=candidate.recipe,
        )
        shelf = self._shelves[source.model]
        ready = dict(sorted({**shelf.ready, source.version: loaded}.items()))
        try:
            self._publish(replace(shelf, ready=ready, loading=shelf.loading - {source.version}))
        except BaseException:
            loaded.hold.retire()
            raise
        log.info("model %r version %d is ready, after %.3f s", source.model, source.version, load_s)
        for note in runtime.notes:
            log.info("model %r version %d: %s", source.model, source.version, note)
        for note in warmth:
            log.warning("model %r version %d: %s", source.model, source.version, note)

    def _settle(self, plan: Plan) -> None:
        """All loaded: what is no longer wanted leaves, and the rest follows the new manifest. Else what served stays."""
        shelf = self._shelves[plan.name]
        if shelf.failed and plan.served_before:
            return
        ready = {
            version: loaded if loaded.manifest == plan.manifest else replace(loaded, manifest=plan.manifest)
            for version, loaded in shelf.ready.items()
            if version in plan.wanted
        }
        self._publish(replace(shelf, ready=ready, labels=plan.manifest.versions.labels))

    def _publish(self, shelf: Shelf) -> None:
        before = self._shelves
        served = before[shelf.name].ready if shelf.name in before else {}
        self._shelves = {**before, shelf.name: shelf}
        if self.on_change is not None and dict(served) != dict(shelf.ready):
            try:
                self.on_change(self.ready_versions())
            except BaseException:
                self._shelves = before
                raise
        stays = {loaded.hold for loaded in shelf.ready.values()}
        gone = [loaded for loaded in served.values() if loaded.hold not in stays]
        self._leaving = (
            *(left for left in self._leaving if not left[2].closed),
            *((loaded.name, loaded.version, loaded.hold) for loaded in gone),
        )
        for loaded in gone:
            loaded.hold.retire()


def _overridden(entry: ModelEntry, config_override: str | None) -> Manifest:
    if config_override is None or entry.problem is not None:
        return entry.manifest
    return Manifest.from_json_overrides(config_override, model=entry.name, base=entry.manifest)


def _unloaded(name: str) -> str:
    return f"model {name!r} was unloaded"


def _waits(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, NotReady):
            return True
        error = error.__cause__ or error.__context__
    return False
