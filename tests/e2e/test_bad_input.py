"""Whatever may be wrong with a request: its status, code and sentence, on every server and lane, disturbing nobody.

The tables are in ``bad_requests``.
"""

from __future__ import annotations

import gzip
import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.e2e.bad_requests import INFER, PREDICT, ROW, Refused, predict
from tests.e2e.conftest import BODY_BYTES
from tests.e2e.error_replies import ANSWER, INFER_PATH, PREDICT_PATH, check, check_good
from tests.e2e.patience import PATIENCE_S
from tests.e2e.served import Reply, Server
from tests.e2e.wire import wire

NOT_HTTP = "what came is not HTTP/1.1; check the request line, the headers and Content-Length"
NO_LENGTH = "Content-Length is one number of bytes, in digits alone, and given once"
NO_CHUNKS = "the body is not in chunks as HTTP/1.1 has them; check each chunk's length and line ends"


@pytest.fixture
def server(strict_server: Server) -> Server:
    return strict_server


def check_refused(reply: Reply, case: Refused) -> None:
    check(reply, 400, case.code, case.error)
    details = reply.json().get("details", [])
    places = [(one["path"], one["expected"], one.get("got", "")) for one in details]
    assert places == ([] if case.details is None else [case.details])


@pytest.mark.parametrize("case", INFER.values(), ids=INFER.keys())
def test_a_bad_infer_request_is_told_what_was_expected_and_what_came(server: Server, case: Refused) -> None:
    headers = {} if case.header_length is None else {"Inference-Header-Content-Length": case.header_length}
    check_refused(server.post(f"/v2/models/{case.model}/infer", case.body, headers), case)


@pytest.mark.parametrize("case", PREDICT.values(), ids=PREDICT.keys())
def test_a_bad_predict_request_is_told_what_was_expected_and_what_came(server: Server, case: Refused) -> None:
    headers = {} if case.header_length is None else {"Inference-Header-Content-Length": case.header_length}
    check_refused(server.post(f"/v1/models/{case.model}:predict", case.body, headers), case)


def test_good_requests_on_the_same_connection_are_answered_after_each_bad_one(server: Server) -> None:
    with closing(http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE_S)) as connection:

        def ask(path: str, body: bytes) -> object:
            connection.request("POST", path, body)
            return json.loads(connection.getresponse().read())

        for case in INFER.values():
            if case.header_length is None:
                ask(f"/v2/models/{case.model}/infer", case.body)
                assert ask(PREDICT_PATH, predict(instances=[ROW])) == ANSWER
        for path in ("/nothing", "/v2/models/nobody/infer", "/v1/models/cut-graph:predict"):
            ask(path, b"{}")
            assert ask(PREDICT_PATH, predict(instances=[ROW])) == ANSWER


