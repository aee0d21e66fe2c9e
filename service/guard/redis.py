"""Budgets in Redis, which many machines share: one script spends all that a request falls under, by Redis's own clock.

What is asked within one turn of the loop goes in one pipeline, and while that is under way the next gathers. Redis that is slow or
gone costs nobody more than the timeout: who asked is answered out of this machine's memory, and so is everybody after that until
Redis is there again, which is tried in the background.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from service.errors import ConfigError
from service.guard.budget import Allowance, Bound, State, after, refusal, tightest
from service.guard.limited import Limited
from service.guard.memory import MemoryBudgets
from service.guard.principal import Principal
from service.guard.rules import Rules

log = logging.getLogger("tureen.budgets")

#: How many requests one pipeline takes.
MOST: Final = 256
#: How often Redis is tried while it is away, and how long that may take (seconds).
TRY_S: Final = 0.5
TRYING_S: Final = 1.0
#: How late our own loop may be before it is its lateness, not Redis's, that let the time pass (seconds).
_LATE_S: Final = 0.01
_LEGIBLE: Final = re.compile(r"[A-Za-z0-9:._@/+*-]{1,200}")

#: KEYS: one a budget. ARGV: the cost; then for each budget the microseconds that a unit takes to come back, 0 for a quota of the
#: day, and its limit. Gives whether there was enough of all, the second that it is, and how each stood before.
SCRIPT: Final = """
local time = redis.call('TIME')
local second = tonumber(time[1])
local now = second * 1000000 + tonumber(time[2])
local cost = tonumber(ARGV[1])
local values, enough = {}, 1
for place, key in ipairs(KEYS) do
  local every, limit = tonumber(ARGV[2 * place]), tonumber(ARGV[2 * place + 1])
  local value = tonumber(redis.call('GET', key) or '0') or 0
  if every > 0 then
    value = math.max(0, math.min(value - now, limit * every))
    if value + cost * every > limit * every + every * 0.000001 + 0.5 then enough = 0 end
  elseif value + cost > limit then
    enough = 0
  end
  values[place] = value
end
if enough == 1 and cost > 0 then
  for place, key in ipairs(KEYS) do
    local every = tonumber(ARGV[2 * place])
    if every > 0 then
      local value = values[place] + cost * every
      redis.call('SET', key, string.format('%.3f', now + value), 'PX', math.ceil(value / 1000) + 1)
    else
      redis.call('INCRBY', key, cost)
      redis.call('EXPIREAT', key, (math.floor(second / 86400) + 1) * 86400)
    end
  end
