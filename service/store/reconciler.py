"""Brings a worker's engine to what the control store says is wanted, and tells on its line of the board how far it is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import Executor
from dataclasses import replace
from typing import Final, NamedTuple

from models import ModelError, UnknownModel
from models.live import read
from service.engine import Engine
from service.errors import ConfigError, StoreUnavailable
from service.processes.board import Line, Phase
from service.store.control import ControlStore, Snapshot, prepare
from service.store.reconcile import Failure, Told, baseline, due
from service.store.stir import Stir
from service.store.wishes import Wanted, Wish

log = logging.getLogger("tureen.follower")

#: How often the store is looked at, and after a failure (seconds).
LOOK_S: Final = 0.05
TROUBLED_LOOK_S: Final = 0.5


class _InVain(NamedTuple):
    """A wish that was tried, and what came of it."""

    wish: Wish
    failure: Failure
    error: Exception


class Reconciler:
    """One worker's. Everything runs on the event loop; the store is read in ``threads``."""

    def __init__(self, engine: Engine, line: Line, store: ControlStore | None, threads: Executor) -> None:
        self._engine, self._line = engine, line
        self._store, self._threads = store, threads
        self._following = asyncio.Lock()
        self._seen: Snapshot | None = None
        self._have: dict[str, int] = {}
        self._configured: dict[str, int] = {}
        self._failed: dict[int, _InVain] = {}
        self._troubled = False
        self._stir = None if store is None else Stir(store.path)

    def stands_at(self, model: str) -> int:
        """The generation of the last wish that was brought about for a model; 0 for what the repository says."""
        return max(self._have.get(model, 0), self._configured.get(model, 0))

    def failure(self, wish: Wish) -> Exception | None:
        """Why that wish was tried in vain here."""
        tried = self._failed.get(wish.generation)
        return None if tried is None else tried.error

    def tell(self) -> None:
        """Writes on the board whether the worker is ready, and why not."""
        line, unready = self._line, self._engine.unready
        if self._engine.draining and line.phase is Phase.SERVING:
            line.phase = Phase.DRAINING
        text = Told(unready, tuple(tried.failure for tried in self._failed.values())).text()
        if text != line.text:
            line.text = text
        line.ready = not unready

    async def begin(self) -> None:
        """Loads what is settled."""
        async with self._following:
            snapshot = await self._first_look()
            base = baseline(snapshot.wishes if snapshot is not None else ())
            for model, changed in base.changed.items():
                self._engine.settings.put(model, read(changed))
            await self._engine.start(base.overrides, base.unloaded)
            self._have, self._configured = dict(base.have), dict(base.configured)

    async def follow(self) -> None:
        """Brings about what is wanted now. Raises StoreUnavailable; what will not load is told on the board."""
        store = self._store
        if store is None:
            return
        async with self._following:
            known = self._seen.version if self._seen is not None else None
            try:
                snapshot = await asyncio.get_running_loop().run_in_executor(self._threads, store.look, known)
            except StoreUnavailable as error:
                self._trouble(error)
                raise
            self._no_trouble()
            if snapshot is None:
                return
            while todo := due(snapshot.wishes, self._have, self._configured, self._failed.keys()):
                for step in todo:
                    await self._take(step)
            there = {wish.generation: wish for wish in snapshot.wishes}
            self._failed = {
                number: tried._replace(failure=replace(tried.failure, settled=there[number].settled))
                for number, tried in self._failed.items()
                if number in there
            }
            self.tell()
            self._line.followed = snapshot.generation
            self._seen = snapshot

    async def keep_following(self) -> None:
        """Follows whenever something has changed, until cancelled."""
        while True:
            await asyncio.sleep(TROUBLED_LOOK_S if self._troubled else LOOK_S)
            if self._stir is None or not self._stir.stirred():
                continue
            try:
                await self.follow()
            except StoreUnavailable:
                self._stir.forget()
            except Exception:
                self._stir.forget()
                log.exception("a defect in following the control store; it is tried again")
                await asyncio.sleep(TROUBLED_LOOK_S)

    async def _take(self, step: Wish) -> None:
        have = self._configured if step.wanted is Wanted.CONFIGURED else self._have
        back = step.generation < have.get(step.model, 0)
        try:
            match step.wanted:
                case Wanted.LOADED:
                    await self._engine.load(step.model, step.config)
                case Wanted.UNLOADED:
                    with contextlib.suppress(UnknownModel):  # then there is nothing to unload
                        await self._engine.unload(step.model)
                case Wanted.CONFIGURED:
                    await self._engine.configure(step.model, read(step.config))
        except Exception as error:
            if not isinstance(error, ModelError):
                log.exception("model %r could not be %s", step.model, step.wanted)
            if not back:
                reason = str(error) if isinstance(error, ModelError) else "the worker failed; its log has the reason"
                self._failed[step.generation] = _InVain(step, Failure(step.generation, step.model, reason), error)
                return
            log.warning("model %r stays as it is, although that is not wanted any more: %s", step.model, error)
        have[step.model] = step.generation
        self._failed = {number: tried for number, tried in self._failed.items() if not _settles(step, tried.wish)}
        if not step.generation:
            del have[step.model]

    async def _first_look(self) -> Snapshot | None:
        store, loop = self._store, asyncio.get_running_loop()
        if store is None:
            return None
        try:
            await loop.run_in_executor(self._threads, prepare, store.path.parent)
            return await loop.run_in_executor(self._threads, store.look)
        except (ConfigError, StoreUnavailable) as error:
            # A worker that is replaced while the store is out of order serves what it can: better than not to serve.
            self._trouble(error)
            return None

    def _trouble(self, error: Exception) -> None:
        if not self._troubled:
            self._troubled = True
            log.warning("%s; models are served as they are, and it is tried again", error, exc_info=error.__cause__)

    def _no_trouble(self) -> None:
        if self._troubled:
            self._troubled = False
            log.info("the control store can be used again")


def _settles(done: Wish, other: Wish) -> bool:
    """Whether what is done takes the place of another wish, so that it is of no account any more that it failed."""
    alike = (done.wanted is Wanted.CONFIGURED) == (other.wanted is Wanted.CONFIGURED)
    return alike and done.model == other.model and other.generation <= done.generation
