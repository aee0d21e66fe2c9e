"""Where values are kept, as the engine sees it, and that in this worker's memory; ``redis_shelf`` has the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from service.sections import Cache as Wanted

if TYPE_CHECKING:
    from service.cache.memory import MemoryCache


class Standing(NamedTuple):
    """What a worker keeps itself, in number and bytes; how many were driven out, and how often Redis did not answer."""

    values: int = 0
    nbytes: int = 0
    evicted: int = 0
    unanswered: int = 0


class Shelf(Protocol):
    """``immediate``: ``peek`` says what there is, and nobody has to wait."""

    immediate: bool

    @property
    def standing(self) -> Standing:
        """How it stands."""

    def peek(self, key: bytes) -> bytes | None:
        """The value, where it is at hand."""

    async def get(self, key: bytes) -> bytes | None:
        """The value."""

    def put(self, key: bytes, value: bytes, ttl_s: float, owner: object) -> None:
        """Keeps it, now or soon."""

    def discard(self, key: bytes) -> None:
        """Lets go of it."""

    async def drop(self, owner: object) -> None:
        """Lets go of all that is somebody's."""

    async def start(self) -> None:
        """The app is served."""

    async def close(self) -> None:
        """The app has done its last."""


class MemoryShelf:
    """In memory."""

    immediate = True

    def __init__(self, cache: MemoryCache) -> None:
        self.cache = cache
        self.peek: Callable[[bytes], bytes | None] = cache.peek

    @property
    def standing(self) -> Standing:
        """How it stands."""
        return Standing(len(self.cache), self.cache.nbytes, self.cache.evicted)

    async def get(self, key: bytes) -> bytes | None:
        """The value."""
        return self.cache.peek(key)

    def put(self, key: bytes, value: bytes, ttl_s: float, owner: object) -> None:
        """Keeps it."""
        self.cache.put(key, value, ttl_s, owner)

    def discard(self, key: bytes) -> None:
        """Lets go of it."""
        self.cache.discard(key)

    async def drop(self, owner: object) -> None:
        """Lets go of all that is somebody's, and lets others have their turn meanwhile."""
        for _ in self.cache.drop(owner):
            await asyncio.sleep(0)

    async def start(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""


def open_shelf(wanted: Wanted, password: str | None) -> Shelf:
    """What the configuration asks for. Imports aiocache, which takes a while, and which most servers have no use for."""
    if wanted.url is None:
        from service.cache.memory import MemoryCache

        return MemoryShelf(MemoryCache(wanted.max_bytes))
    from service.cache.redis_shelf import RedisShelf

    return RedisShelf(wanted.url, password, wanted.timeout_ms / 1000)
