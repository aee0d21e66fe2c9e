"""Budgets in Redis, which many machines share: one script spends all that a request falls under, by Redis's own clock.

What is asked within one turn of the loop goes in one pipeline, and while that is under way the next gathers. Redis that is slow or
gone costs nobody more than the timeout: who asked is answered out of this machine's memory, and so is everybody after that until
Redis is there again, which is tried in the background.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from operator import methodcaller
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from service.guard.budgets.budget import Allowance, Bound, Left, Spend, SpendAtOnce, State, after, refusal, tightest
from service.guard.budgets.memory import MemoryBudgets
from service.guard.budgets.redis_script import SCRIPT, SHA, arguments, said
from service.guard.budgets.rules import Rules, unbounded
from service.guard.limited import Limited
from service.redis_link import RedisLink

#: How many requests one pipeline takes.
MOST: Final = 256
#: How late our own loop may be before it is its lateness, not Redis's, that let the time pass (seconds).
_LATE_S: Final = 0.01


class _Asked(NamedTuple):
    """One spending that waits: ``instead`` spends it in memory."""

    bounds: tuple[Bound, ...]
    cost: float
    future: asyncio.Future[Allowance | None]
    instead: SpendAtOnce
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
        self.models = rules.models
        self.purse = partial(rules.purse, self.open)
        self._memory, self._limited = memory, limited
        prepare = methodcaller("script_load", SCRIPT)
        self._link = RedisLink(url, password, prepare, "the budgets", "each machine keeps its own")
        self._timeout_s = timeout_s
        self._stood_in = stood_in
        self._waiting: list[_Asked] = []
        self._sending: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """The app is served: Redis is tried once before the first request comes."""
        await self._memory.start()
        await self._link.start()

    async def close(self) -> None:
        """The app has done its last."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        for asked in self._waiting:
            asked.future.cancel()
        await self._link.close()
        await self._memory.close()

    def open(self, bounds: tuple[Bound, ...]) -> Spend:
        """What spends of them. It raises OverBudget, and so does its future."""
        return partial(self._ask, bounds, self._memory.open(bounds)) if bounds else unbounded

    # -- asking ------------------------------------------------------------------------------------------------------------

    def _ask(self, bounds: tuple[Bound, ...], instead: SpendAtOnce, cost: float) -> Left:
        redis = self._link.redis
        if redis is None:
            self._stood_in()
            return instead(cost)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Allowance | None] = loop.create_future()
        self._waiting.append(_Asked(bounds, cost, future, instead, loop.time() + self._timeout_s))
        if self._sending is None:
            self._sending = loop.create_task(self._send_on(redis))
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
            self._link.lose(redis, error)
            batch, self._waiting = batch + self._waiting, []
            for asked in batch:
                if not asked.future.done():
                    self._stood_in()
                    _settle(asked, partial(asked.instead, asked.cost))
        finally:
            self._sending = None

    async def _send(self, redis: Redis, batch: list[_Asked]) -> None:
        answers = await self._in_time(self._evaluate(redis, batch), batch[0].until)
        failed: Exception | None = None
        for asked, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                failed = answer
            elif not asked.future.done():
                _settle(asked, partial(self._judge, asked, answer))
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
            pipeline.execute_command("EVALSHA", SHA, *arguments(asked.bounds, asked.cost))
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
        enough, second, states = said(asked.bounds, answer)
        if enough:
            return tightest([State(bound, after(bound, value, asked.cost)) for bound, value in states], second)
        error = refusal(states, asked.cost, second)
        self._limited.count(error.key)
        raise error


def _settle(asked: _Asked, spend: Callable[[], Allowance | None]) -> None:
    try:
        asked.future.set_result(spend())
    except Exception as error:
        asked.future.set_exception(error)
