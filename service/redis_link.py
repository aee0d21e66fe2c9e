"""The connection to Redis, which comes and goes: whoever asks meanwhile finds that there is none, and waits for nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = logging.getLogger("tureen.redis")

#: How often Redis is tried while it is away, and how long that may take (seconds).
TRY_S: Final = 0.5
TRYING_S: Final = 1.0


Prepare = Callable[[Redis], Awaitable[object]]


class RedisLink:
    """``redis`` is None while Redis is away, which is when it is tried in the background. ``prepare`` is done with each new
    connection; ``keeps`` says what Redis keeps, and ``instead`` what becomes of that while it is away."""

    def __init__(self, url: str, password: str | None, prepare: Prepare, keeps: str, instead: str) -> None:
        self.redis: Redis | None = None
        self._url, self._password = url, password
        self._prepare, self._keeps, self._instead = prepare, keeps, instead
        self._lost: Redis | None = None
        self._trying: asyncio.Task[None] | None = None
        self._told = False

    async def start(self) -> None:
        """Tries Redis once, and goes on in the background where it is away."""
        if not await self._connect():
            self._trying = asyncio.get_running_loop().create_task(self._try())

    async def close(self) -> None:
        """Nobody asks any more."""
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.wait([self._trying])
        redis, self.redis = self.redis, None
        if redis is not None:
            await _leave(redis)
        await self._leave_lost()

    def lose(self, error: Exception) -> None:
        """Redis did not do as it should: it is left, and found again in the background."""
        redis, self.redis = self.redis, None
        if redis is None:
            return
        self._tell(error)
        self._lost = redis
        self._trying = asyncio.get_running_loop().create_task(self._try())

    async def _try(self) -> None:
        """Until Redis is there."""
        await self._leave_lost()
        while True:
            if await self._connect():
                return
            await asyncio.sleep(TRY_S)

    async def _connect(self) -> bool:
        """A new client, for the connections of an old one may hold answers to what nobody waits for any more."""
        redis = self._client()
        try:
            async with asyncio.timeout(TRYING_S):
                await self._prepare(redis)
        except (RedisError, OSError, TimeoutError, asyncio.CancelledError) as error:
            await _leave(redis)
            if isinstance(error, asyncio.CancelledError):
                raise
            self._tell(error)
            return False
        if self._told:
            log.info("Redis answers again, and keeps %s", self._keeps)
        self.redis, self._told = redis, False
        return True

    async def _leave_lost(self) -> None:
        lost, self._lost = self._lost, None
        if lost is not None:
            await _leave(lost)

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            said = str(error) or type(error).__name__
            log.warning("Redis does not keep %s (%s); until it does, %s", self._keeps, said, self._instead)

    def _client(self) -> Redis:
        client: Redis = Redis.from_url(
            self._url, password=self._password, retry=Retry(NoBackoff(), 0), max_connections=4, socket_connect_timeout=TRYING_S
        )
        return client


async def _leave(redis: Redis) -> None:
    with suppress(RedisError, OSError):
        await redis.aclose()
