"""Budgets as callers meet them: one a caller, whichever worker, lane and server a request comes to."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

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
    assert statuses.keys() == {200, 429}
    assert 95 <= statuses[200] <= 105


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
