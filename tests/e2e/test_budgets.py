"""Budgets as callers meet them: one a caller, whichever worker, lane and server a request comes to."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.keyed import bearer, key_of
from tests.e2e.patience import until
from tests.e2e.redis_server import redis_server
from tests.e2e.served import Reply, Server, serving

PATH = "/v2/models/affine/infer"
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}).encode()
KINDS = pytest.mark.parametrize("kind", ["hypercorn", "uvicorn"])
#: So slow that nothing comes back within a test.
SLOW = "0.0001"


def configured(directory: Path, limits: str, more: str = "") -> Path:
    """A working directory with a `tureen.toml`."""
    (directory / "tureen.toml").write_text(f"[limits]\n{limits}\n{more}\n")
    return directory


def infer(server: Server, headers: Mapping[str, str] | None = None, rows: int = 1) -> Reply:
    body = {"inputs": [{"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": [1, 2, 3, 4] * rows}]}
    return server.post(PATH, body, headers)


async def at_once(server: Server, heads: list[bytes]) -> Counter[int]:
    """The statuses of requests that are all sent before any is read, each on a connection of its own."""
    connections = [await asyncio.open_connection(server.host, server.port) for _ in heads]

    async def ask(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], more: bytes) -> int:
        reader, writer = connection
        line = b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n%sconnection: close\r\n\r\n"
        writer.write(line % (PATH.encode(), len(BODY), more) + BODY)
        answer = await reader.read()
        writer.close()
        return int(answer.split(b" ", 2)[1])

    return Counter(await asyncio.gather(*map(ask, connections, heads)))


@KINDS
def test_two_workers_and_both_lanes_let_as_many_through_as_the_burst(kitchen: Path, tmp_path: Path, kind: str) -> None:
    cwd = configured(tmp_path, f"address_requests_per_s = {SLOW}\naddress_requests_burst = 100")
    with serving(kitchen, "--workers", 2, kind=kind, cwd=cwd) as server:
        statuses = asyncio.run(at_once(server, [b"", b"origin: https://page.example\r\n"] * 100))
        rotated = [infer(server, {"X-Forwarded-For": f"198.51.100.{number}"}).status for number in range(5)]
    assert statuses.keys() == {200, 429}
    assert 95 <= statuses[200] <= 105
    assert rotated[1:] == [429] * 4  # one may be of what a lost race has left


@KINDS
def test_redis_lets_exactly_as_many_through_as_the_burst(kitchen: Path, tmp_path: Path, kind: str) -> None:
    with redis_server(tmp_path, "s3cret") as redis:
        (tmp_path / "password").write_text("s3cret\n")
        limits = f'redis_url = "{redis.url}"\nredis_password_file = "password"\nredis_timeout_ms = 10000.0\n'
        cwd = configured(tmp_path, limits + f"address_requests_per_s = {SLOW}\naddress_requests_burst = 100")
        with serving(kitchen, "--workers", 2, kind=kind, cwd=cwd) as server:
            statuses = asyncio.run(at_once(server, [b"", b"origin: https://page.example\r\n"] * 100))
            keys = redis.ask("keys", "*").split()
        assert statuses == {200: 100, 429: 100}
        assert keys
        assert all(key.startswith("tureen:") and int(redis.ask("ttl", key)) > 0 for key in keys)
    assert not any("s3cret" in line for line in server.log)


def test_behind_a_trusted_proxy_each_caller_has_its_own_budget(kitchen: Path, tmp_path: Path) -> None:
    limits = f'address_requests_per_s = {SLOW}\naddress_requests_burst = 2\ntrusted_proxies = ["127.0.0.1"]'
    with serving(kitchen, cwd=configured(tmp_path, limits)) as server:

        def ask(forwarded: str) -> int:
            return infer(server, {"X-Forwarded-For": forwarded}).status

        assert [ask("198.51.100.1"), ask("203.0.113.9, 198.51.100.1"), ask("198.51.100.1")] == [200, 200, 429]
        assert ask("198.51.100.1, 198.51.100.2") == 200
        assert [ask(f"2001:db8::{number}") for number in range(1, 4)] == [200, 200, 429]


@KINDS
def test_callers_are_told_what_is_left_and_when_it_is_whole_again(kitchen: Path, tmp_path: Path, kind: str) -> None:
    limits = "address_requests_per_s = 0.01\naddress_requests_burst = 3\nrows_per_s = 0.01\nrows_burst = 5"
    cwd = configured(tmp_path, f'{limits}\ntrusted_proxies = ["127.0.0.1"]')
    with serving(kitchen, kind=kind, cwd=cwd) as server:
        for headers in ({"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2", "Origin": "https://page.example"}):
            first = infer(server, headers)
            assert first.status == 200
            assert told(first) == ("3", "2", "100", "3;w=300")
            refused = infer(server, headers, rows=5)
            assert (refused.status, refused.json()["code"]) == (429, "over_budget")
            assert refused.headers["retry-after"] == "100"
            assert told(refused) == ("5", "4", "100", "5;w=500")
            whose = "your budget of 0.01 rows a second, 5 at once, is spent; there is enough again in"
            assert refused.json()["error"].startswith(whose)
            never = infer(server, headers, rows=6)
            assert never.status == 429
            assert "retry-after" not in never.headers
            assert never.json()["error"] == "the request has 6 rows and your budget is 5 at once; send fewer at a time"
            last = infer(server, headers)
            assert (last.status, told(last)[:2]) == (429, ("3", "0"))
        assert 'tureen_limited_total{limit="rows_per_s"} 4.0' in metrics(server)


def test_a_model_may_say_what_one_caller_may_ask_of_it(kitchen: Path, tmp_path: Path) -> None:
    with serving(kitchen, cwd=tmp_path) as server:
        asked = {"parameters": {"config": json.dumps({"limits": {"requests_per_s": 0.001, "requests_burst": 2}})}}
        assert server.post("/v2/repository/models/affine/load", asked).status == 200
        assert [infer(server).status for _ in range(3)] == [200, 200, 429]
        assert "for model 'affine'" in infer(server).json()["error"]
        assert server.post("/v2/models/half/infer", {}).status == 400
        assert server.post("/v2/repository/models/affine/load", {}).status == 200
        assert infer(server).status == 200


def test_a_days_quota_outlives_the_server_and_a_worker_that_is_killed(kitchen: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    cwd = configured(tmp_path, "", "[store]\nstate_dir = 'state'\n[auth]\napi_keys = true")
    bearing = bearer(key_of(state, "--scope", "infer", "--requests-per-day", "4"))
    with serving(kitchen, cwd=cwd) as server:
        assert [infer(server, bearing).status for _ in range(2)] == [200, 200]
        (before,) = server.workers
        os.kill(before, signal.SIGKILL)
        until(lambda: server.workers not in ([before], []) and ready(server), "a new worker is ready")
        assert infer(server, bearing).status == 200
    with serving(kitchen, cwd=cwd) as server:
        last = infer(server, bearing)
        assert (last.status, last.headers["ratelimit-remaining"]) == (200, "0")
        over = infer(server, bearing)
        assert over.status == 429
        assert "4 requests a day is spent; the next day of UTC begins in" in over.json()["error"]


def test_without_redis_this_machine_keeps_the_budgets_until_it_is_back(kitchen: Path, tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        limits = (
            f'redis_url = "{redis.url}"\nredis_timeout_ms = 2000.0\naddress_requests_per_s = {SLOW}\naddress_requests_burst = 3'
        )
        with serving(kitchen, kind="uvicorn", cwd=configured(tmp_path, limits)) as server:
            assert infer(server).headers["ratelimit-remaining"] == "2"
            redis.stop()
            assert [infer(server).status for _ in range(4)] == [200, 200, 200, 429]
            redis.start()
            until(lambda: any("Redis answers again" in line for line in server.log), "Redis is found again")
            assert infer(server).headers["ratelimit-remaining"] == "2"
            assert "tureen_budgets_stood_in_total 4.0" in metrics(server)
    assert sum("Redis does not keep the budgets" in line for line in server.log) == 1


def ready(server: Server) -> bool:
    """Whether it answers that it is."""
    try:
        return server.get("/v2/health/ready").status == 200
    except (OSError, http.client.HTTPException):
        return False


def metrics(server: Server) -> str:
    """A scrape."""
    return server.get("/metrics").body.decode()


def told(reply: Reply) -> tuple[str, ...]:
    """What an answer says of the budget."""
    return tuple(reply.headers[f"ratelimit-{part}"] for part in ("limit", "remaining", "reset", "policy"))
