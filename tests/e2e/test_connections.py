"""What happens on a connection around the requests, on every server and lane."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import SERVERS, Servers
from tests.e2e.kitchen import Gate
from tests.e2e.limited import limits_env
from tests.e2e.patience import until
from tests.e2e.served import Server
from tests.e2e.wire import Wire, chunked, post, wire

LIMIT = 4096
PATH = "/v1/models/affine:predict"
BODY = json.dumps({"instances": [[1, 2, 3, 4]]}).encode()
ANSWER = {"predictions": [[9.5, -0.5]]}


@pytest.fixture(scope="module")
def narrow(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers that take bodies of at most LIMIT bytes, inflated twice that."""
    env = limits_env({"body_bytes": LIMIT, "inflated_bytes": 2 * LIMIT})
    with ExitStack() as stack:
        yield Servers(kitchen, tmp_path_factory.mktemp("narrow"), stack, env)


@pytest.fixture(params=SERVERS, ids="-".join)
def narrow_server(narrow: Servers, request: pytest.FixtureRequest) -> Server:
    return narrow(*request.param)


def test_a_body_may_come_in_chunks(server: Server) -> None:
    with wire(server) as connection:
        connection.send(*chunked(PATH, BODY[:1], BODY[1:9], BODY[9:]))
        assert connection.reply().json() == ANSWER
        connection.send(post(PATH, BODY))
        assert connection.reply().json() == ANSWER


def test_a_body_may_come_slowly(server: Server) -> None:
    request = post(PATH, BODY)
    with wire(server) as connection:
        connection.send(*(request[at : at + 1] for at in range(len(request))))
        assert connection.reply().json() == ANSWER


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (f"GET {PATH}", 405),
        ("GET /v3", 404),
        ("POST /v2/models/nobody/infer", 404),
        (f"POST {PATH}", 400),
        ("DELETE /v2", 405),
    ],
)
def test_a_connection_goes_on_after_an_error(server: Server, request_line: str, status: int) -> None:
    with wire(server) as connection:
        for _ in range(2):
            connection.send(f"{request_line} HTTP/1.1\r\nHost: tureen\r\nContent-Length: 2\r\n\r\n[]".encode())
            reply = connection.reply()
            assert (reply.status, "error" in reply.json()) == (status, True)
            connection.send(post(PATH, BODY))
            assert connection.reply().json() == ANSWER


def test_requests_sent_ahead_are_answered_in_order(server: Server) -> None:
    with wire(server) as connection:
        connection.send(post(PATH, BODY, "X-Request-Id: first") + post(PATH, b"[]", "X-Request-Id: second") + post(PATH, BODY))
        assert [connection.reply().headers["x-request-id"] for _ in range(2)] == ["first", "second"]
        assert connection.reply().json() == ANSWER


def test_an_empty_line_before_a_request_is_passed_over_in_a_packet_of_its_own(server: Server) -> None:
    with wire(server) as connection:
        for _ in range(3):
            connection.send(b"\r\n")
            assert server.get("/v2/health/live").status == 200  # the line has been read by then
            connection.send(post(PATH, BODY))
            assert connection.reply().json() == ANSWER


def test_half_an_empty_line_before_a_request_that_is_known_is_no_http(server: Server) -> None:
    with wire(server) as connection:
        for _ in range(3):
            connection.send(post(PATH, BODY))
            assert connection.reply().json() == ANSWER
        connection.send(b"\r")
        assert server.get("/v2/health/live").status == 200
        connection.send(post(PATH, BODY))
        assert connection.reply().status == 400


@pytest.mark.parametrize("asked", [f"POST {PATH}", "GET /v2", "GET /healthz", "GET /nothing", "POST /v2/models/nobody/infer"])
def test_of_two_request_ids_the_last_is_the_requests(server: Server, asked: str) -> None:
    with wire(server) as connection:
        for _ in range(2):
            ids = "X-Request-Id: first\r\nX-Request-Id: last"
            connection.send(f"{asked} HTTP/1.1\r\nHost: tureen\r\nContent-Length: {len(BODY)}\r\n{ids}\r\n\r\n".encode() + BODY)
            assert connection.reply().headers["x-request-id"] == "last"


def test_codings_in_two_lines_are_one_list(server: Server) -> None:
    codings = ("Content-Encoding: deflate", "content-encoding: gzip")
    with wire(server) as connection:
        for _ in range(2):
            connection.send(post(PATH, gzip.compress(zlib.compress(BODY), mtime=0), *codings))
            assert connection.reply().json() == ANSWER


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(server: Server) -> None:
    head, body = post(PATH, BODY, "Expect: 100-continue").split(b"\r\n\r\n")
    with wire(server) as connection:
        connection.send(head + b"\r\n\r\n")
        assert connection.reply().status == 100
        connection.send(body)
        assert connection.reply().json() == ANSWER


def test_a_client_of_http_1_0_is_never_told_to_go_on(server: Server) -> None:
    with wire(server) as connection:
        connection.send(post(PATH, BODY, "Expect: 100-continue", version="1.0"))
        assert connection.reply().json() == ANSWER


