"""Clients that send too slowly, in too many pieces, or do not read, harm nobody else, and are told where they can be."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import repeat
from pathlib import Path

import pytest

from tests.e2e.limited import KINDS, both, count, limits_env, refusals
from tests.e2e.patience import PATIENCE_S, until
from tests.e2e.served import Reply, Server, serving
from tests.e2e.wire import Wire, chunked, post, wire
from tests.traps.frames import BINARY, PING, frame, websocket

MIB = 1024 * 1024
PATH = "/v1/models/affine:predict"
BODY = json.dumps({"instances": [[1, 2, 3, 4]]}).encode()
LIMITS = {
    "header_timeout_s": 0.3,
    "body_timeout_s": 0.4,
    "body_bytes_per_s": 100_000,
    "body_chunks": 50,
    "write_timeout_s": 0.5,
    "idle_timeout_s": 1.0,
    "websocket_stall_s": 0.4,
    "websocket_queue_bytes": 100_000,
}
#: Between the bytes of one that drips (seconds).
DRIP_S = 0.05


@pytest.fixture(scope="module")
def slow_servers(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Server]]:
    with both(kitchen, "slow_app:extend", LIMITS, tmp_path_factory.mktemp("slow")) as servers:
        yield servers


@pytest.fixture(params=KINDS)
def server(slow_servers: Mapping[str, Server], request: pytest.FixtureRequest) -> Server:
    return slow_servers[request.param]


@contextmanager
def counted(server: Server, limit: str) -> Iterator[None]:
    """Holds that what happens meanwhile is counted under that limit, and that others are served."""
    before = count(server, limit)
    yield
    until(lambda: count(server, limit) > before, f"{limit} has counted it")
    assert server.post(PATH, BODY).status == 200


def dripped(connection: Wire, drops: Iterator[bytes]) -> Reply:
    """The answer that comes while bytes are still sent, one by one."""
    last = time.monotonic() + PATIENCE_S
    with suppress(ConnectionError):
        for drop in drops:
            connection.send(drop)
            time.sleep(DRIP_S)
            if connection.readable or time.monotonic() > last:
                break
    return connection.reply()


def is_late(reply: Reply) -> bool:
    return (reply.status, reply.json()["code"]) == (408, "request_timeout") and reply.headers["connection"] == "close"


# -- heads ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("served", [False, True], ids=["first", "after another"])
@pytest.mark.parametrize("begun", [b"P", b"POST / HTTP/1.1\r\nHost: tureen\r\n"])
def test_a_head_that_stops_is_told_so(server: Server, begun: bytes, served: bool) -> None:
    with counted(server, "header_timeout_s"), wire(server) as connection:
        if served:
            connection.send(post(PATH, BODY))
            assert connection.reply().status == 200
        connection.send(begun)
        assert is_late(connection.reply())
        assert connection.closed


def test_a_head_that_drips_is_told_so(server: Server) -> None:
    with counted(server, "header_timeout_s"), wire(server) as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: tureen\r\n")
        assert is_late(dripped(connection, repeat(b"X: a\r\n")))


def test_a_pipelined_head_has_its_time_from_the_answer_before_it(server: Server) -> None:
    first = post("/length?after=0.6", BODY)
    with counted(server, "header_timeout_s"), wire(server) as connection:
        connection.send(first + b"GET /v2 HT")
        assert connection.reply().json() == {"length": len(BODY)}
        assert is_late(connection.reply())


# -- bodies --------------------------------------------------------------------------------------------------------------

#: By the lane that reads them: taken off the connection, the ASGI form, Quart's inference, a route of a user's.
BODIES = {
    "taken": post(PATH, b"x" * 1000),
    "large": post(PATH, b"x" * 200_000),
    "chunked": b"".join(chunked(PATH, b"x" * 1000)[:-1]) + b"1",
    "quart": post(PATH, b"x" * 1000, "Origin: https://shop.example"),
    "route": post("/length", b"x" * 1000),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_stops_is_told_so(server: Server, body: bytes) -> None:
    with counted(server, "body_timeout_s"), wire(server) as connection:
        connection.send(body[:-1])
        assert is_late(connection.reply())
        assert connection.closed


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_drips_is_told_so(server: Server, body: bytes) -> None:
    with counted(server, "body_bytes_per_s"), wire(server) as connection:
        connection.send(body[:300])
        assert is_late(dripped(connection, (body[at : at + 1] for at in range(300, len(body)))))


def test_a_body_that_takes_long_and_is_fast_enough_is_taken(server: Server) -> None:
    head, part = post("/length", b"", "").partition(b"Content-Length: 0")[0], b"x" * 20_000
    with wire(server) as connection:
        connection.send(head + b"Content-Length: 120000\r\n\r\n")
        for _ in range(6):
            connection.send(part)
            time.sleep(0.1)
        assert connection.reply().json() == {"length": 120_000}


def test_a_body_that_its_handler_lets_wait_is_not_late(server: Server) -> None:
    with wire(server) as connection:
        connection.send(post("/length?after=0.8", bytes(2 * MIB)))
        assert connection.reply().json() == {"length": 2 * MIB}


def test_a_body_whose_answer_has_come_is_not_waited_for(server: Server) -> None:
    with wire(server) as connection:
        connection.send(post("/at-once", b"x" * 1000)[:-1])
        assert connection.reply().status == 200
        assert connection.closed


@pytest.mark.parametrize("path", [PATH, "/length"])
def test_a_body_in_too_many_chunks_is_refused(server: Server, path: str) -> None:
    pieces = [BODY[at : at + 1] for at in range(len(BODY))]
    with wire(server) as connection:
        connection.send(b"".join(chunked(path, *pieces)))
        assert connection.reply().status == 200
    with counted(server, "body_chunks"), wire(server) as connection:
        connection.send(b"".join(chunked(path, *[b"x"] * 51)))
        reply = connection.reply()
        assert (reply.status, reply.json()["code"]) == (413, "body_too_large")
        assert connection.closed


# -- answers that nobody reads -------------------------------------------------------------------------------------------


def leftovers(server: Server) -> tuple[int, int]:
    inside = server.get("/rss").json()
    return inside["rss"], inside["descriptors"]


@pytest.mark.parametrize("times", [1, 50, 3000], ids=["one", "pipelined", "more than is read at once"])
def test_who_does_not_read_is_cut_off_and_not_read_on(server: Server, times: int) -> None:
    rss, descriptors = leftovers(server)
    tasks = server.get("/rss").json()["tasks"]
    with counted(server, "write_timeout_s"), narrow(server) as connection:
        connection.sendall(b"GET /long/10 HTTP/1.1\r\nHost: tureen\r\n\r\n" * times)
        until(lambda: count(server, "write_timeout_s") > 0, "it is cut off")
        assert leftovers(server)[0] - rss < 60 * MIB
        until(lambda: leftovers(server)[1] <= descriptors, "nothing is left open")
        until(lambda: server.get("/rss").json()["tasks"] <= tasks, "nothing is left in work")


def test_who_closes_and_does_not_read_leaves_nothing_open(server: Server) -> None:
    _, descriptors = leftovers(server)
    with counted(server, "write_timeout_s"), narrow(server) as connection:
        connection.sendall(b"GET /long/10 HTTP/1.1\r\nHost: tureen\r\nConnection: close\r\n\r\n")
        until(lambda: leftovers(server)[1] <= descriptors, "nothing is left open")


def test_who_reads_slowly_and_steadily_gets_all(server: Server) -> None:
    with narrow(server) as connection:
        connection.sendall(b"GET /long/10 HTTP/1.1\r\nHost: tureen\r\nConnection: close\r\n\r\n")
        connection.settimeout(PATIENCE_S)
        got = 0
        begun = time.monotonic()
        while data := connection.recv(256 * 1024):
            got += len(data)
            if time.monotonic() < begun + 1:
                time.sleep(0.05)
        assert got > 10 * MIB


@contextmanager
def narrow(server: Server) -> Iterator[socket.socket]:
    """A connection whose client's side holds little."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((server.host, server.port))
        yield connection


