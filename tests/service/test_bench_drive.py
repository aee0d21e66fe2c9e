"""What `tureen bench` sends, and how it counts what comes of it: against servers that behave as a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from service.commands.bench.arrivals import Closed, Open, Pace, schedule
from service.commands.bench.drive import BACKOFF_S, Address, Drive, Prepared, Ran
from service.commands.bench.record import Record
from tests.e2e.patience import PATIENCE_S

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BODY = b'{"a": 1}'
REQUEST = Prepared(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\n" + BODY, 3)
HEADERS = (
    b"x-model-version: 7\r\nx-cache: miss\r\n"
    b'server-timing: queue;dur=2.000, infer;dur=1.000, total;dur=4.0, batch;desc="rows=6"\r\n'
)


def answer(body: bytes = BODY, status: bytes = b"200 OK", headers: bytes = HEADERS) -> bytes:
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, headers, len(body), body)


def answering(*answers: bytes, keep: bool = True) -> Serve:
    """Gives each request of a connection the next answer, the last for ever; ``keep``: the connection, afterwards."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = list(answers)
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(len(BODY))
            writer.write(left.pop(0) if len(left) > 1 else left[0])
            if not keep:
                return

    return serve


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[Address]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has left
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def driven(
    address: Address,
    pace: Pace,
    until: Callable[[Record], bool] = lambda _: False,
    seconds: float = PATIENCE_S,
    connections: int = 1,
    timeout_s: float = PATIENCE_S,
    requests: Sequence[Prepared] = (REQUEST,),
) -> tuple[Record, Ran]:
    """A run that ends after so many seconds, or soon after ``until``."""
    record = Record(seconds)
    drive = Drive(address, requests, connections, timeout_s)

    def watch(_: float) -> None:
        if until(record):
            drive.interrupt()

    try:
        return record, await drive.run(pace, record, seconds, watch)
    finally:
        await drive.close()


def answered(count: int) -> Callable[[Record], bool]:
    return lambda record: record.ok >= count


def failed(count: int) -> Callable[[Record], bool]:
    return lambda record: record.failed >= count


async def test_a_closed_loop_asks_again_once_it_is_answered_and_reads_what_answers_say() -> None:
    async with served(answering(answer())) as address:
        record, ran = await driven(address, Closed(3), answered(10), connections=3)
    assert record.ok == record.sent == record.latency.count >= 10
    assert (record.failed, ran.unsent, ran.interrupted) == (0, 0, True)
    assert (record.versions, record.cache) == ({"7": record.ok}, {"miss": record.ok})
    assert record.shared == {6: 3 * record.ok}
    assert record.queue.percentile(50) == pytest.approx(2e-3, rel=1e-3)
    assert record.infer.percentile(50) == pytest.approx(1e-3, rel=1e-3)


async def test_an_open_loop_sends_exactly_what_was_due() -> None:
    times = schedule("poisson", 200, 0.3, 1)
    async with served(answering(answer())) as address:
        record, ran = await driven(address, Open(times), seconds=0.3, connections=64)
    assert record.ok + ran.unsent == len(times)
    assert record.failed == 0


async def test_latency_counts_from_the_intended_start_also_while_nothing_could_be_sent() -> None:
    held = 0.3

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        await asyncio.sleep(held)
        writer.write(answer())
        await reader.readexactly(len(REQUEST.wire) - 1)
        await answering(answer())(reader, writer)

    async with served(stall) as address:
        record, _ = await driven(address, Open(schedule("constant", 100, 0.5, 0)), answered(50))
    # Of the 30 that were due meanwhile, 20 had to wait for at least 0.1 s. Counted from when they were sent, one alone would.
    assert sum(count for low, _, count in record.latency.bins(200) if low >= 0.09) >= 20
    assert record.late.greatest >= held - 0.02


async def test_what_was_due_and_never_sent_is_counted() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with served(silent) as address:
        record, ran = await driven(address, Open(schedule("constant", 100, 0.3, 0)), seconds=0.3, timeout_s=0.6)
    assert record.sent + ran.unsent == 30
    assert {what: found.count for what, found in record.failures.items()} == {"no answer within 0.6 s": record.sent}


async def test_failures_are_told_apart_by_status_and_code_with_the_first_sentence() -> None:
    full = answer(b'{"error": "the queue is full", "code": "queue_full"}', b"503 Service Unavailable")
    async with served(answering(full, full, answer(b"oops", b"500 Internal Server Error"), answer())) as address:
        record, _ = await driven(address, Closed(1), answered(1))
    assert [(what, found.count, found.example) for what, found in record.failures.items()] == [
        ("503 queue_full", 2, "the queue is full"),
        ("500", 1, ""),
    ]
    assert record.latency.count == record.ok  # a refusal is quick, and would make a server look so


async def test_a_connection_that_closes_before_its_answer_is_a_failure() -> None:
    async with served(answering(answer()[:40], keep=False)) as address:
        record, _ = await driven(address, Closed(1), failed(2))
    assert list(record.failures) == ["connection closed before the answer"]
    assert record.failed == record.sent >= 2


async def test_what_speaks_no_http_is_a_failure() -> None:
    async with served(answering(b"220 mail ready\r\n")) as address:
        record, _ = await driven(address, Closed(1), failed(1))
    assert list(record.failures) == ["the answer is no HTTP"]


async def test_a_server_that_closes_each_connection_is_asked_over_new_ones() -> None:
    async with served(answering(answer(headers=b"connection: close\r\n"), keep=False)) as address:
        record, _ = await driven(address, Closed(2), answered(6), connections=2)
    assert record.ok >= 6
    assert record.failed == 0


async def test_answers_in_chunks_and_interim_answers_are_read() -> None:
    chunked = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    async with served(answering(chunked)) as address:
        record, _ = await driven(address, Closed(1), answered(2))
    assert record.ok >= 2
    assert record.failed == 0


async def test_where_nobody_listens_every_caller_fails_and_does_not_rush() -> None:
    async with served(answering(answer())) as address:
        pass
    record, ran = await driven(address, Closed(4), failed(12), connections=4)
    assert list(record.failures) == ["connection refused"]
    assert 12 <= record.failed <= 4 * (ran.seconds / BACKOFF_S + 1)
    assert record.sent == 0


async def test_never_more_connections_are_open_than_allowed() -> None:
    open_now, most = 0, 0

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        try:
            while True:
                await reader.readexactly(len(REQUEST.wire))
                await asyncio.sleep(0.02)
                writer.write(answer())
        finally:
            open_now -= 1

    async with served(slow) as address:
        await driven(address, Open(schedule("constant", 1000, 0.1, 0)), answered(100), connections=5)
    assert most == 5


async def test_requests_go_round() -> None:
    seen: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append((await reader.readexactly(len(REQUEST.wire)))[-2:])
            writer.write(answer())

    requests = [Prepared(REQUEST.wire[:-2] + b"%d}" % n, 1) for n in range(3)]
    async with served(note) as address:
        await driven(address, Closed(1), answered(4), requests=requests)
    assert seen[:4] == [b"0}", b"1}", b"2}", b"0}"]
