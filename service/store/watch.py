"""Keeps what callers are believed by current in one worker: the control store's API keys, and the file of the tokens' keys."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from service.errors import ConfigError, StoreUnavailable
from service.guard.credentials.keyring import Keyring
from service.store.control import ControlStore, prepare
from service.store.stir import Stir

if TYPE_CHECKING:
    from service.guard.credentials.tokens import Tokens

log = logging.getLogger("tureen.watch")

#: How often the store is looked at, after a failure, and how often the file is (seconds). A key that is revoked is good for the
#: first of these and what a look takes, whatever else the worker does.
LOOK_S: Final = 0.1
TROUBLED_LOOK_S: Final = 0.5
FILE_S: Final = 1.0


class Watch:
    """It has a thread of its own: a follower that loads a model for minutes must not keep a revoked key alive.

    While the store cannot be read, what was known is believed, and ends when it was to end.
    """

    def __init__(self, store: ControlStore | None, keyring: Keyring | None, tokens: Tokens | None) -> None:
        self._store, self._keyring, self._tokens = store, keyring, tokens
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tureen-watch")
        self._seen: tuple[int, int] | None = None
        self._troubled = False
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Reads the keys, so that nobody who comes first is turned away, and looks at them from now on."""
        loop, store, keyring = asyncio.get_running_loop(), self._store, self._keyring
        if store is not None and keyring is not None:
            try:
                await loop.run_in_executor(self._thread, prepare, store.path.parent)
                await self._look(store, keyring)
            except (ConfigError, StoreUnavailable) as error:
                self._trouble(error)
            self._tasks.append(loop.create_task(self._keep_looking(store, keyring)))
        if self._tokens is not None:
            self._tasks.append(loop.create_task(self._keep_reading(self._tokens)))

    async def close(self) -> None:
        """Looks no more. The store stays open: it is not the watch's own."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _look(self, store: ControlStore, keyring: Keyring) -> None:
        def look() -> None:
            snapshot = store.look(self._seen)
            if snapshot is not None:
                keyring.replace(snapshot.keys)
                self._seen = snapshot.version

        await asyncio.get_running_loop().run_in_executor(self._thread, look)
        if self._troubled:
            self._troubled = False
            log.info("the API keys can be read again")

    async def _keep_looking(self, store: ControlStore, keyring: Keyring) -> None:
        stir = Stir(store.path)
        while True:
            await asyncio.sleep(TROUBLED_LOOK_S if self._troubled else LOOK_S)
            if not stir.stirred():
                continue
            try:
                await self._look(store, keyring)
            except StoreUnavailable as error:
                stir.forget()
                self._trouble(error)
            except Exception:
                stir.forget()
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