# -- idle connections ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("served", [False, True], ids=["fresh", "after a request"])
def test_an_idle_connection_is_closed_without_a_word(server: Server, served: bool) -> None:
    with counted(server, "idle_timeout_s"), wire(server) as connection:
        if served:
            connection.send(post(PATH, BODY))
            assert connection.reply().status == 200
        assert connection.closed


def test_empty_lines_keep_no_connection(server: Server) -> None:
    with wire(server) as connection, suppress(ConnectionError):
        last = time.monotonic() + PATIENCE_S
        while not connection.readable:
            connection.send(b"\r\n")
            time.sleep(DRIP_S)
            assert time.monotonic() < last


@pytest.mark.parametrize("kind", KINDS)
def test_one_address_has_no_more_connections_than_it_may(kitchen: Path, tmp_path: Path, kind: str) -> None:
    env = limits_env({"address_connections": 3})
    with serving(kitchen, kind=kind, cwd=tmp_path, env=env) as server, ExitStack() as stack:
        opened = [stack.enter_context(wire(server)) for _ in range(3)]
        for connection in opened:
            connection.send(post(PATH, BODY))
            assert connection.reply().status == 200
        with wire(server) as extra:
            extra.send(post(PATH, BODY))
            reply = extra.reply()
            assert (reply.status, reply.json()["code"]) == (429, "too_many_from_address")
            assert reply.headers["retry-after"].isdigit()
        with wire_from(server, "127.0.0.2") as other:
            other.sendall(post(PATH, BODY))
            assert other.recv(100).startswith(b"HTTP/1.1 200")
        opened[0].leave()
        until(lambda: server.post(PATH, BODY).status == 200, "there is room again")
        opened[1].send(b"GET /metrics HTTP/1.1\r\nHost: tureen\r\n\r\n")  # a connection more would be refused
        assert refusals(opened[1].reply().body, "address_connections") > 0