end
local said = {enough, second}
for place, value in ipairs(values) do said[place + 2] = string.format('%.3f', value) end
return said
"""
_SHA: Final = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


class _Asked(NamedTuple):
    """One spending that waits: ``instead`` spends it in memory."""

    bounds: Sequence[Bound]
    cost: float
    future: asyncio.Future[Allowance | None]
    instead: Callable[[], Allowance | None]
    until: float


class RedisBudgets:
    """``memory`` stands in while Redis is away, and ``stood_in`` is told of each time; ``timeout_s`` bounds what anybody waits."""

    immediate = False

    def __init__(
        self,
        rules: Rules,
        memory: MemoryBudgets,
        limited: Limited,
        url: str,
        password: str | None,
        timeout_s: float,
        stood_in: Callable[[], None],
    ) -> None:
        self._rules, self._memory, self._limited = rules, memory, limited
        self._url, self._password = url, password
        self._timeout_s = timeout_s
        self._stood_in = stood_in
        self._waiting: list[_Asked] = []
        self._redis: Redis | None = None
        self._sending: asyncio.Task[None] | None = None
        self._trying: asyncio.Task[None] | None = None
        self._told = False

    async def start(self) -> None:
        """The app is served: Redis is tried once before the first request comes."""
        await self._memory.start()
        if not await self._connect():
            self._trying = asyncio.get_running_loop().create_task(self._try())

    async def close(self) -> None:
        """The app has done its last."""
        tasks = [task for task in (self._trying, self._sending) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for asked in self._waiting:
            asked.future.cancel()
        await self._leave()
        await self._memory.close()

    def spend_request(self, principal: Principal, model: str | None) -> Allowance | asyncio.Future[Allowance | None] | None:
        """Spends one request, of every budget that it falls under or of none. Raises OverBudget, a future too; None: no bound."""
        bounds = self._rules.requests(principal, model).bounds
        return self._ask(bounds, 1, lambda: self._memory.spend_request(principal, model)) if bounds else None

    def spend_rows(self, principal: Principal, model: str, rows: int) -> Allowance | asyncio.Future[Allowance | None] | None:
        """Spends the rows of a decoded request. Raises OverBudget, a future too; None: no bound."""
        bounds = self._rules.rows(principal, model).bounds
        return self._ask(bounds, rows, lambda: self._memory.spend_rows(principal, model, rows)) if bounds else None

    def spend(self, bounds: Sequence[Bound], cost: float) -> Allowance | asyncio.Future[Allowance | None] | None:
        """Spends of any bounds, of all or of none; a cost of 0 reads them. Raises OverBudget, a future too."""
        return self._ask(bounds, cost, lambda: self._memory.spend(bounds, cost)) if bounds else None

    # -- asking ------------------------------------------------------------------------------------------------------------

    def _ask(
        self, bounds: Sequence[Bound], cost: float, instead: Callable[[], Allowance | None]
    ) -> Allowance | asyncio.Future[Allowance | None] | None:
        if self._redis is None:
            self._stood_in()
            return instead()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Allowance | None] = loop.create_future()
        self._waiting.append(_Asked(bounds, cost, future, instead, loop.time() + self._timeout_s))
        if self._sending is None:
            self._sending = loop.create_task(self._send_on(self._redis))
        return future

    async def _send_on(self, redis: Redis) -> None:
        """Sends what waits, pipeline after pipeline; begins in the loop's next turn, so that all of this one are in the first."""
        batch: list[_Asked] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                batch = [asked for asked in batch if not asked.future.done()]
                if batch:
                    await self._send(redis, batch)
        except Exception as error:  # whatever it is, nobody is to wait for what does not come
            self._lose(error)
            batch, self._waiting = batch + self._waiting, []
            for asked in batch:
                if not asked.future.done():
                    self._stood_in()
                    _settle(asked, asked.instead)
        finally:
            self._sending = None

    async def _send(self, redis: Redis, batch: list[_Asked]) -> None:
        answers = await self._in_time(self._evaluate(redis, batch), batch[0].until)
        failed: Exception | None = None
        for asked, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                failed = answer
            elif not asked.future.done():
                _settle(asked, lambda asked=asked, answer=answer: self._judge(asked, answer))  # type: ignore[misc]  # bound at once
        if failed is not None:
            raise failed

    async def _evaluate(self, redis: Redis, batch: list[_Asked]) -> list[Any]:
        answers = await self._pipe(redis, batch)
        if any(isinstance(answer, NoScriptError) for answer in answers):  # Redis was started anew, or its scripts were flushed
            await redis.script_load(SCRIPT)
            again = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            for place, answer in zip(again, await self._pipe(redis, [batch[place] for place in again]), strict=True):
                answers[place] = answer
        return answers

    async def _pipe(self, redis: Redis, batch: list[_Asked]) -> list[Any]:
        pipeline = redis.pipeline(transaction=False)
        for asked in batch:
            keys = [key_of(bound) for bound in asked.bounds]
            arguments = [value for bound in asked.bounds for value in (repr(bound.every_s * 1e6), bound.limit)]
            pipeline.execute_command("EVALSHA", _SHA, len(keys), *keys, asked.cost, *arguments)
        return list(await pipeline.execute(raise_on_error=False))

    async def _in_time(self, work: Any, until: float) -> list[Any]:
        """What the work gives. Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)
        try:
            await asyncio.wait([task], timeout=max(0.0, until - loop.time()))
            if not task.done() and loop.time() > until + _LATE_S:
                await asyncio.wait([task], timeout=_LATE_S)  # what came while the loop stood still has yet to be read
            if not task.done():
                raise TimeoutError(f"no answer within {1e3 * self._timeout_s:g} ms")
            return list(task.result())
        finally:
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, RedisError, OSError):
                    await task

    def _judge(self, asked: _Asked, answer: Any) -> Allowance | None:
        enough, second, *values = answer
        states = [
            State(bound, float(value) / 1e6 if bound.every_s else float(value))
            for bound, value in zip(asked.bounds, values, strict=True)
        ]
        if enough:
            return tightest([State(bound, after(bound, value, asked.cost)) for bound, value in states], float(second))
        error = refusal(states, asked.cost, float(second))
        self._limited.count(error.key)
        raise error

    # -- losing and finding Redis ------------------------------------------------------------------------------------------

    def _lose(self, error: Exception) -> None:
        redis, self._redis = self._redis, None
        if redis is None:
            return
        self._tell(error)
        self._trying = asyncio.get_running_loop().create_task(self._try(redis))

    async def _try(self, lost: Redis | None = None) -> None:
        """Until Redis is there."""
        if lost is not None:
            with suppress(RedisError, OSError):
                await lost.aclose()
        while True:
            if await self._connect():
                return
            await asyncio.sleep(TRY_S)

    async def _connect(self) -> bool:
        """A new client, for the connections of an old one may hold answers to what nobody waits for any more."""
        redis = self._client()
        try:
            async with asyncio.timeout(TRYING_S):
                await redis.script_load(SCRIPT)
        except (RedisError, OSError, TimeoutError, asyncio.CancelledError) as error:
            with suppress(RedisError, OSError):
                await redis.aclose()
            if isinstance(error, asyncio.CancelledError):
                raise
            self._tell(error)
            return False
        if self._told:
            log.info("Redis answers again, and keeps the budgets")
        self._redis, self._told = redis, False
        return True

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            said = str(error) or type(error).__name__
            log.warning("Redis does not keep the budgets (%s); until it does, each machine keeps its own", said)

    async def _leave(self) -> None:
        redis, self._redis = self._redis, None
        if redis is not None:
            with suppress(RedisError, OSError):
                await redis.aclose()

    def _client(self) -> Redis:
        client: Redis = Redis.from_url(
            self._url, password=self._password, retry=Retry(NoBackoff(), 0), max_connections=4, socket_connect_timeout=TRYING_S
        )
        return client


def key_of(bound: Bound) -> str:
    """The key in Redis: what belongs to one caller has one hash tag, so that a cluster keeps it on one machine."""
    what, of, who = [*bound.name.split(" ", 2), "*", "*"][:3]
    return f"tureen:{{{_legible(who)}}}:{_legible(what)}:{_legible(of)}"


def _legible(text: str) -> str:
    """The text where it is short and plain, else its hash: callers choose what stands in a token."""
    if _LEGIBLE.fullmatch(text):
        return text
    return "#" + hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _settle(asked: _Asked, spend: Callable[[], Allowance | None]) -> None:
    try:
        asked.future.set_result(spend())
    except Exception as error:
        asked.future.set_exception(error)


def password_of(file: Path | None) -> str | None:
    """The password that a file holds. Raises ConfigError."""
    if file is None:
        return None
    try:
        password = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"[limits] redis_password_file: {file} cannot be read: {reason}") from error
    if not password:
        raise ConfigError(f"[limits] redis_password_file: {file} is empty; write the password there, alone")
    return password
