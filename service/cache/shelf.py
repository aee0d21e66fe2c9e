"""Where values are kept, as the engine sees it, and that in this worker's memory; ``redis_shelf`` has the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from service.sections import Cache as Wanted

if TYPE_CHECKING:
    from service.cache.heart import Known
    from service.cache.memory import MemoryCache

#: Of the memory that there is for answers, what is for requests that are known by heart.
HEART: Final = 1 / 4


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

    def recall(self, words: object) -> Known | None:
        """What is known of those words by heart, while its value is kept."""

    def learn(self, words: object, known: Known, nbytes: int, ttl_s: float, owner: object) -> None:
        """Knows it by heart from now on, where there is memory for that: so many bytes."""

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

    def __init__(self, cache: MemoryCache, heart: MemoryCache) -> None:
        self.cache, self._heart = cache, heart
        self.peek: Callable[[bytes], bytes | None] = cache.peek

    @property
    def standing(self) -> Standing:
        """How it stands."""
        return Standing(len(self.cache), self.cache.nbytes + self._heart.nbytes, self.cache.evicted)

    def recall(self, words: object) -> Known | None:
        """What is known of those words by heart."""
        known: Known | None = self._heart.peek(words)
        if known is None:
            return None
        if self.peek(known.key) is not known.value:  # driven out, over, dropped, or another by now
            self._heart.discard(words)
            return None
        return known

    def learn(self, words: object, known: Known, nbytes: int, ttl_s: float, owner: object) -> None:
        """Knows it by heart from now on."""
        self._heart.put(words, known, ttl_s, owner, nbytes)

    async def get(self, key: bytes) -> bytes | None:
        """The value."""
        return self.peek(key)

    def put(self, key: bytes, value: bytes, ttl_s: float, owner: object) -> None:
        """Keeps it."""
        self.cache.put(key, value, ttl_s, owner)

    def discard(self, key: bytes) -> None:
        """Lets go of it."""
        self.cache.discard(key)

    async def drop(self, owner: object) -> None:
        """Lets go of all that is somebody's, and lets others have their turn meanwhile."""
        for kept in (self._heart, self.cache):
            for _ in kept.drop(owner):
                await asyncio.sleep(0)

    async def start(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""


def open_shelf(wanted: Wanted, password: str | None) -> Shelf:
    """What the configuration asks for. Imports aiocache, which takes a while, and which most servers have no use for."""
    if wanted.url is None:
        from service.cache.memory import MemoryCache

        heart = int(wanted.max_bytes * HEART)
        return MemoryShelf(MemoryCache(wanted.max_bytes - heart), MemoryCache(heart))
    from service.cache.redis_shelf import RedisShelf

    return RedisShelf(wanted.url, password, wanted.timeout_ms / 1000)
