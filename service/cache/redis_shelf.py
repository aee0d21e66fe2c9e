"""Values in Redis, which all workers and machines share, by aiocache's backend.

Redis may be slow or away. Nobody waits longer for it than its time; while it is away nobody waits at all, and answers are computed
as if there were no cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from aiocache.backends.redis import RedisBackend
from aiocache.base import BaseCache
from aiocache.serializers import NullSerializer
from redis.asyncio import Redis

from service.cache.heart import Known
from service.cache.shelf import Standing
from service.redis_link import CONNECTIONS, NoAnswer, RedisLink

#: So many values may be on their way to Redis; what comes on top is not kept.
MOST_UNDER_WAY: Final = 256
#: How long one of them may take (seconds).
WRITE_S: Final = 1.0
#: So many are written at once: who keeps answers leaves connections to those who wait for theirs.
WRITERS: Final = CONNECTIONS // 2
_PREFIX: Final = "tureen:answer:"


class RedisShelf:
    """Nobody waits longer than ``timeout_s`` for a value."""

    immediate = False

    def __init__(self, url: str, password: str | None, timeout_s: float) -> None:
        self._link = RedisLink(url, password, Redis.ping, "answers", "they are computed")
        self._timeout_s = timeout_s
        self._unanswered = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Semaphore(WRITERS)

    @property
    def standing(self) -> Standing:
        """How it stands."""
        return Standing(unanswered=self._unanswered)

    def peek(self, key: bytes) -> None:
        """Nothing is at hand."""

    def recall(self, words: object) -> None:
        """Nothing: whether a value is still kept takes a way there to know."""

    def learn(self, words: object, known: Known, nbytes: int, ttl_s: float, owner: object) -> None:
        """Nothing."""

    async def get(self, key: bytes) -> bytes | None:
        """The value; None where Redis is away, or slower than the time that it has, our turn to ask it included."""
        try:
            value: bytes | None = await self._link.ask(lambda redis: Values(redis).get(_PREFIX + key.hex()), self._timeout_s)
        except NoAnswer:
            self._unanswered += 1
            return None
        return value

    def put(self, key: bytes, value: bytes, ttl_s: float, owner: object) -> None:
        """Keeps it soon; not at all where Redis does not keep up."""
        if len(self._under_way) < MOST_UNDER_WAY:
            self._begin(self._put(key, value, ttl_s))

    def discard(self, key: bytes) -> None:
        """Lets go of it soon."""
        self._begin(self._discard(key))

    async def drop(self, owner: object) -> None:
        """Nothing: other workers may have the version yet, and each value ends with its time. A new load has other keys."""

    async def start(self) -> None:
        """The app is served: Redis is tried once before the first request comes."""
        await self._link.start()

    async def close(self) -> None:
        """Nothing more is kept."""
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._link.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        await self._tried(lambda values: values.set(_PREFIX + key.hex(), value, ttl=float(ttl_s)))

    async def _discard(self, key: bytes) -> None:
        await self._tried(lambda values: values.delete(_PREFIX + key.hex()))

    async def _tried(self, work: Callable[[Values], Awaitable[object]]) -> None:
        with suppress(NoAnswer):
            async with self._writing:
                await self._link.ask(lambda redis: work(Values(redis)), WRITE_S)


class Values(RedisBackend):  # type: ignore[misc]  # aiocache has no types
    """aiocache's Redis over a client that there is already; bytes as they are, and no timeout but the caller's."""

    def __init__(self, redis: Redis) -> None:
        BaseCache.__init__(self, serializer=NullSerializer(encoding=None), timeout=0)
        self.client = redis
