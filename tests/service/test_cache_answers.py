"""Answers of one version: kept, found, thrown away where damaged; and the cache that rests while it does not pay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching import Answer
from models.manifest import Cache as Wanted
from service.cache.answers import LARGE, Answers
from service.cache.flight import Given
from service.cache.heart import Asked
from service.cache.key import Keys
from service.cache.memory import MemoryCache
from service.cache.redis_shelf import RedisShelf
from service.cache.shelf import MemoryShelf, Shelf, Standing
from service.cache.worth import SPAN, Span
from service.protocol.infer import Encoded, Infer
from tests.e2e.redis_server import RedisServer, redis_server

#: Longer than Redis takes on a busy machine (seconds).
PATIENT_S = 10.0


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


class Kitchen:
    """A version whose answers are twice what was asked, and how often that was computed."""

    def __init__(self, shelf: Shelf, *, auto: bool = False, call_s: float = 1.0, model: str = "m") -> None:
        self.calls = 0
        self.call_s = call_s
        self.answers = Answers(Keys(model, "1", ""), Wanted(ttl_s=60.0, auto=auto), shelf, "model 'm' version 1")

    async def ask(self, number: float, size: int = 1) -> Given:
        infer = Infer({"x": np.full((1, size), number)}, 1, ())

        def compute(timeout_s: float) -> asyncio.Future[Answer]:
            self.calls += 1
            future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            outputs = {"y": 2 * infer.inputs["x"]}
            asyncio.get_running_loop().call_soon(future.set_result, Answer(outputs, 0.0, self.call_s, 1, "early"))
            return future

        answer = await self.answers.submit(self.answers.key(infer), compute, 5.0)
        assert isinstance(answer, Given)
        assert (answer.outputs["y"] == 2 * number).all()
        return answer


async def kept(kitchen: Kitchen, number: float, size: int = 1) -> None:
    """Asks until the answer is one that was kept."""
    for _ in range(1000):
        if (await kitchen.ask(number, size)).how == "hit":
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it was never kept")


async def everything_packed() -> None:
    """What is made into values in threads has been, and has come back."""
    await asyncio.get_running_loop().shutdown_default_executor()
    for _ in range(3):
        await asyncio.sleep(0)


def in_memory() -> MemoryShelf:
    return MemoryShelf(MemoryCache(1 << 24), MemoryCache(1 << 22))


@asynccontextmanager
async def in_redis(server: RedisServer, timeout_s: float = PATIENT_S) -> AsyncIterator[RedisShelf]:
    shelf = RedisShelf(server.url, None, timeout_s)
    await shelf.start()
    try:
        yield shelf
    finally:
        await shelf.close()


async def test_what_was_answered_is_answered_again_without_computing_it() -> None:
    kitchen = Kitchen(in_memory())
    assert [(await kitchen.ask(number)).how for number in (1, 1, 2, 1)] == ["miss", "hit", "miss", "hit"]
    assert kitchen.calls == 2
    assert kitchen.answers.counts() == {"hit": 2, "miss": 2, "joined": 0, "damaged": 0}


async def test_a_hundred_who_ask_at_once_have_it_computed_once() -> None:
    kitchen = Kitchen(in_memory())
    answers = await asyncio.gather(*[kitchen.ask(3.0) for _ in range(100)])
    assert kitchen.calls == 1
    assert sorted({answer.how for answer in answers}) == ["joined", "miss"]


async def test_a_damaged_value_is_computed_anew() -> None:
    shelf = in_memory()
    kitchen = Kitchen(shelf)
    await kitchen.ask(1.0)
    key = kitchen.answers.key(Infer({"x": np.full((1, 1), 1.0)}, 1, ()))
    value = shelf.peek(key)
    assert value is not None
    shelf.put(key, value[:-1] + b"\xff", 60.0, None)
    assert [(await kitchen.ask(1.0)).how for _ in range(2)] == ["miss", "hit"]
    assert kitchen.answers.damaged == 1


async def test_a_large_answer_is_kept_too() -> None:
    kitchen = Kitchen(in_memory())
    size = LARGE // 8 + 1
    await kitchen.ask(1.0, size)
    await kept(kitchen, 1.0, size)


async def test_what_a_version_kept_goes_with_it_and_nothing_else_does() -> None:
    shelf = in_memory()
    kitchen, other = Kitchen(shelf), Kitchen(shelf, model="n")
    await kitchen.ask(1.0)
    await other.ask(1.0)
    await kitchen.answers.drop()
    assert (await kitchen.ask(1.0)).how == "miss"
    assert (await other.ask(1.0)).how == "hit"


async def test_what_lands_once_a_version_has_ended_is_not_kept() -> None:
    shelf = in_memory()
    kitchen = Kitchen(shelf)
    under_way = [asyncio.create_task(kitchen.ask(1.0)), asyncio.create_task(kitchen.ask(1.0, LARGE // 8 + 1))]
    await asyncio.sleep(0)
    kitchen.answers.end()
    await asyncio.gather(*under_way)
    assert kitchen.answers.rests
    await everything_packed()
    assert shelf.standing.values == 0


async def test_a_large_answer_that_is_packed_while_its_version_ends_is_not_kept() -> None:
    shelf = in_memory()
    kitchen = Kitchen(shelf)
    await kitchen.ask(1.0, LARGE // 8 + 1)
    kitchen.answers.end()
    await kitchen.answers.drop()
    await everything_packed()
    assert shelf.standing.values == 0


async def test_what_is_said_of_a_version_that_has_ended_is_not_known_by_heart() -> None:
    shelf = in_memory()
    kitchen = Kitchen(shelf)
    infer, asked = Infer({"x": np.full((1, 1), 1.0)}, 1, ()), Asked(None, b"words", None)
    await kitchen.ask(1.0)
    hit = await kitchen.ask(1.0)
    kitchen.answers.end()
    kitchen.answers.learn(asked, infer, hit, Encoded(b"answer"))
    await kitchen.answers.drop()
    kitchen.answers.learn(asked, infer, hit, Encoded(b"answer"))
    assert shelf.standing == Standing()


async def test_a_cache_that_costs_more_than_it_saves_says_so_and_rests_where_it_may() -> None:
    for auto in (False, True):
        kitchen = Kitchen(in_memory(), auto=auto, call_s=0.0)
        for number in range(SPAN):
            await kitchen.ask(number)
        assert kitchen.answers.costly
        assert kitchen.answers.rests == auto


async def test_a_cache_that_pays_goes_on() -> None:
    kitchen = Kitchen(in_memory(), auto=True, call_s=1.0)
    for number in range(SPAN):
        await kitchen.ask(number % 10)
    assert not kitchen.answers.costly


@given(st.integers(0, 1000), st.integers(0, 1000), st.floats(0, 1), st.floats(0, 100))
def test_it_pays_where_the_hits_would_have_taken_longer_than_all_lookups(
    hits: int, computed: int, each_s: float, own_s: float
) -> None:
    span = Span(hits + computed, hits, computed, computed * each_s, own_s)
    assert span.pays() == (not computed or hits * (computed * each_s / computed) > own_s)


async def test_redis_keeps_it_for_every_worker(redis: RedisServer) -> None:
    redis.ask("flushall")
    async with in_redis(redis) as one, in_redis(redis) as two:
        first, second = Kitchen(one), Kitchen(two)
        assert (await first.ask(1.0)).how == "miss"
        await kept(second, 1.0)
        assert 0 < int(redis.ask("ttl", redis.ask("keys", "tureen:answer:*").split()[0])) <= 60


async def test_many_who_ask_redis_at_once_have_it_computed_once(redis: RedisServer) -> None:
    redis.ask("flushall")
    async with in_redis(redis) as shelf:
        kitchen = Kitchen(shelf)
        await asyncio.gather(*[kitchen.ask(3.0) for _ in range(100)])
        assert kitchen.calls == 1


async def test_a_value_that_somebody_put_into_redis_is_no_more_than_a_miss(redis: RedisServer) -> None:
    redis.ask("flushall")
    async with in_redis(redis) as shelf:
        kitchen = Kitchen(shelf)
        key = kitchen.answers.key(Infer({"x": np.full((1, 1), 1.0)}, 1, ()))
        redis.ask("set", f"tureen:answer:{key.hex()}", "cos\nsystem\n(S'true'\ntR.")
        assert (await kitchen.ask(1.0)).how == "miss"
        assert kitchen.answers.damaged == 1


async def test_without_redis_everything_is_computed() -> None:
    shelf = RedisShelf("redis://127.0.0.1:1/0", None, 0.5)
    await shelf.start()
    kitchen = Kitchen(shelf)
    assert [(await kitchen.ask(1.0)).how for _ in range(3)] == ["miss"] * 3
    assert shelf.standing.unanswered == 3
    await shelf.close()
