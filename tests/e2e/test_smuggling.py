"""One rule for each test: a request has one meaning, the same on both servers and however its bytes arrive, or none."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.e2e.served import Server
from tests.e2e.smuggling import OK, REFUSED, SMUGGLED, TAKEN, Case
from tests.e2e.wire import Wire, wire


def statuses(connection: Wire, most: int) -> list[int]:
    """The statuses of the answers that come, at most so many."""
    found: list[int] = []
    with suppress(IndexError):  # the end
        while len(found) < most:
            found.append(connection.reply().status)
    return found


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name[:60])
def test_what_can_be_read_in_two_ways_gets_one_refusal_and_no_second_answer(fast_server: Server, case: Case) -> None:
    with wire(fast_server) as connection:
        connection.send(case.data)
        reply = connection.reply()
        assert (reply.status,) == case.statuses
        assert reply.json()["code"] == {400: "bad_request", 431: "headers_too_large", 501: "not_supported"}[reply.status]
        assert reply.headers["connection"] == "close"
        assert connection.closed


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name[:60])
def test_what_came_before_a_refused_request_is_answered_before_it(fast_server: Server, case: Case) -> None:
    with wire(fast_server) as connection:
        connection.send(OK + OK + case.data)
        assert statuses(connection, 3) == [200, 200, *case.statuses]
        assert connection.closed


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: case.name[:60])
def test_what_has_one_meaning_gets_it(fast_server: Server, case: Case) -> None:
    with wire(fast_server) as connection:
        connection.send(case.data)
        assert tuple(statuses(connection, len(case.statuses))) == case.statuses
        if case.closed:
            assert connection.closed


def test_no_smuggled_request_was_answered(fast_server: Server) -> None:
    assert not [line for line in fast_server.log if SMUGGLED in line]


SPLIT = [case for case in (*REFUSED, *TAKEN) if len(case.data) < 400][::6]


@pytest.mark.parametrize("case", SPLIT, ids=lambda case: case.name[:60])
def test_bytes_that_come_one_by_one_mean_the_same(fast_server: Server, case: Case) -> None:
    with wire(fast_server) as connection:
        with suppress(ConnectionError):  # closed before all of it has come
            connection.send(*[case.data[at : at + 1] for at in range(len(case.data))])
        assert tuple(statuses(connection, len(case.statuses))) == case.statuses