@pytest.mark.parametrize(("version", "header"), [("1.0", "Accept: */*"), ("1.1", "Connection: close")])
def test_a_connection_is_closed_where_the_client_wants_it(server: Server, version: str, header: str) -> None:
    with wire(server) as connection:
        connection.send(post(PATH, BODY, header, version=version))
        assert connection.reply().json() == ANSWER
        assert connection.closed


@pytest.mark.parametrize("path", ["/v2", "/v2/health/ready", "/v2/models/affine", "/v1/models/affine"])
def test_head_is_get_without_the_body(server: Server, path: str) -> None:
    with wire(server) as connection:
        for method in ("HEAD", "GET"):
            connection.send(f"{method} {path} HTTP/1.1\r\nHost: tureen\r\n\r\n".encode())
        head, get = connection.reply(head=True), connection.reply()
    volatile = ("date", "x-request-id")
    assert {name: value for name, value in head.headers.items() if name not in volatile} == {
        name: value for name, value in get.headers.items() if name not in volatile
    }
    assert (head.status, get.status) == (200, 200)


def test_head_of_an_inference_path_is_refused_without_a_body(server: Server) -> None:
    with wire(server) as connection:
        connection.send(f"HEAD {PATH} HTTP/1.1\r\nHost: tureen\r\n\r\n".encode())
        assert connection.reply(head=True).status == 405
        connection.send(post(PATH, BODY))
        assert connection.reply().json() == ANSWER


def test_a_body_at_the_limit_is_taken(narrow_server: Server) -> None:
    assert narrow_server.post(PATH, BODY + b" " * (LIMIT - len(BODY))).json() == ANSWER


@pytest.mark.parametrize("excess", [1, 5_000_000])
def test_a_body_over_the_limit_is_refused_and_the_next_request_answered(narrow_server: Server, excess: int) -> None:
    with wire(narrow_server) as connection:
        connection.send(post(PATH, BODY, f"Content-Length: {LIMIT + excess}").replace(b"Content-Length: %d\r\n" % len(BODY), b""))
        reply = connection.reply()
    assert (reply.status, reply.json()["code"]) == (413, "body_too_large")
    assert str(LIMIT) in reply.json()["error"]
    assert narrow_server.post(PATH, BODY).json() == ANSWER


def test_a_body_over_the_limit_in_chunks_is_refused(narrow_server: Server) -> None:
    parts = chunked(PATH, *[b" " * 1024] * 5)
    with wire(narrow_server) as connection:
        connection.send(*parts[:-1])  # its end never comes
        reply = connection.reply()
    assert (reply.status, reply.json()["code"]) == (413, "body_too_large")
    assert narrow_server.post(PATH, BODY).json() == ANSWER


def test_a_body_over_the_limit_is_refused_on_every_other_path(narrow_server: Server) -> None:
    reply = narrow_server.post("/v2/repository/index", b" " * (LIMIT + 1))
    assert (reply.status, reply.json()["code"]) == (413, "body_too_large")


def test_a_body_that_inflates_over_its_limit_is_refused(narrow_server: Server) -> None:
    for rows, status in (
        (BODY + b" " * (2 * LIMIT - len(BODY)), 200),
        (BODY + b" " * 50_000_000, 400),
        (BODY + b" " * 10_000, 413),
    ):
        small = gzip.compress(rows)
        reply = narrow_server.post(PATH, small, {"Content-Encoding": "gzip"})
        assert reply.status == (413 if len(small) > LIMIT else status)


def test_a_client_that_leaves_in_the_middle_of_its_body_harms_nobody(server: Server) -> None:
    request = post(PATH, BODY)
    for at in range(1, len(request), 7):
        with wire(server) as connection:
            connection.send(request[:at])
    assert server.post(PATH, BODY).json() == ANSWER


def test_a_client_that_leaves_before_its_answer_harms_nobody(server: Server, gate: Gate) -> None:
    rows = json.dumps({"instances": [{"x": 1, "gate": gate.name}]}).encode()
    with wire(server) as connection:
        connection.send(post("/v1/models/gate:predict", rows))
        gate.await_call()
    gate.open()
    assert server.post("/v1/models/gate:predict", rows).json()["predictions"] == [{"y": 2, "rows": 1}]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts what the process has open, in /proc")
def test_connections_whose_clients_left_are_closed(server: Server) -> None:
    assert server.get("/v2").status == 200
    before = server.descriptors
    for at in (1, 40, 500) * 10:
        with wire(server) as connection:
            connection.send(post(PATH, BODY)[:at])
            if at == 500:
                connection.reply()
    until(lambda: server.descriptors <= before, "the connections are closed")


def test_what_is_no_http_gets_400_or_a_closed_connection(server: Server) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"\0" * 64 + b"\r\n\r\n"):
        with wire(server) as connection:
            connection.send(garbage)
            answered = read_all(connection)
            assert answered == b"" or answered.split()[1] == b"400"
    assert server.post(PATH, BODY).json() == ANSWER


def read_all(connection: Wire) -> bytes:
    """What the server sends until it closes, or resets."""
    try:
        connection.finish()
        return connection.rest()
    except OSError:
        return b""
