"""Brings a worker's engine to what the control store says is wanted, and tells on its line of the board how far it is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import Executor
from dataclasses import replace
from typing import Final

from models import ModelError, UnknownModel
from service.engine import Engine
from service.errors import ConfigError, StoreUnavailable
from service.processes.board import Line, Phase
from service.store.control import ControlStore, Snapshot, prepare
from service.store.reconcile import Failure, Told, baseline, steps
from service.store.wishes import Wanted, Wish

log = logging.getLogger("tureen.follower")

#: How often the store is looked at, and after a failure (seconds).
LOOK_S: Final = 0.05
TROUBLED_LOOK_S: Final = 0.5


class Reconciler:
    """One worker's. Everything runs on the event loop; the store is read in ``threads``."""

    def __init__(self, engine: Engine, line: Line, store: ControlStore | None, threads: Executor) -> None:
        self._engine, self._line = engine, line
        self._store, self._threads = store, threads
        self._following = asyncio.Lock()
        self._seen: Snapshot | None = None
        self._have: dict[str, int] = {}
        self._failed: dict[int, tuple[Failure, Exception]] = {}
        self._troubled = False

    def stands_at(self, model: str) -> int:
        """The generation of the wish that was brought about for a model; 0 for what the repository says."""
        return self._have.get(model, 0)

    def failure(self, wish: Wish) -> Exception | None:
        """Why that wish was tried in vain here."""
        told = self._failed.get(wish.generation)
        return None if told is None else told[1]

    def tell(self) -> None:
        """Writes on the board whether the worker is ready, and why not."""
        line, unready = self._line, self._engine.unready
        if self._engine.draining and line.phase is Phase.SERVING:
            line.phase = Phase.DRAINING
        text = Told(unready, tuple(failure for failure, _ in self._failed.values())).text()
        if text != line.text:
            line.text = text
        line.ready = not unready

    async def begin(self) -> None:
        """Loads what is settled."""
        async with self._following:
            snapshot = await self._first_look()
            base = baseline(snapshot.wishes if snapshot is not None else ())
            await self._engine.start(base.overrides, base.unloaded)
            self._have = dict(base.have)

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
            while due := steps(snapshot.wishes, self._have, self._failed.keys()):
                for step in due:
                    await self._take(step)
            there = {wish.generation: wish for wish in snapshot.wishes}
            self._failed = {
                number: (replace(failure, settled=there[number].settled), error)
                for number, (failure, error) in self._failed.items()
                if number in there
            }
            self.tell()
            self._line.followed = snapshot.generation
            self._seen = snapshot

    async def keep_following(self) -> None:
        """Follows whenever something has changed, until cancelled."""
        while True:
            await asyncio.sleep(TROUBLED_LOOK_S if self._troubled else LOOK_S)
            try:
                await self.follow()
            except StoreUnavailable:
                continue
            except Exception:
                log.exception("a defect in following the control store; it is tried again")
                await asyncio.sleep(TROUBLED_LOOK_S)

    async def _take(self, step: Wish) -> None:
        back = step.generation < self.stands_at(step.model)
        try:
            if step.wanted is Wanted.LOADED:
                await self._engine.load(step.model, step.config)
            else:
                with contextlib.suppress(UnknownModel):  # then there is nothing to unload
                    await self._engine.unload(step.model)
        except Exception as error:
            if not isinstance(error, ModelError):
                log.exception("model %r could not be %s", step.model, step.wanted)
            if not back:
                reason = str(error) if isinstance(error, ModelError) else "the worker failed; its log has the reason"
                self._failed[step.generation] = (Failure(step.generation, step.model, reason), error)
                return
            log.warning("model %r stays as it is, although that is not wanted any more: %s", step.model, error)
        self._have[step.model] = step.generation
        self._failed = {
            number: told for number, told in self._failed.items() if told[0].model != step.model or number > step.generation
        }
        if not step.generation:
            del self._have[step.model]

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