def test_good_requests_beside_bad_ones_get_the_answers_they_get_alone(server: Server) -> None:
    bad = [case for case in INFER.values() if case.model == "affine" and case.header_length is None]

    def ask(turn: int) -> tuple[int, object]:
        if turn % 2:
            return server.post(INFER_PATH, bad[turn // 2 % len(bad)].body).status, None
        reply = server.post(PREDICT_PATH, predict(instances=[[turn, 0, 0, 0]]))
        return reply.status, reply.json()

    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(ask, range(96)))
    assert answers == [(400, None) if turn % 2 else (200, {"predictions": [[turn + 0.5, -0.5]]}) for turn in range(96)]


@pytest.mark.parametrize(
    ("headers", "status", "code", "error"),
    [
        (
            {"X-Request-Timeout-Ms": "soon"},
            400,
            "bad_request",
            "X-Request-Timeout-Ms is 'soon'; expected a number of milliseconds above 0",
        ),
        (
            {"X-Request-Timeout-Ms": "-1"},
            400,
            "bad_request",
            "X-Request-Timeout-Ms is '-1'; expected a number of milliseconds above 0",
        ),
        (
            {"X-Request-Timeout-Ms": "nan"},
            400,
            "bad_request",
            "X-Request-Timeout-Ms is 'nan'; expected a number of milliseconds above 0",
        ),
        (
            {"X-Request-Timeout-Ms": "1_000"},
            400,
            "bad_request",
            "X-Request-Timeout-Ms is '1_000'; expected a number of milliseconds above 0",
        ),
        (
            {"X-Priority": "urgent"},
            400,
            "bad_request",
            "X-Priority is 'urgent'; expected high, normal or low",
        ),
        (
            {"Content-Type": "text/html"},
            415,
            "unsupported_media",
            "content type 'text/html' is not taken here; send application/json",
        ),
        (
            {"Content-Type": "application/json; charset=latin-1"},
            415,
            "unsupported_media",
            "charset 'charset=latin-1' is not taken; send JSON as UTF-8",
        ),
        (
            {"Content-Type": "application/json; charset=utf-16; x=utf-8"},
            415,
            "unsupported_media",
            "charset 'charset=utf-16; x=utf-8' is not taken; send JSON as UTF-8",
        ),
        (
            {"Content-Encoding": "br"},
            415,
            "unsupported_media",
            "Content-Encoding 'br' is not taken; send gzip, deflate or identity.",
        ),
        (
            {"Content-Encoding": "gzip"},
            400,
            "bad_request",
            "The request's body is not what its Content-Encoding says; send valid gzip or deflate.",
        ),
    ],
)
def test_a_header_that_cannot_be_followed_is_named(
    server: Server, headers: dict[str, str], status: int, code: str, error: str
) -> None:
    check(server.post(PREDICT_PATH, predict(instances=[ROW]), headers), status, code, error)


def test_a_body_over_the_limit_is_refused_with_both_numbers(server: Server) -> None:
    body = predict(instances=[ROW]).ljust(BODY_BYTES + 1)
    check(
        server.post(PREDICT_PATH, body),
        413,
        "body_too_large",
        "the body has 65537 bytes, over the limit of 65536 bytes; send fewer rows a request",
    )
    assert server.post(PREDICT_PATH, predict(instances=[ROW]).ljust(BODY_BYTES)).json() == ANSWER


def test_a_body_of_unknown_length_is_read_up_to_the_limit(server: Server) -> None:
    with wire(server) as connection:
        chunk = b" " * 16_384
        connection.send(f"POST {PREDICT_PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        connection.send(*[b"4000\r\n" + chunk + b"\r\n"] * 5)
        check(connection.reply(), 413, "body_too_large", "the body is over the limit of 65536 bytes; send fewer rows a request")
    check_good(server)


def test_a_body_that_inflates_over_the_limit_is_refused(server: Server) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    assert len(bomb) < BODY_BYTES
    check(
        server.post(PREDICT_PATH, bomb, {"Content-Encoding": "gzip"}),
        413,
        "body_too_large",
        "The body inflates to more than the limit of 262144 bytes; send fewer rows a request.",
    )


def test_a_compressed_body_that_is_cut_short_is_refused(server: Server) -> None:
    cut = gzip.compress(predict(instances=[ROW]))[:-5]
    check(
        server.post(PREDICT_PATH, cut, {"Content-Encoding": "gzip"}),
        400,
        "bad_request",
        "The compressed body is cut short; send all of it.",
    )


def test_a_body_that_never_comes_leaves_others_alone(server: Server) -> None:
    with wire(server) as connection:
        connection.send(f"POST {PREDICT_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode())
        check_good(server)
    check_good(server)


def test_a_method_that_nobody_knows_is_refused_as_json(server: Server) -> None:
    reply = server.request("BREW", "/v2")
    if server.kind == "hypercorn":
        check(reply, 405, "method_not_allowed", "BREW is not taken here; expected GET, HEAD, OPTIONS")
    else:  # uvicorn's parser takes it for something other than HTTP
        check(reply, 400, "bad_request", NOT_HTTP)


@pytest.mark.parametrize(
    ("head", "error"),
    [
        ("GARBAGE", NOT_HTTP),
        (f"POST {PREDICT_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: abc", NO_LENGTH),
        (f"POST {PREDICT_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: -5", NO_LENGTH),
        (f"POST {PREDICT_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6", NO_LENGTH),
        (f"POST {PREDICT_PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz", NO_CHUNKS),
        ("GET /v2 HTTP/1.1\r\nHost: x\r\nBad Header: 1", NOT_HTTP),
    ],
)
def test_what_is_not_http_is_a_400_that_closes_its_own_connection_alone(server: Server, head: str, error: str) -> None:
    with wire(server) as connection:
        connection.send(head.encode() + b"\r\n\r\n")
        reply = connection.reply()
        assert reply.status == 400
        assert reply.headers["connection"] == "close"
        check(reply, 400, "bad_request", error)
    check_good(server)
