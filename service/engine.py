"""The data plane: pairs each loaded version with a batcher, and is the one way to an answer.

``submit`` is a plain function that returns a future, so that what awaits it costs what it wants to. The engine's tables change on
the event loop alone; the registry loads and closes models in a thread of its own and tells the engine what is ready.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import msgspec

import batching
from batching import Answer, Batcher, Priority
from models import NotReady, Signature, UnknownVersion
from models.lease import LoadedVersion
from models.live import Changed, overlaid
from models.manifest import Cache, Manifest
from models.manifest import Limits as ModelLimits
from models.registry import Registry
from models.vision.recipe import Recipe
from service.cache.answers import Answers
from service.cache.key import Keys
from service.cache.shelf import Shelf
from service.errors import Draining
from service.protocol.infer import Infer
from service.settings import Settings, policy_of
from service.slab import Slab
from service.threads import Threads

log = logging.getLogger("tureen.engine")

#: The batcher's priorities by a request's level; of any other level it is normal.
PRIORITIES = {1: Priority.HIGH, 2: Priority.NORMAL, 3: Priority.LOW}
#: The collector, not the GIL, makes the tail of the latencies: what is loaded is frozen out of it and it runs seldom.
GC_THRESHOLDS = (20_000, 50, 1_000)
#: How long ``close`` waits for calls and loads that nobody waits for any more (seconds).
PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Served:
    """One version of a model, ready to answer. ``answers``: those that may be given again; None where none may. ``slab``: where its
    images are decoded to; None where it takes none, or each in a size of its own."""

    model: str
    version: str
    signature: Signature
    loaded: LoadedVersion
    batcher: Batcher
    answers: Answers | None = None
    slab: Slab | None = None

    @property
    def recipe(self) -> Recipe | None:
        """How images become its input; None where it takes none."""
        return self.loaded.recipe


class Engine:
    """Serves what the registry has loaded. ``limits``: what one caller may ask of a model, for those whose newest version
    says so."""

    def __init__(self, registry: Registry, open_shelf: Callable[[], Shelf] | None = None) -> None:
        self.registry = registry
        self.shelf: Shelf | None = None
        self.settings = Settings()
        self._open_shelf = open_shelf
        self._opening = asyncio.Lock()
        self._configuring = asyncio.Lock()
        self.threads = Threads()
        self._served: dict[tuple[str, int], Served] = {}
        self._by_path: dict[tuple[str, str | None, str | None], Served] = {}
        self.limits: dict[str, ModelLimits] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._loaded = False
        self.draining = False
        self.stuck = False

    # -- the way of a request --------------------------------------------------------------------------------------------

    def served(self, model: str, version: str | None = None, label: str | None = None) -> Served:
        """The version that a path names, the newest one where it names none. Raises UnknownModel, UnknownVersion, NotReady."""
        found = self._by_path.get((model, version, label))
        if found is None:
            found = self._find(model, version, label)
            self._by_path[model, version, label] = found
        return found

    def submit(
        self, served: Served, infer: Infer, timeout_s: float | None = None, key: bytes | None = None
    ) -> asyncio.Future[Answer]:
        """The future of a checked request's answer: one that was kept, or it is queued. ``key``: what it is kept under, where that
        is known. Raises BatchingError where it is refused, NotReady where the version was unloaded, or loaded again as another."""
        if infer.rows > 1 and not served.signature.batched:
            return self._submit_each(served, infer, timeout_s)
        answers = served.answers
        if answers is None or answers.rests:
            return self._queue(served, infer, timeout_s)
        left_s = served.batcher.policy.timeout_s if timeout_s is None else timeout_s
        return answers.submit(answers.key(infer) if key is None else key, partial(self._queue, served, infer), left_s)

    def _submit_each(self, served: Served, infer: Infer, timeout_s: float | None) -> asyncio.Future[Answer]:
        """The same for images of one request that the model takes one at a time."""
        futures: list[asyncio.Future[Answer]] = []
        try:
            for row in range(infer.rows):
                inputs = {name: array[row : row + 1] for name, array in infer.inputs.items()}
                futures.append(self.submit(served, msgspec.structs.replace(infer, inputs=inputs, rows=1), timeout_s))
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return batching.together(futures)

    def _queue(self, served: Served, infer: Infer, timeout_s: float | None) -> asyncio.Future[Answer]:
        group = served.signature.group(infer.inputs)
        priority = PRIORITIES.get(infer.priority, Priority.NORMAL)
        try:
            return served.batcher.submit(
                infer.inputs, infer.rows, infer.outputs, group=group, timeout_s=timeout_s, priority=priority
            )
        except batching.Closed:
            again = self.served(served.model, served.version)
            if again is served:
                raise
            if (again.signature, again.recipe) != (served.signature, served.recipe):  # what it was checked and prepared by
                raise NotReady(
                    f"version {served.version} of model {served.model!r} was loaded again while this request was on its way, "
                    "and takes other tensors or images now; send it again"
                ) from None
            return again.batcher.submit(
                infer.inputs, infer.rows, infer.outputs, group=group, timeout_s=timeout_s, priority=priority
            )

    def _find(self, model: str, version: str | None, label: str | None) -> Served:
        if version is not None and not (version.isascii() and version.isdigit() and version[0] != "0" and len(version) <= 18):
            raise UnknownVersion(f"model {model!r} has no version {version!r}; a version is a positive integer")
        loaded = self.registry.find(model, None if version is None else int(version), label)
        found = self._served.get((model, loaded.version))
        if found is None or found.loaded is not loaded:
            raise NotReady(f"version {loaded.version} of model {model!r} is being loaded")
        return found

    # -- loading, while serving --------------------------------------------------------------------------------------------

    @property
    def unready(self) -> str:
        """Why not: empty once everything wanted has been tried, what loaded is warm, its batchers work, and nothing drains."""
        if self.draining:
            return "it is about to stop"
        if not self._loaded:
            return "its models are being loaded"
        for served in self._served.values():
            if not served.batcher.healthy:
                return f"the batcher of model {served.model!r} version {served.version} failed and starts again"
        return ""

    def versions(self) -> list[Served]:
        """What answers now, by model and version."""
        return [self._served[key] for key in sorted(self._served)]

    def versions_of(self, model: str) -> list[Served]:
        """What answers now of one model, the newest last. Raises UnknownModel, NotReady."""
        newest = self.served(model)
        return [served for served in self.versions() if served.model == newest.model]

    async def start(self, overrides: Mapping[str, str] = MappingProxyType({}), unloaded: Collection[str] = ()) -> None:
        """Loads all that the repository wants but what is ``unloaded``; what fails to load is in the index with its reason."""
        await self._in_control(partial(self.registry.load_all, overrides, unloaded))
        self._loaded = True
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    async def load(self, model: str, config: str | None = None) -> None:
        """Loads, or loads again, what the repository has of a model. Raises LoadError, UnknownModel; the old then serves on."""
        await self._in_control(partial(self.registry.load, model, config))

    async def unload(self, model: str) -> None:
        """Takes a model out of service; requests that it has taken are answered first."""
        await self._in_control(partial(self.registry.unload, model))

    async def configure(self, model: str, changed: Changed) -> None:
        """Has every version of a model go by what was changed of it, in place of what was changed before; also those that are
        loaded later. Requests that it has taken are answered. Raises LoadError, after which nothing has changed."""
        async with self._configuring:  # one that fails puts back what was before it, and nothing that came meanwhile
            before = self.settings.changed.get(model, {})
            self.settings.put(model, changed)
            try:
                manifests = [served.loaded.manifest for served in self._served.values() if served.model == model]
                await self._make_room([overlaid(manifest, changed, model=model) for manifest in manifests])
            except BaseException:
                self.settings.put(model, before)
                raise
            self._served = {key: self._settled(served) if served.model == model else served for key, served in self._served.items()}
            self._by_path = {}
            self._limit()

    async def look(self, model: str, config: str | None = None) -> None:
        """Raises what a load would at once: UnknownModel, LoadError. Loads nothing."""
        await asyncio.get_running_loop().run_in_executor(self.threads.calls, self.registry.look, model, config)

    def give_up(self) -> None:
        """The time to finish in is over: whatever is still queued or computed ends with Draining."""
        over = Draining("the server stops, and the time that it had to finish requests in is over; ask another, or again")
        given_up = sum([served.batcher.abandon(over) for served in self._served.values()])
        if given_up:
            log.warning("the time to finish in is over: %d request%s given up", given_up, "s are" if given_up > 1 else " is")

    async def close(self) -> None:
        """Answers what was taken, then closes every model. Calls and loads that do not end leave ``stuck`` behind."""
        self.draining = True
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._follow([])
                await asyncio.gather(*self._closing, return_exceptions=True)
                await self._in_control(self.registry.close)
        except TimeoutError:
            self.stuck = True
            log.warning("a model is still at work after %g s, and is left to it", PATIENCE_S)
        if self.shelf is not None:
            await self.shelf.close()
        self.threads.close()

    async def _in_control(self, step: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        self.registry.on_change = lambda ready: asyncio.run_coroutine_threadsafe(self._follow(ready), loop).result()
        await loop.run_in_executor(self.threads.control, step)

    async def _follow(self, ready: list[LoadedVersion]) -> None:
        """Makes the tables say what is ready; batchers of what is not any more finish what they hold."""
        await self._make_room([self.settings.of(loaded) for loaded in ready])
        before = self._served
        now: dict[tuple[str, int], Served] = {}
        try:
            for loaded in ready:
                key = (loaded.name, loaded.version)
                kept = before.get(key)
                now[key] = kept if kept is not None and kept.loaded is loaded else self._serve(loaded)
        except BaseException:  # the registry undoes the change
            self._retire_all(now, but=before)
            raise
        self._served, self._by_path = now, {}
        self._limit()
        self._retire_all(before, but=now)

    def _retire_all(self, those: Mapping[tuple[str, int], Served], *, but: Mapping[tuple[str, int], Served]) -> None:
        for key, served in those.items():
            if but.get(key) is not served:
                self._meanwhile(self._retire(served))

    def _meanwhile(self, work: Coroutine[None, None, None]) -> None:
        """Has it done while others are served; ``close`` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _limit(self) -> None:
        newest = {name: self.settings.of(self._served[name, version].loaded).limits for name, version in sorted(self._served)}
        before = dict(self.limits)
        self.limits.clear()
        for name, limits in newest.items():
            if limits != ModelLimits():
                # What stays as it is stays the same object, so that nobody's purse is made anew for it.
                self.limits[name] = before[name] if before.get(name) == limits else limits

    def _settled(self, served: Served) -> Served:
        """The version as it goes by its settings now: the same batcher, and the same answers where there were some."""
        settings = self.settings.of(served.loaded)
        served.batcher.reconfigure(policy_of(settings))
        if served.answers is None:
            return replace(served, answers=self._answers(served.loaded, settings.cache))
        if served.answers.reconfigure(self._keys(served.loaded, settings.cache), settings.cache):
            self._meanwhile(served.answers.drop())
        return served

    async def _make_room(self, wanted: list[Manifest]) -> None:
        """Opens the shelf, once there is a version whose answers may be kept."""
        async with self._opening:
            if self.shelf is None and self._open_shelf is not None and any(settings.cache.ttl_s for settings in wanted):
                shelf = await asyncio.get_running_loop().run_in_executor(self.threads.calls, self._open_shelf)
                await shelf.start()
                self.shelf = shelf

    def _serve(self, loaded: LoadedVersion) -> Served:
        self.settings.judge(loaded)
        runtime, settings = loaded.runtime, self.settings.of(loaded)
        batcher = Batcher(
            runtime.infer,
            policy_of(settings),
            self.threads.calls,
            name=f"model {loaded.name!r} version {loaded.version}",
            stacked=runtime.signature.batched,
            pure=runtime.pure,
            # Python may do anything at any time; a graph with fixed dims, or a forest, does the same for every row.
            steady=runtime.platform != "python" and not any(-1 in spec.shape[1:] for spec in runtime.signature.inputs),
        )
        answers, slab = self._answers(loaded, settings.cache), Slab.of(loaded.recipe, policy_of(settings).max_rows)
        if not loaded.acquire():  # the batcher's own lease, for as long as it may call the model; last, as what is above may fail
            raise NotReady(f"version {loaded.version} of model {loaded.name!r} was unloaded")
        return Served(loaded.name, str(loaded.version), runtime.signature, loaded, batcher, answers, slab)

    def _answers(self, loaded: LoadedVersion, wanted: Cache) -> Answers | None:
        if self.shelf is None or not wanted.ttl_s:
            return None
        return Answers(self._keys(loaded, wanted), wanted, self.shelf, f"model {loaded.name!r} version {loaded.version}")

    def _keys(self, loaded: LoadedVersion, wanted: Cache) -> Keys:
        files = repr([(path, size, changed) for path, size, changed, _ in loaded.stamp])  # what workers of other machines see too
        return Keys(loaded.name, str(loaded.version), f"{files} {wanted.ttl_s}")  # what may live longer or less long is another

    async def _retire(self, served: Served) -> None:
        if served.answers is not None:
            served.answers.end()  # before the batcher sends who comes late to what was loaded in its place
        await served.batcher.close()
        if served.answers is not None:
            await served.answers.drop()
        # Closing a model may take a while (user code, large frees): not on the loop.
        await asyncio.get_running_loop().run_in_executor(self.threads.calls, served.loaded.release)
