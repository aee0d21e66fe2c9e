"""The attacks. Each runs until it is cancelled, and counts in ``seen`` what the server made of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator

from loadtests.hostile import forgeries
from loadtests.hostile.server import Attacked
from loadtests.hostile.wire import HOST, Broken, Line

Seen = Counter[str]
Attack = Callable[[Attacked, Seen], Coroutine[None, None, None]]

SLOW = 500
IDLE = 5_000
FAST = 8
ANSWER_S = 20.0


async def slow_headers(server: Attacked, seen: Seen) -> None:
    """Heads of which a header line comes each second, without end."""
    await _dripped(server, seen, b"POST /v2/models/fraud/infer HTTP/1.1\r\nHost: a\r\n", b"X-A: b\r\n")


async def slow_bodies(server: Attacked, seen: Seen) -> None:
    """Bodies, of a caller who has a key, of which a byte comes each second."""
    await _dripped(server, seen, _head(server.key, 100_000), b" ")


async def slow_reads(server: Attacked, seen: Seen) -> None:
    """Requests for long answers, again and again, of which nothing is ever read."""
    request = f"GET /openapi.json HTTP/1.1\r\nHost: a\r\nX-API-Key: {server.key}\r\n\r\n".encode()

    async def one(_: Line) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as made:
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(made, (HOST, server.port))
            while True:
                await loop.sock_sendall(made, request)
                await asyncio.sleep(0.2)

    await _many(server, seen, SLOW, one)


async def idle(server: Attacked, seen: Seen) -> None:
    """Connections that say nothing at all."""

    async def one(line: Line) -> None:
        await line.open()
        await asyncio.sleep(3600)

    await _many(server, seen, IDLE, one)


async def websocket_flood(server: Attacked, seen: Seen) -> None:
    """Messages as fast as they go to handlers that read none, once the handshake has been answered."""

    async def one(line: Line) -> None:
        status, _ = await line.exchange(_handshake(server.key))
        seen[str(status)] += 1
        await _flood(line)

    await _many(server, seen, 4 * FAST, one)


async def websocket_rush(server: Attacked, seen: Seen) -> None:
    """The same right behind a handshake whose answer nobody waits for."""

    async def one(line: Line) -> None:
        (await line.open()).write(_handshake(server.key))
        await _flood(line)

    await _many(server, seen, 4 * FAST, one)


async def deflate_bombs(server: Attacked, seen: Seen) -> None:
    """Bodies of some hundred kilobytes, of a caller who has a key, that inflate to more than may be."""
    body = forgeries.bomb(300)
    request = _head(server.key, len(body), "Content-Encoding: gzip\r\n") + body
    await _requests(server, seen, itertools.repeat(request), connections=4)


async def deep_json(server: Attacked, seen: Seen) -> None:
    """Bodies that are nested deep, of a caller who has a key."""
    body = forgeries.nested(200_000)
    await _requests(server, seen, itertools.repeat(_head(server.key, len(body)) + body), connections=4)


async def forwarded_for(server: Attacked, seen: Seen) -> None:
    """Another X-Forwarded-For with each request, and no credential."""

    def requests() -> Iterator[bytes]:
        chance = random.Random(1)
        while True:
            address = ".".join(str(chance.randrange(256)) for _ in range(4))
            yield f"GET /docs HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {address}\r\n\r\n".encode()

    await _requests(server, seen, requests())


async def distinct_keys(server: Attacked, seen: Seen) -> None:
    """A key that nobody was given with each request, never the same twice."""
    await _requests(server, seen, (_head(key, 2) + b"{}" for key in forgeries.keys(os.getpid())))


async def forged_tokens(server: Attacked, seen: Seen) -> None:
    """Tokens that are wrong in one way each."""
    await _requests(server, seen, itertools.cycle([_head(token, 2) + b"{}" for token in forgeries.tokens(server)]))


async def malformed(server: Attacked, seen: Seen) -> None:
    """Bytes that are no HTTP, each on a connection of its own."""
    pieces = itertools.cycle(forgeries.malformed())

    async def one(line: Line) -> None:
        writer = await line.open()
        writer.write(next(pieces))
        with contextlib.suppress(OSError):
            await writer.drain()
        while True:
            async with asyncio.timeout(2):
                status, _ = await line.exchange(b"")
            seen[str(status)] += 1

    await _many(server, seen, FAST, one)


async def leavers(server: Attacked, seen: Seen) -> None:
    """Callers who have a key, ask, and leave before the answer, some in the middle of their body."""
    chance = random.Random(2)
    body = b'{"inputs": [{"name": "input", "datatype": "FP64", "shape": [1, 15], "data": [%s]}]}' % b",".join([b"1"] * 15)
    request = _head(server.key, len(body)) + body

    async def one(line: Line) -> None:
        writer = await line.open()
        writer.write(request[: chance.choice([len(request), len(request) - 9])])
        await writer.drain()
        await asyncio.sleep(chance.random() * 0.003)
        writer.transport.abort()
        raise Broken

    await _many(server, seen, FAST, one, pause_s=0.01)


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        slow_headers,
        slow_bodies,
        slow_reads,
        idle,
        websocket_flood,
        websocket_rush,
        deflate_bombs,
        deep_json,
        forwarded_for,
        distinct_keys,
        forged_tokens,
        malformed,
        leavers,
    )
}
#: Those that bring no valid credential: an answer of 200 to one of them is a breach.
UNWELCOME = frozenset({"distinct_keys", "forged_tokens"})


async def _many(server: Attacked, seen: Seen, count: int, one: Callable[[Line], Awaitable[None]], pause_s: float = 0.1) -> None:
    """So many at once; one that the server ends begins again."""

    async def again() -> None:
        line = Line(server.port)
        while True:
            try:
                await one(line)
            except (Broken, OSError, TimeoutError) as error:
                seen[type(error).__name__] += 1
            finally:
                await line.close()
            await asyncio.sleep(pause_s)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(again())
            if number % 100 == 99:
                await asyncio.sleep(0.05)


async def _dripped(server: Attacked, seen: Seen, begin: bytes, drop: bytes) -> None:
    """Begins many requests, and sends a little more of each every second."""

    async def one(line: Line) -> None:
        writer = await line.open()
        writer.write(begin)
        while True:
            await asyncio.sleep(1)
            writer.write(drop)
            await writer.drain()

    await _many(server, seen, SLOW, one)


async def _flood(line: Line) -> None:
    """Sends one WebSocket message after the other."""
    payload = bytes(64 * 1024)
    frame = b"\x82\xff" + struct.pack(">Q", len(payload)) + b"\0\0\0\0" + payload
    writer = await line.open()
    while True:
        writer.write(frame)
        await writer.drain()


async def _requests(server: Attacked, seen: Seen, requests: Iterable[bytes], connections: int = FAST) -> None:
    """Sends whole requests one after the other on several kept connections."""
    each = iter(requests)

    async def one(line: Line) -> None:
        while True:
            async with asyncio.timeout(ANSWER_S):
                status, _ = await line.exchange(next(each))
            seen[str(status)] += 1

    await _many(server, seen, connections, one)


def _head(credential: str, length: int, more: str = "") -> bytes:
    return (
        "POST /v2/models/fraud/infer HTTP/1.1\r\nHost: a\r\n"
        f"Authorization: Bearer {credential}\r\nContent-Length: {length}\r\n{more}\r\n"
    ).encode()


def _handshake(credential: str) -> bytes:
    return (
        "GET /deaf HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer {credential}\r\n\r\n"
    ).encode()
