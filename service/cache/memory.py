"""Values in this worker's memory: bounded in bytes, those that were not asked for the longest go first.

It is an aiocache cache, so an app's own code can use it as one. The engine looks into it without waiting: on the way of a request
a coroutine a look would cost more than many an answer. aiocache's own memory has no bound and sets a timer for each value.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from aiocache.base import BaseCache
from aiocache.serializers import NullSerializer

#: What an entry takes beside its value: the key, the entry, its places in two tables (bytes).
OVERHEAD: Final = 300
#: A value larger than this part of all is not worth driving the others out for.
LARGEST: Final = 1 / 8


class Kept(NamedTuple):
    """A value: whose it is, when it is over, and what it takes (bytes)."""

    value: Any
    owner: object
    until: float
    size: int


class MemoryCache(BaseCache):  # type: ignore[misc]  # aiocache has no types
    """``most_bytes`` bounds values with all that they take; ``clock`` is in seconds."""

    NAME = "tureen"

    def __init__(self, most_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(serializer=NullSerializer(), timeout=0)
        self.most_bytes = most_bytes
        self.nbytes = self.evicted = 0
        self._clock = clock
        self._kept: OrderedDict[object, Kept] = OrderedDict()
        self._owned: dict[object, set[object]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    # -- without waiting -------------------------------------------------------------------------------------------------------

    def peek(self, key: object) -> Any:
        """The value, if it is kept and not over; else None."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.until <= self._clock():
            self.discard(key)
            return None
        self._kept.move_to_end(key)
        return kept.value

    def put(self, key: object, value: Any, ttl_s: float, owner: object = None, nbytes: int | None = None) -> bool:
        """Keeps it, and lets go of others for it; whether it was kept. ``nbytes``: what is not bytes takes so many."""
        size = (len(value) if nbytes is None else nbytes) + OVERHEAD
        if size > self.most_bytes * LARGEST:
            return False
        self.discard(key)
        self._kept[key] = Kept(value, owner, self._clock() + ttl_s, size)
        self._owned.setdefault(owner, set()).add(key)
        self.nbytes += size
        while self.nbytes > self.most_bytes:
            self.discard(next(iter(self._kept)))
            self.evicted += 1
        return True

    def discard(self, key: object) -> bool:
        """Lets go of a value; whether there was one."""
        kept = self._kept.pop(key, None)
        if kept is None:
            return False
        self.nbytes -= kept.size
        owned = self._owned[kept.owner]
        owned.discard(key)
        if not owned:
            del self._owned[kept.owner]
        return True

    def drop(self, owner: object, at_once: int = 1000) -> Iterator[int]:
        """Lets go of all that is somebody's, so many in a step: a million at once would hold the loop."""
        while (owned := self._owned.get(owner)) is not None:
            some = [key for key, _ in zip(owned, range(at_once), strict=False)]
            for key in some:
                self.discard(key)
            yield len(some)

    # -- as aiocache has it ----------------------------------------------------------------------------------------------------

    async def _get(self, key: str, encoding: str | None = None, _conn: Any = None) -> Any:
        return self.peek(key)

    _gets = _get

    async def _multi_get(self, keys: Iterable[str], encoding: str | None = None, _conn: Any = None) -> list[bytes | None]:
        return [self.peek(key) for key in keys]

    async def _set(self, key: str, value: bytes, ttl: float | None = None, _cas_token: Any = None, _conn: Any = None) -> bool:
        if _cas_token is not None and _cas_token != self.peek(key):
            return False
        return self.put(key, bytes(value), float("inf") if ttl is None else ttl)

    async def _multi_set(self, pairs: Iterable[tuple[str, bytes]], ttl: float | None = None, _conn: Any = None) -> bool:
        return all([await self._set(key, value, ttl) for key, value in pairs])

    async def _add(self, key: str, value: bytes, ttl: float | None = None, _conn: Any = None) -> bool:
        if self.peek(key) is not None:
            raise ValueError(f"the key {key} is kept already; use set to put another value in its place")
        return await self._set(key, value, ttl)

    async def _exists(self, key: str, _conn: Any = None) -> bool:
        return self.peek(key) is not None

    async def _increment(self, key: str, delta: int, _conn: Any = None) -> int:
        kept = self._kept.get(key)
        number = (0 if (value := self.peek(key)) is None else int(value)) + delta
        self.put(key, b"%d" % number, float("inf") if kept is None else kept.until - self._clock())
        return number

    async def _expire(self, key: str, ttl: float, _conn: Any = None) -> bool:
        value = self.peek(key)
        return value is not None and self.put(key, value, ttl or float("inf"), self._kept[key].owner)

    async def _delete(self, key: str, _conn: Any = None) -> int:
        return int(self.discard(key))

    async def _clear(self, namespace: str | None = None, _conn: Any = None) -> bool:
        for key in [key for key in self._kept if namespace is None or str(key).startswith(namespace)]:
            self.discard(key)
        return True
