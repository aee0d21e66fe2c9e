"""One worker's part in what is wanted of all: it follows what the control store says, and writes there what it is asked for.

A wish is written first and followed by every worker, also by the one that wrote it; who asked is answered when all have. Where
there is no store, a worker that is alone loads and unloads by itself, and one of several refuses: the others would not know.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from models import LoadError, ModelError, Problem
from models.live import checked, clashes, differences, laid, overlaid
from service.engine import Engine
from service.errors import BadRequest, Conflict, Draining, NotFollowed, ServiceError, StoreUnavailable
from service.guard.credentials.keyring import Keyring
from service.processes.board import Line, Phase
from service.processes.place import Place
from service.store import Asked, ControlStore, Entry, Trail, Wanted, Wish
from service.store.reconcile import Fate, Standing, State, Told, fate, problem, reasons, sentence, serving, standing
from service.store.reconciler import Reconciler
from service.store.watch import Watch

if TYPE_CHECKING:
    from service.guard.credentials.tokens import Tokens

log = logging.getLogger("tureen.follower")

#: How often the line of the board says whether the worker is ready (seconds).
TELL_S: Final = 0.1
#: How long the others may take to follow, beyond twice what the worker that was asked took itself (seconds).
PATIENCE_S: Final = 10.0
#: How often the board is read while somebody waits for the others (seconds).
WATCH_S: Final = 0.01
#: Where an act of the audit is called otherwise in a sentence.
NOUNS: Final = {"configure": "change"}


class Follower:
    """One worker's part in it. Everything runs on the event loop; the store is read and written in threads of its own."""

    def __init__(
        self,
        engine: Engine,
        place: Place,
        workers: int = 1,
        patience_s: float = PATIENCE_S,
        *,
        keyring: Keyring | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self._engine = engine
        self._place = place
        self._workers = min(workers, len(place.board))
        self._patience_s = patience_s
        self._store = ControlStore(place.state) if place.state is not None else None
        self._watch = Watch(self._store, keyring, tokens)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="tureen-store")
        self.trail = Trail(self._store, self._threads)
        self._reconciler = Reconciler(engine, self.line, self._store, self._threads)
        self._changes: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._teller: asyncio.TimerHandle | None = None

    @property
    def line(self) -> Line:
        """The worker's own line of the board."""
        return self._place.board[self._place.slot]

    # -- the life of a worker ----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """The worker begins to start."""
        line = self.line
        line.ready, line.followed, line.pid = False, 0, os.getpid()
        if line.phase in (Phase.NONE, Phase.GONE):
            line.phase = Phase.STARTING
        self._tell_on()

    async def learn(self) -> None:
        """Knows whom to believe, and learns of each change until ``close``; to be awaited before anybody is answered."""
        await self._watch.open()

    async def start(self) -> None:
        """Loads all that is wanted; the worker serves then, and follows the store until ``close``."""
        await self._reconciler.begin()
        with contextlib.suppress(StoreUnavailable):  # the follower tries again
            await self._reconciler.follow()
        if self.line.phase is Phase.STARTING:
            self.line.phase = Phase.SERVING
        # Who changes something from now on waits for this worker; who did just before it served is followed here.
        with contextlib.suppress(StoreUnavailable):
            await self._reconciler.follow()
        self.tell()
        if self._store is not None:
            self._task = asyncio.get_running_loop().create_task(self._reconciler.keep_following())

    async def close(self) -> None:
        """Follows no more."""
        await self._watch.close()
        if self._teller is not None:
            self._teller.cancel()
        self.line.ready = False
        for task in (self._task, *self._changes):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        if self._store is not None:
            with contextlib.suppress(RuntimeError):
                await asyncio.get_running_loop().run_in_executor(self._threads, self._store.close)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def tell(self) -> None:
        """Writes on the board whether the worker is ready, and why not."""
        self._reconciler.tell()

    def _tell_on(self) -> None:
        self.tell()
        self._teller = asyncio.get_running_loop().call_later(TELL_S, self._tell_on)

    # -- what is asked of the worker -----------------------------------------------------------------------------------------

    async def load(self, model: str, config: str | None, asked: Asked) -> None:
        """Loads a model, or loads it again, in every worker.

        Raises UnknownModel; LoadError, after which nothing has changed; StoreUnavailable; NotFollowed where some workers have
        it and others have not.
        """
        with self._told(asked, "load", model):
            self._refuse_clashes(model, config)
        if self._store is None:
            self._require_alone()
            await self._engine.load(model, config)
            return
        with self._told(asked, "load", model):
            await self._engine.look(model, config)
        detail = {} if config is None else {"config": config}
        await self._change(
            self._store, partial(self._store.wish, model, Wanted.LOADED, config), _entry(asked, "load", model, detail)
        )

    async def unload(self, model: str, asked: Asked) -> None:
        """Takes a model out of service in every worker. Raises UnknownModel, StoreUnavailable, NotFollowed."""
        if self._store is None:
            self._require_alone()
            await self._engine.unload(model)
            return
        with self._told(asked, "unload", model):
            self._engine.registry.require(model)
        await self._change(self._store, partial(self._store.wish, model, Wanted.UNLOADED, None), _entry(asked, "unload", model, {}))

    async def configure(self, model: str, change: object, asked: Asked) -> None:
        """Changes how a model is served, without a load, in every worker: ``change`` as in ``models.live``.

        Raises UnknownModel, NotReady; BadRequest where the change cannot be made; StoreUnavailable; NotFollowed.
        """
        settings = self._engine.settings
        with self._told(asked, "configure", model):
            versions = self._engine.versions_of(model)
            before = settings.changed.get(model, {})
            try:
                made = checked(change, before, versions[-1].loaded.manifest, model=model)
                after = laid(before, made)
                for served in versions:
                    overlaid(served.loaded.manifest, after, model=model)
            except LoadError as error:
                raise BadRequest(str(error)) from None
        if self._store is None:
            self._require_alone()
            await self._engine.configure(model, after)
            return
        newest = versions[-1].loaded
        changed = differences(settings.of(newest), overlaid(newest.manifest, after, model=model))
        await self._change(
            self._store, partial(self._store.change, model, made), _entry(asked, "configure", model, {"changed": changed})
        )

    def behind(self, model: str) -> list[Standing]:
        """The workers that do not serve a model as this one does."""
        wish = Wish(self._reconciler.stands_at(model), model, Wanted.LOADED)
        found: list[Standing] = []
        for line in serving(self._place.board):
            failures = Told.parse(line.text).failures
            reason = next((failure.reason for failure in failures if failure.settled and failure.model == model), None)
            if reason is not None:
                found.append(Standing(line.slot, line.pid, State.FAILED, reason))
            elif (its := standing(line, wish)).state is State.BEHIND:
                found.append(its)
        return found

    def _require_alone(self) -> None:
        started = [line for line in self._place.board if line.phase in (Phase.STARTING, Phase.SERVING)]
        if max(len(started), self._workers) > 1:
            raise StoreUnavailable(
                "models cannot be loaded or unloaded: there are several workers, and no state directory that they could agree in; "
                "start the server with a [store] state_dir that it can write to, or with one worker"
            )

    def _refuse_clashes(self, model: str, config: str | None) -> None:
        """What was changed goes over what a load says: who says something else in a load has to know that it would not hold."""
        clashing = clashes(config, self._engine.settings.changed.get(model, {}))
        if clashing:
            keys = " and ".join(clashing)
            raise Conflict(
                f"model {model!r}: {keys} was changed while it served, which goes before what a load says; change it so again, "
                f"or put it back with null, by PATCH /v1/models/{model}/config",
                *[Problem(key, "it was changed while the model served") for key in clashing],
            )

    @contextlib.contextmanager
    def _told(self, asked: Asked, action: str, model: str) -> Iterator[None]:
        """What fails within, before anything is wanted, is told to the audit."""
        try:
            yield
        except (ModelError, ServiceError) as error:
            self.trail.failed(asked, action, model, str(error))
            raise

    async def _change(self, store: ControlStore, write: Callable[[Entry], Wish], entry: Entry) -> None:
        task = asyncio.get_running_loop().create_task(self._carry_out(store, write, entry))
        self._changes.add(task)
        task.add_done_callback(self._end)
        try:
            await asyncio.shield(task)  # who asked may leave; what was begun is brought to its end
        except asyncio.CancelledError:
            if task.cancelled():
                raise Draining("the server stops before every worker has followed; what is wanted is kept") from None
            raise

    def _end(self, task: asyncio.Task[None]) -> None:
        self._changes.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have left; the audit has it

    async def _carry_out(self, store: ControlStore, write: Callable[[Entry], Wish], entry: Entry) -> None:
        loop, action, model = asyncio.get_running_loop(), entry.action, entry.target
        wish = await loop.run_in_executor(self._threads, write, entry)
        begun = time.monotonic()
        with contextlib.suppress(StoreUnavailable):
            await self._reconciler.follow()
        now, own = time.monotonic(), self._reconciler.failure(wish)
        standings = await self._all_have_followed(wish, now + self._patience_s + 2 * (now - begun))
        decided = fate(standings)
        others = [its for its in standings if its.state is not State.DONE]
        outcome = {Fate.SETTLED: "done", Fate.WITHDRAWN: "failed", Fate.PARTLY: "not followed"}[decided]
        entry = replace(entry, outcome=outcome, at=time.time(), detail=reasons(others))
        try:
            end = store.withdraw if decided is Fate.WITHDRAWN else store.settle
            await loop.run_in_executor(self._threads, end, wish, entry)
        except StoreUnavailable as error:  # the wish itself is kept: a worker that starts tries it as these have
            log.warning("the %s of model %r is %s, and the control store was not told: %s", action, model, outcome, error)
        if decided is Fate.SETTLED:
            return
        if own is not None and decided is Fate.WITHDRAWN:
            raise own
        raise NotFollowed(sentence(NOUNS.get(action, action), model, decided, others), *map(problem, others))

    async def _all_have_followed(self, wish: Wish, until: float) -> list[Standing]:
        while True:
            lines = {line.slot: line for line in (self.line, *serving(self._place.board))}
            standings = [standing(line, wish) for _, line in sorted(lines.items())]
            if all(its.state is not State.BEHIND for its in standings) or time.monotonic() > until:
                return standings
            await asyncio.sleep(WATCH_S)


def _entry(asked: Asked, action: str, model: str, detail: Mapping[str, object]) -> Entry:
    return Entry(asked.actor, action, model, "asked", detail, source=asked.source, request_id=asked.request_id)
