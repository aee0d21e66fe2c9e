"""Budgets in Redis: spent by one script, and by this machine's memory while Redis is away."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from service.errors import ConfigError, OverBudget
from service.guard.budgets.budget import Allowance, Bound
from service.guard.budgets.memory import MemoryBudgets
from service.guard.budgets.redis import RedisBudgets
from service.guard.budgets.redis_script import key_of
from service.guard.budgets.rules import Rules
from service.guard.budgets.tables import Tables
from service.guard.limited import Limited
from service.guard.principal import Principal, Scope
from service.password import password_of
from service.sections import Limits
from tests.e2e.redis_server import RedisServer, hanging, redis_server

KEY = Principal("key:a", frozenset({Scope.INFER}))
SLOW = Limits(requests_per_s=0.001, requests_burst=100)
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


class Opened:
    """Budgets over one Redis, and how often memory stood in."""

    def __init__(self, limits: Limits, url: str, timeout_s: float = PATIENT_S) -> None:
        rules, table = Rules(limits, {}), Tables.create(1, 64).table(0)
        self.stood_in = 0
        self.budgets = RedisBudgets(rules, MemoryBudgets(rules, table, Limited()), Limited(), url, None, timeout_s, self._stand_in)

    def _stand_in(self) -> None:
        self.stood_in += 1

    async def spend(self, principal: Principal = KEY) -> Allowance | None:
        left = self.budgets.purse(principal, None).requests(1)
        return await left if isinstance(left, asyncio.Future) else left

    async def admitted(self, principal: Principal = KEY) -> bool:
        try:
            await self.spend(principal)
        except OverBudget:
            return False
        return True


@asynccontextmanager
async def opened(limits: Limits, url: str, timeout_s: float = PATIENT_S) -> AsyncIterator[Opened]:
    made = Opened(limits, url, timeout_s)
    await made.budgets.start()
    try:
        yield made
    finally:
        await made.budgets.close()


async def test_two_machines_let_exactly_the_burst_through(redis: RedisServer) -> None:
    async with opened(SLOW, redis.url) as one, opened(SLOW, redis.url) as two:
        admitted = await asyncio.gather(*[machine.admitted() for machine in (one, two) for _ in range(100)])
        assert sum(admitted) == 100
        assert one.stood_in == two.stood_in == 0


async def test_memory_and_redis_tell_the_same(redis: RedisServer) -> None:
    limits = Limits(requests_per_s=0.5, requests_burst=3, requests_per_day=2)
    async with opened(limits, redis.url) as made:
        first, second = await made.spend(), await made.spend()
        assert first is not None
        assert second is not None
        assert (first.bound.limit, first.remaining) == (2, 1)
        assert (second.bound.limit, second.remaining) == (2, 0)
        with pytest.raises(OverBudget, match="2 requests a day is spent") as refused:
            await made.spend()
        assert refused.value.key == "requests_per_day"
        assert refused.value.allowance is not None
        assert refused.value.allowance.remaining == 0


async def test_what_one_budget_refuses_no_other_is_spent_of(redis: RedisServer) -> None:
    async with opened(Limits(requests_per_s=0.001, requests_burst=5, requests_per_day=1), redis.url) as made:
        assert [await made.admitted() for _ in range(4)] == [True, False, False, False]
        rate = Bound("requests_per_s * key:a", "requests_per_s", "requests", 5, 1000.0)
        left = made.budgets.open((rate,))(0)
        assert isinstance(left, asyncio.Future)
        told = await left
        assert told is not None
        assert told.remaining == 4


async def test_what_is_given_back_can_be_spent_again(redis: RedisServer) -> None:
    limits = Limits(rows_per_s=0.001, rows_burst=3, rows_per_day=3)
    async with opened(limits, redis.url) as one:
        rows = one.budgets.purse(KEY, None).rows
        for cost, enough in ((-1, True), (3, True), (1, False), (-1, True), (1, True), (1, False)):
            asked = rows(cost)
            assert isinstance(asked, asyncio.Future)
            if enough:
                await asked
            else:
                with pytest.raises(OverBudget):
                    await asked
        assert one.stood_in == 0


async def test_every_key_is_ours_and_expires(redis: RedisServer) -> None:
    async with opened(Limits(requests_per_s=0.5, requests_burst=3, requests_per_day=2), redis.url) as made:
        await made.spend()
    keys = redis.ask("keys", "*").split()
    assert sorted(keys) == ["tureen:{key:a}:requests_per_day:*", "tureen:{key:a}:requests_per_s:*"]
    assert 0 < int(redis.ask("ttl", "tureen:{key:a}:requests_per_s:*")) <= 3
    assert 0 < int(redis.ask("ttl", "tureen:{key:a}:requests_per_day:*")) <= 86_400


async def test_requests_of_one_turn_of_the_loop_go_together(redis: RedisServer) -> None:
    async with opened(SLOW, redis.url) as made:
        before = int(redis.ask("info", "stats").split("total_reads_processed:")[1].split()[0])
        await asyncio.gather(*[made.spend() for _ in range(50)])
        after = int(redis.ask("info", "stats").split("total_reads_processed:")[1].split()[0])
        assert after - before < 25  # those of redis-cli among them


async def test_a_script_that_redis_has_forgotten_is_brought_again(redis: RedisServer) -> None:
    async with opened(SLOW, redis.url) as made:
        redis.ask("script", "flush")
        assert await made.admitted()
        assert made.stood_in == 0


async def test_while_redis_is_away_memory_decides_and_then_redis_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with redis_server(tmp_path) as server:
        async with opened(Limits(requests_per_s=0.001, requests_burst=2), server.url) as made:
            assert await made.admitted()
            server.stop()
            assert [await made.admitted() for _ in range(3)] == [True, True, False]
            assert made.stood_in == 3
            server.start()
            last = asyncio.get_running_loop().time() + PATIENT_S
            while not any("answers again" in record.message for record in caplog.records):
                assert asyncio.get_running_loop().time() < last
                await asyncio.sleep(0.02)
            assert await made.admitted()
            assert made.stood_in == 3
    assert [record.levelname for record in caplog.records if "Redis does not keep" in record.message] == ["WARNING"]


async def test_nobody_waits_for_a_redis_that_hangs(redis: RedisServer) -> None:
    limits = Limits(requests_per_s=0.001, requests_burst=2)
    async with hanging(redis.port) as (port, hang), opened(limits, f"redis://127.0.0.1:{port}/0", 0.05) as made:
        hang.set()
        begun = time.monotonic()
        assert sorted(await asyncio.gather(*[made.admitted() for _ in range(3)])) == [False, True, True]
        assert made.stood_in == 3
        assert await made.admitted(Principal("key:b", frozenset()))
        assert time.monotonic() - begun < PATIENT_S / 2


async def test_a_link_that_is_closed_as_soon_as_redis_is_lost_leaves_no_connection(redis: RedisServer) -> None:
    async with opened(SLOW, redis.url) as one:
        await one.spend()
        client = one.budgets._link.redis
        assert client is not None
        one.budgets._link.lose(client, OSError("gone"))
    assert not any(connection.is_connected for connection in client.connection_pool._available_connections)


async def test_a_redis_that_is_not_there_at_the_start_keeps_nobody_from_starting(caplog: pytest.LogCaptureFixture) -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        async with opened(SLOW, f"redis://127.0.0.1:{free.getsockname()[1]}/0") as made:
            assert await made.admitted()
            assert made.stood_in == 1
    assert len([record for record in caplog.records if "Redis does not keep" in record.message]) == 1


def test_callers_of_any_name_have_a_key_of_one_hash_tag() -> None:
    bound = Bound("requests_per_s m jwt:{a} b\r\n", "requests_per_s", "requests", 1, 1.0)
    key = key_of(bound)
    assert key.startswith("tureen:{#")
    assert key.endswith("}:requests_per_s:m")
    assert key.isascii()
    assert key_of(Bound("requests_per_s * " + "x" * 10_000, "", "requests", 1, 1.0)) != key


def test_a_password_is_what_a_file_holds(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    assert password_of(file, "[limits] redis_password_file") == "s3cret"
    assert password_of(None, "") is None
    file.write_text("\n")
    for wrong in (file, tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match="redis_password_file"):
            password_of(wrong, "[limits] redis_password_file")
