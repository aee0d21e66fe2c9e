"""The connection to Redis, which comes and goes: whoever asks meanwhile finds that there is none, and waits for nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

log = logging.getLogger("tureen.redis")

#: How often Redis is tried while it is away, and how long that may take (seconds).
TRY_S: Final = 0.5
TRYING_S: Final = 1.0
#: How many commands are under way at once, each on a connection of its own; more wait for their turn.
CONNECTIONS: Final = 8

Prepare = Callable[[Redis], Awaitable[object]]
Said = TypeVar("Said")


class NoAnswer(Exception):
    """Redis is away or was lost, or it had no connection free in time."""


class RedisLink:
    """``redis`` is None while Redis is away, which is when it is tried in the background. ``prepare`` is done with each new
    connection; ``keeps`` says what Redis keeps, and ``instead`` what becomes of that while it is away.

    Who uses ``redis`` himself rather than ``ask`` has one command under way at a time, and none when he says ``lose`` or ``close``.
    """

    def __init__(self, url: str, password: str | None, prepare: Prepare, keeps: str, instead: str) -> None:
        self.redis: Redis | None = None
        self._url, self._password = url, password
        self._prepare, self._keeps, self._instead = prepare, keeps, instead
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._answered_at = 0.0
        self._leaving: set[asyncio.Task[None]] = set()
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
            self._leave(redis)
        if self._leaving:
            await asyncio.wait(self._leaving)

    async def ask(self, work: Callable[[Redis], Awaitable[Said]], timeout_s: float) -> Said:
        """What comes of the work, a command, within so long. Raises NoAnswer."""
        redis, slots, clock = self.redis, self._slots, asyncio.get_running_loop().time
        if redis is None:
            raise NoAnswer
        asked_at, begun = clock(), False
        try:
            async with asyncio.timeout(timeout_s), slots:
                if redis is self.redis:  # not lost while this waited for its turn
                    begun = True
                    said = await work(redis)
                    self._answered_at = clock()
                    return said
        except TimeoutError as error:
            # Where there was no turn it is we who are busy, and who has answered others meanwhile is there.
            if begun and self._answered_at < asked_at:
                self.lose(redis, error)
        except Exception as error:  # whatever a client raises whose connections fail, it is no answer
            self.lose(redis, error)
        raise NoAnswer

    def lose(self, redis: Redis, error: Exception) -> None:
        """That client did not do as it should: it is left, and Redis found again in the background."""
        if redis is not self.redis:  # one that was left before; the others are no worse for it
            return
        self.redis = None
        self._tell(error)
        self._leave(redis)
        self._trying = asyncio.get_running_loop().create_task(self._try())

    async def _try(self) -> None:
        """Until Redis is there."""
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
        except Exception as error:  # whatever it is, it is tried again
            await _close(redis)
            self._tell(error)
            return False
        except asyncio.CancelledError:
            await _close(redis)
            raise
        if self._told:
            log.info("Redis answers again, and keeps %s", self._keeps)
        self.redis, self._told = redis, False
        self._slots, self._answered_at = asyncio.Semaphore(CONNECTIONS), 0.0
        return True

    def _leave(self, redis: Redis) -> None:
        task = asyncio.get_running_loop().create_task(_leave(redis, self._slots))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            said = str(error) or type(error).__name__
            log.warning("Redis does not keep %s (%s); until it does, %s", self._keeps, said, self._instead)

    def _client(self) -> Redis:
        # No bound of its own, at which a pool does not wait but fails.
        client: Redis = Redis.from_url(
            self._url, password=self._password, retry=Retry(NoBackoff(), 0), socket_connect_timeout=TRYING_S
        )
        return client


async def _leave(redis: Redis, slots: asyncio.Semaphore) -> None:
    """Closes a client once no command of it is under way: whose connection is closed under it fails in ways that have no name, and
    what connects after the others were closed stays open."""
    for _ in range(CONNECTIONS):
        await slots.acquire()
    await _close(redis)


async def _close(redis: Redis) -> None:
    with suppress(Exception):
        await redis.aclose()
