"""Heads that a server has parsed before, on every server and lane: what it need not parse again must mean the same."""

from __future__ import annotations

import json

import pytest

from tests.e2e.served import Server
from tests.e2e.wire import Wire, post, wire

PATH = "/v1/models/affine:predict"


def body(first: int) -> bytes:
    return json.dumps({"instances": [[first, 2, 3, 4]]}).encode()


def answer(connection: Wire) -> float:
    reply = connection.reply()
    assert reply.status == 200
    return float(reply.json()["predictions"][0][0])


@pytest.fixture
def known(server: Server) -> float:
    """The answer to body(1), from a server that knows the head that carries it."""
    with wire(server) as connection:
        for _ in range(3):
            connection.send(post(PATH, body(1)))
            found = answer(connection)
    return found


def test_the_same_head_with_another_body_gets_another_answer(server: Server, known: float) -> None:
    with wire(server) as connection:
        connection.send(post(PATH, body(1)))
        assert answer(connection) == known
        connection.send(post(PATH, body(7)))
        assert answer(connection) != known
        connection.send(post(PATH, body(1)))
        assert answer(connection) == known


def test_known_requests_sent_at_once_are_answered_in_their_order(server: Server, known: float) -> None:
    with wire(server) as connection:
        for number in (1, 7, 1, 8):
            connection.send(post(PATH, body(number)))
        first, second, third, fourth = (answer(connection) for _ in range(4))
    assert first == third == known
    assert len({first, second, fourth}) == 3


def test_a_known_request_inside_an_unfinished_head_is_no_request(server: Server, known: float) -> None:
    with wire(server) as connection:
        connection.send(post(PATH, body(1)))
        assert answer(connection) == known
        begun = b"POST " + PATH.encode() + b" HTTP/1.1\r\nX-Inner: "
        connection.send(begun)
        connection.send(post(PATH, body(1), "Connection: close"))
        assert answer(connection) == known
        assert connection.rest() == b""


def test_a_known_request_inside_an_unfinished_body_is_part_of_it(server: Server, known: float) -> None:
    inner = post(PATH, body(1))
    with wire(server) as connection:
        connection.send(f"POST {PATH} HTTP/1.1\r\nHost: tureen\r\nContent-Length: {len(inner)}\r\n\r\n".encode())
        connection.send(inner)
        assert connection.reply().status == 400
        connection.send(inner)
        assert answer(connection) == known


def test_what_follows_a_known_request_is_read_as_ever(server: Server, known: float) -> None:
    with wire(server) as connection:
        connection.send(post(PATH, body(1)))
        assert answer(connection) == known
        connection.send(b"no HTTP at all\r\n\r\n")
        assert connection.reply().status == 400


def test_a_known_head_with_a_bad_body_is_refused_and_the_connection_goes_on(server: Server, known: float) -> None:
    bad = body(1).replace(b"2", b"x")
    with wire(server) as connection:
        connection.send(post(PATH, body(1)))
        assert answer(connection) == known
        connection.send(post(PATH, bad))
        assert connection.reply().status == 400
        connection.send(post(PATH, body(1)))
        assert answer(connection) == known