@contextmanager
def wire_from(server: Server, address: str) -> Iterator[socket.socket]:
    with socket.create_connection((server.host, server.port), PATIENCE_S, (address, 0)) as connection:
        yield connection


# -- WebSockets ----------------------------------------------------------------------------------------------------------


def test_a_websocket_whose_client_does_not_read_is_cut_off(server: Server) -> None:
    rss, descriptors = leftovers(server)
    with counted(server, "write_timeout_s"), websocket(server, "/talk"):
        until(lambda: leftovers(server)[1] <= descriptors, "nothing is left open")
    assert leftovers(server)[0] - rss < 30 * MIB


def test_pings_whose_answers_nobody_reads_fill_no_memory(server: Server) -> None:
    rss, _ = leftovers(server)
    pings = frame(PING, b"x" * 125) * 1000
    with websocket(server, "/listen") as client:
        with suppress(ConnectionError):  # it is cut off
            client.pour(repeat(pings, 400))  # 50 MB, and as much in answers
        assert leftovers(server)[0] - rss < 30 * MIB
    assert server.post(PATH, BODY).status == 200


def test_a_flood_to_a_handler_that_does_not_read_is_bounded_and_closed_with_1008(server: Server) -> None:
    rss, _ = leftovers(server)
    with counted(server, "websocket_stall_s"), websocket(server, "/deaf") as client:
        client.flood(repeat(bytes(MIB - 1), 100))
        assert client.closing_code() == 1008
        assert leftovers(server)[0] - rss < 60 * MIB


def test_a_websocket_that_says_nothing_is_not_idle(server: Server) -> None:
    with websocket(server, "/listen") as client:
        time.sleep(1.3)
        client.send(BINARY, b"x")
        client.send(PING, b"y")
        assert client.receive() == (10, b"y")
