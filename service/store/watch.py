"""Keeps what callers are believed by current in one worker: the control store's API keys, and the file of the tokens' keys."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from service.errors import ConfigError, StoreUnavailable
from service.guard.keyring import Keyring
from service.store.control import ControlStore, Snapshot, prepare

if TYPE_CHECKING:
    from service.guard.tokens import Tokens

log = logging.getLogger("tureen.watch")

#: How often the store is looked at, after a failure, and how often the file is (seconds). A key that is revoked is good for the
#: first of these and what a look takes, whatever else the worker does.
LOOK_S: Final = 0.1
TROUBLED_LOOK_S: Final = 0.5
FILE_S: Final = 1.0


class Watch:
    """It has a thread and a reader of its own: a follower that loads a model for minutes must not keep a revoked key alive.

    While the store cannot be read, what was known is believed, and ends when it was to end.
    """

    def __init__(self, state: Path | None, keyring: Keyring | None, tokens: Tokens | None) -> None:
        self._keyring, self._tokens = keyring, tokens
        self._state = state if keyring is not None else None
        self._store = ControlStore(self._state) if self._state is not None else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tureen-watch")
        self._seen: Snapshot | None = None
        self._troubled = False
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Reads the keys, so that nobody who comes first is turned away, and looks at them from now on."""
        loop = asyncio.get_running_loop()
        if self._store is not None and self._state is not None:
            try:
                await loop.run_in_executor(self._thread, prepare, self._state)
                await self._look(self._store)
            except (ConfigError, StoreUnavailable) as error:
                self._trouble(error)
            self._tasks.append(loop.create_task(self._keep_looking(self._store)))
        if self._tokens is not None:
            self._tasks.append(loop.create_task(self._keep_reading(self._tokens)))

    async def close(self) -> None:
        """Looks no more."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._store is not None:
            with contextlib.suppress(RuntimeError):
                await asyncio.get_running_loop().run_in_executor(self._thread, self._store.close)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _look(self, store: ControlStore) -> None:
        known = None if self._seen is None else self._seen.version
        snapshot = await asyncio.get_running_loop().run_in_executor(self._thread, store.look, known)
        if snapshot is not None and self._keyring is not None:
            self._keyring.replace(snapshot.keys)
            self._seen = snapshot
        if self._troubled:
            self._troubled = False
            log.info("the API keys can be read again")

    async def _keep_looking(self, store: ControlStore) -> None:
        while True:
            await asyncio.sleep(TROUBLED_LOOK_S if self._troubled else LOOK_S)
            try:
                await self._look(store)
            except StoreUnavailable as error:
                self._trouble(error)
            except Exception:
                log.exception("a defect in reading the API keys; it is tried again")
                await asyncio.sleep(TROUBLED_LOOK_S)

    async def _keep_reading(self, tokens: Tokens) -> None:
        while True:
            await asyncio.sleep(FILE_S)
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, tokens.refresh)
            except Exception:
                log.exception("a defect in reading the tokens' keys; it is tried again")

    def _trouble(self, error: Exception) -> None:
        if not self._troubled:
            self._troubled = True
            log.warning("%s; the API keys that were read before are believed, and it is tried again", error)
