"""The link to Redis: many commands at once, turns, and a client that is lost under them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from service.redis_link import CONNECTIONS, NoAnswer, Prepare, RedisLink
from tests.e2e.patience import until
from tests.e2e.redis_server import RedisServer, hanging, redis_server

#: Longer than Redis takes on a busy machine (seconds).
PATIENT_S = 10.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(running: RedisServer) -> RedisServer:
    running.ask("flushall")
    return running


@asynccontextmanager
async def linked(url: str, prepare: Prepare = Redis.ping) -> AsyncIterator[RedisLink]:
    link = RedisLink(url, None, prepare, "answers", "they are computed")
    await link.start()
    try:
        yield link
    finally:
        await link.close()


def client(link: RedisLink) -> Redis:
    assert link.redis is not None
    return link.redis


async def found_again(link: RedisLink) -> Redis:
    assert link._trying is not None
    await asyncio.wait_for(link._trying, PATIENT_S)
    return client(link)


class Held:
    """Work that is under way from ``begun`` on, until it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = asyncio.Event(), asyncio.Event()

    async def work(self, redis: Redis) -> bool:
        self.begun.set()
        await self.let_go.wait()
        return bool(await redis.ping())


async def test_more_commands_at_once_than_there_are_connections_wait_for_their_turn(redis: RedisServer) -> None:
    async with linked(redis.url) as link:
        before = client(link)
        said = await asyncio.gather(*[link.ask(lambda redis: redis.incr("count"), PATIENT_S) for _ in range(8 * CONNECTIONS)])
        assert sorted(said) == list(range(1, 8 * CONNECTIONS + 1))
        assert link.redis is before
        assert len(before.connection_pool._available_connections) <= CONNECTIONS


async def test_who_has_no_turn_in_time_has_no_answer_and_loses_redis_for_nobody(redis: RedisServer) -> None:
    async with linked(redis.url) as link:
        before, held = client(link), [Held() for _ in range(CONNECTIONS)]
        under_way = [asyncio.create_task(link.ask(one.work, PATIENT_S)) for one in held]
        for one in held:
            await one.begun.wait()
        with pytest.raises(NoAnswer):
            await link.ask(Redis.ping, 0.01)
        assert link.redis is before
        for one in held:
            one.let_go.set()
        assert all(await asyncio.gather(*under_way))


async def test_who_is_slow_while_others_are_answered_loses_redis_for_nobody(redis: RedisServer) -> None:
    async with linked(redis.url) as link:
        before, held = client(link), Held()
        slow = asyncio.create_task(link.ask(held.work, 0.1))
        await held.begun.wait()
        await link.ask(Redis.ping, PATIENT_S)
        with pytest.raises(NoAnswer):
            await slow
        assert link.redis is before


async def test_a_redis_that_answers_nobody_is_lost(redis: RedisServer) -> None:
    async with hanging(redis.port) as (port, hang), linked(f"redis://127.0.0.1:{port}/0") as link:
        await link.ask(Redis.ping, PATIENT_S)
        hang.set()
        with pytest.raises(NoAnswer):
            await link.ask(Redis.ping, 0.05)
        assert link.redis is None


async def test_a_command_under_way_is_answered_though_its_client_was_lost(redis: RedisServer) -> None:
    async with linked(redis.url) as link:
        before = client(link)
        popped = asyncio.create_task(link.ask(lambda redis: redis.blpop(["list"], 0), PATIENT_S))
        await asyncio.to_thread(until, lambda: "blocked_clients:1" in redis.ask("info", "clients"), "it waits for a word")
        link.lose(before, OSError("another was gone"))
        after = await found_again(link)
        assert after is not before
        await link.ask(lambda redis: redis.rpush("list", "word"), PATIENT_S)
        assert await popped in ((b"list", b"word"), [b"list", b"word"])


async def test_what_connects_after_its_client_was_lost_is_closed_too(redis: RedisServer) -> None:
    held = Held()
    async with linked(redis.url) as link:
        before = client(link)
        late = [asyncio.create_task(link.ask(held.work, PATIENT_S)) for _ in range(3)]
        await held.begun.wait()
        link.lose(before, OSError("gone"))
        await found_again(link)
        held.let_go.set()
        assert all(await asyncio.gather(*late))
    assert not any(connection.is_connected for connection in before.connection_pool._available_connections)
    assert not before.connection_pool._in_use_connections


async def test_who_waits_for_his_turn_when_the_client_is_lost_has_no_answer(redis: RedisServer) -> None:
    async with linked(redis.url) as link:
        before, held = client(link), [Held() for _ in range(CONNECTIONS)]
        under_way = [asyncio.create_task(link.ask(one.work, PATIENT_S)) for one in held]
        for one in held:
            await one.begun.wait()
        waiting = asyncio.create_task(link.ask(Redis.ping, PATIENT_S))
        await asyncio.sleep(0)
        link.lose(before, OSError("gone"))
        held[0].let_go.set()
        with pytest.raises(NoAnswer):
            await waiting
        for one in held:
            one.let_go.set()
        assert all(await asyncio.gather(*under_way))


async def test_a_late_failure_of_a_client_that_was_left_does_not_lose_the_new_one(redis: RedisServer) -> None:
    async with linked(redis.url) as link:
        before = client(link)
        link.lose(before, OSError("gone"))
        after = await found_again(link)
        link.lose(before, OSError("gone too"))
        assert link.redis is after


@pytest.mark.parametrize("error", [AttributeError("no writer"), RuntimeError("the transport is closed"), OSError("reset")])
async def test_whatever_a_client_raises_is_no_answer(redis: RedisServer, error: Exception) -> None:
    async def fail(_: Redis) -> None:
        raise error

    async with linked(redis.url) as link:
        with pytest.raises(NoAnswer):
            await link.ask(fail, PATIENT_S)
        await found_again(link)
        assert await link.ask(Redis.ping, PATIENT_S)


async def test_whatever_a_new_client_raises_it_is_tried_again(redis: RedisServer) -> None:
    errors: list[Exception] = []

    async def prepare(redis: Redis) -> None:
        await redis.ping()
        if errors:
            raise errors.pop()

    async with linked(redis.url, prepare) as link:
        errors.append(AttributeError("no writer"))
        link.lose(client(link), OSError("gone"))
        await found_again(link)
        assert not errors


async def test_who_leaves_in_the_middle_of_a_command_loses_redis_for_nobody(redis: RedisServer) -> None:
    async with linked(redis.url) as link:
        before = client(link)
        for _ in range(2 * CONNECTIONS):
            held = Held()
            leaver = asyncio.create_task(link.ask(held.work, PATIENT_S))
            await held.begun.wait()
            leaver.cancel()
            await asyncio.wait([leaver])
        assert await link.ask(Redis.ping, PATIENT_S)
        assert link.redis is before
