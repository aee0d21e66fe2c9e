"""quart-rate-limiter's traps: what it leaves to its users does not hold here, for routes that carry its decorator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from quart import Quart, websocket
from quart.testing.connections import WebsocketResponseError
from quart_rate_limiter import rate_exempt, rate_limit

from service import create_app
from service.config import Config
from service.guard.budgets.tables import Tables
from service.processes.board import Board
from service.processes.place import Place
from service.sections import Limits
from tests.e2e.redis_server import RedisServer, redis_server

#: So long that nothing comes back within a test.
LONG = timedelta(days=1)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No models: these routes are the user's own."""
    return tmp_path_factory.mktemp("repository")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


def limited(app: Quart) -> Quart:
    """Adds routes with limits, as a user of the library would."""

    @app.get("/twice")
    @rate_limit(2, LONG)
    async def twice() -> dict[str, object]:
        return {}

    @app.get("/own/<name>")
    @rate_limit(1, LONG, key_function=by_name)
    async def own(name: str) -> dict[str, object]:
        return {"name": name}

    @app.get("/hundred")
    @rate_limit(100, LONG)
    async def hundred() -> dict[str, object]:
        return {}

    @app.get("/exempt")
    @rate_exempt
    async def exempt() -> dict[str, object]:
        return {}

    @app.websocket("/talk")
    @rate_limit(2, LONG)
    async def talk() -> None:
        await websocket.accept()
        await websocket.send("hello")

    return app


async def by_name() -> str:
    """A key of the user's own."""
    from quart import request

    return str((request.view_args or {})["name"])


@asynccontextmanager
async def workers(repository: Path, count: int = 1, limits: Limits | None = None) -> AsyncIterator[list[Quart]]:
    """So many workers of one server, in one process."""
    config = Config(repository=repository, limits=limits or Limits(), workers=count)
    board, tables = Board.create(count), Tables.create(count + 1, config.limits.budget_entries)
    async with AsyncExitStack() as stack:
        running = []
        for slot in range(count):
            app = limited(create_app(config, Place(slot, board, budgets=tables)))
            await app.startup()
            stack.push_async_callback(app.shutdown)
            running.append(app)
        yield running


async def status(app: Quart, path: str, **headers: str) -> int:
    answer = await app.test_client().get(path, headers=headers)
    return answer.status_code


async def test_rotating_x_forwarded_for_never_escapes_the_limit(repository: Path) -> None:
    async with workers(repository) as (app,):
        spoofed = [{"X-Forwarded-For": f"198.51.100.{number}"} for number in range(4)]
        assert [await status(app, "/twice", **headers) for headers in spoofed] == [200, 200, 429, 429]


async def test_the_memory_store_forgets_keys_when_it_is_full(repository: Path) -> None:
    async with workers(repository, limits=Limits(budget_entries=1024)) as (app,):
        store = app.extensions["tureen"].place.budgets
        assert [await status(app, f"/own/{number % 2}") for number in range(4)] == [200, 200, 429, 429]
        for number in range(1100):
            assert await status(app, f"/own/{number + 10}") == 200
        assert sum([1 for name in store.rates[0].names if name]) <= 1024


async def test_two_workers_never_both_let_the_last_one_through(repository: Path) -> None:
    async with workers(repository, 2) as both:
        statuses = await asyncio.gather(*[status(app, "/hundred") for _ in range(100) for app in both])
        assert statuses.count(200) == 100


async def test_two_workers_on_redis_never_both_let_the_last_one_through(repository: Path, redis: RedisServer) -> None:
    limits = Limits(redis_url=redis.url, redis_timeout_ms=10_000.0)
    async with workers(repository, 2, limits) as both:
        statuses = await asyncio.gather(*[status(app, "/hundred") for _ in range(100) for app in both])
        assert statuses.count(200) == 100


async def test_its_keys_in_redis_expire(repository: Path, redis: RedisServer) -> None:
    async with workers(repository, limits=Limits(redis_url=redis.url, redis_timeout_ms=10_000.0)) as (app,):
        assert await status(app, "/twice") == 200
        (key,) = redis.ask("keys", "*").split()
        assert key.startswith("tureen:")
        assert 0 < int(redis.ask("ttl", key)) <= LONG.total_seconds()


async def test_the_handshakes_of_websockets_are_limited(repository: Path) -> None:
    async with workers(repository) as (app,):
        for _ in range(2):
            async with app.test_client().websocket("/talk") as talk:
                assert await talk.receive() == "hello"
        with pytest.raises(WebsocketResponseError) as refused:
            async with app.test_client().websocket("/talk") as talk:
                await talk.receive()
        assert refused.value.response.status_code == 429


async def test_a_refusal_is_our_json_and_says_when_to_come_again(repository: Path) -> None:
    async with workers(repository) as (app,):
        client = app.test_client()
        first = await client.get("/twice")
        assert first.headers["ratelimit-remaining"] == "1"
        assert first.headers["ratelimit-policy"] == "2;w=86400"
        await client.get("/twice")
        refused = await client.get("/twice")
        body = await refused.get_json()
        assert (refused.status_code, body["code"]) == (429, "over_budget")
        assert body["error"].startswith("your budget for this route of")
        assert 43_100 < int(refused.headers["retry-after"]) <= 43_200
        assert refused.headers["ratelimit-remaining"] == "0"


async def test_routes_without_a_limit_and_exempt_ones_are_not_limited(repository: Path) -> None:
    async with workers(repository) as (app,):
        assert [await status(app, "/exempt") for _ in range(5)] == [200] * 5
        answer = await app.test_client().get("/exempt")
        assert "ratelimit-limit" not in answer.headers
