"""Whatever may be wrong with a request or a model: its status, code and sentence, on every server and lane, disturbing nobody.

The tables are in ``bad_requests`` and ``bad_models``.
"""

from __future__ import annotations

import gzip
import http.client
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e import bad_models
from tests.e2e.bad_models import UNLOADABLE, WHOLLY
from tests.e2e.bad_requests import GOOD, INFER, PREDICT, ROW, Refused, predict
from tests.e2e.conftest import SERVERS
from tests.e2e.patience import PATIENCE_S
from tests.e2e.served import Reply, Server, serving
from tests.e2e.wire import wire

BODY_BYTES, INFLATED_BYTES = 65_536, 262_144
LIMITS = {"TUREEN_LIMITS__BODY_BYTES": str(BODY_BYTES), "TUREEN_LIMITS__INFLATED_BYTES": str(INFLATED_BYTES)}
INFER_PATH, PREDICT_PATH = "/v2/models/affine/infer", "/v1/models/affine:predict"
ANSWER = {"predictions": [[9.5, -0.5]]}
#: What no caller may see: directories, tracebacks, other people's code.
INSIDE = re.compile(rb'Traceback|File \\?"|site-packages|/tmp|/home|/work|/usr|line \d+, in ')


@pytest.fixture(scope="module")
def repository(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bad_models.build(tmp_path_factory.mktemp("bad") / "repository", kitchen)


@pytest.fixture(scope="module", params=SERVERS, ids="-".join)
def server(repository: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each of the four, with small limits, over good and bad models."""
    kind, lane = request.param
    with serving(repository, kind=kind, lane=lane, cwd=tmp_path_factory.mktemp("cwd"), env=LIMITS) as made:
        yield made


def check(reply: Reply, status: int, code: str, error: str) -> None:
    """The reply is the JSON that every error has, and tells nothing of the inside."""
    told = reply.json()
    assert (reply.status, told["code"], told["error"]) == (status, code, error)
    assert told["request_id"] == reply.headers["x-request-id"] != ""
    assert reply.headers["content-type"] == "application/json"
    assert set(told) <= {"error", "code", "request_id", "details"}
    check_hidden(reply)


def check_hidden(reply: Reply) -> None:
    assert not INSIDE.search(reply.body)


def check_refused(reply: Reply, case: Refused) -> None:
    check(reply, 400, case.code, case.error)
    details = reply.json().get("details", [])
    places = [(one["path"], one["expected"], one.get("got", "")) for one in details]
    assert places == ([] if case.details is None else [case.details])


def check_good(server: Server) -> None:
    assert server.post(PREDICT_PATH, predict(instances=[ROW])).json() == ANSWER


# -- requests ------------------------------------------------------------------------------------------------------------------


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


# -- models and paths ----------------------------------------------------------------------------------------------------------

AT = "models answer at /v2/models/NAME/infer and /v1/models/NAME:predict, NAME being letters, digits, '.', '_', '-'"


@pytest.mark.parametrize(
    ("method", "path", "code", "error"),
    [
        ("POST", "/v2/models/afine/infer", "unknown_model", "there is no model 'afine'; did you mean 'affine'?"),
        ("POST", "/v1/models/afine:predict", "unknown_model", "there is no model 'afine'; did you mean 'affine'?"),
        ("GET", "/v2/models/quite-another", "unknown_model", "there is no model 'quite-another'"),
        ("GET", "/v2/models/afine/ready", "unknown_model", "there is no model 'afine'; did you mean 'affine'?"),
        ("POST", "/v2/repository/models/afine/load", "unknown_model", "there is no model 'afine'; did you mean 'affine'?"),
        ("POST", "/v2/models/affine/versions/9/infer", "unknown_version", "model 'affine' does not serve version 9; it serves 1"),
        (
            "POST",
            "/v2/models/affine/versions/0/infer",
            "unknown_version",
            "model 'affine' has no version '0'; a version is a positive integer",
        ),
        (
            "POST",
            "/v1/models/affine/versions/-1:predict",
            "unknown_version",
            "model 'affine' has no version '-1'; a version is a positive integer",
        ),
        (
            "POST",
            f"/v2/models/affine/versions/{9**30}/infer",
            "unknown_version",
            f"model 'affine' has no version '{9**30}'; a version is a positive integer",
        ),
        (
            "POST",
            "/v1/models/boost/labels/stabel:predict",
            "unknown_version",
            "model 'boost' has no label 'stabel'; the nearest it has is 'stable'",
        ),
        ("GET", "/nothing", "not_found", f"there is nothing at '/nothing'; {AT}"),
        ("GET", "/v2/models/affine/nothing", "not_found", f"there is nothing at '/v2/models/affine/nothing'; {AT}"),
        ("POST", "/v1/models/affine:guess", "not_found", f"there is nothing at '/v1/models/affine:guess'; {AT}"),
    ],
)
def test_what_is_not_there_is_a_404_that_names_the_nearest(server: Server, method: str, path: str, code: str, error: str) -> None:
    check(server.request(method, path, b"{}" if method == "POST" else None), 404, code, error)


@pytest.mark.parametrize(
    "path",
    [
        "/v2/..%2f..%2fetc%2fpasswd",
        "/v2/../../etc/passwd",
        "/v2/models/..%2f..%2faffine/infer",
        "/v2/models/../affine/infer",
        "/v2/models/%2e%2e/infer",
        "/v2/models/.affine/infer",
        "/v2/models/%2e/infer",
        "/v2/models/affine%2f1/infer",
        "/v2/models/affine%00/infer",
        "/v2/models/affine%0a/infer",
        "/v2/models/%ff%fe/infer",
        "/v2/models/%zz/infer",
        "/v2/models/%/infer",
        "/v2/models/" + "a" * 129 + "/infer",
        "/v2/models/" + "a" * 8000 + "/infer",
        "/v2/models/" + "%61" * 129 + "/infer",
        "/v1/models/..%2faffine:predict",
        "/v1/models/../affine:predict",
        "/v2/repository/models/..%2faffine/load",
        "/v2/repository/models/../affine/unload",
    ],
)
def test_no_name_leads_out_of_the_repository(server: Server, path: str) -> None:
    reply = server.post(path, GOOD)
    told = reply.json()
    assert (reply.status, told["code"]) == (404, "not_found")
    assert told["error"].startswith("there is nothing at '/v")
    assert len(told["error"]) < 300
    check_good(server)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", INFER_PATH, "OPTIONS, POST"),
        ("PUT", PREDICT_PATH, "OPTIONS, POST"),
        ("TRACE", INFER_PATH, "OPTIONS, POST"),
        ("DELETE", "/v2/models/affine", "GET, HEAD, OPTIONS"),
        ("POST", "/v2/health/live", "GET, HEAD, OPTIONS"),
        ("GET", "/v2/repository/index", "OPTIONS, POST"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(server: Server, method: str, path: str, allow: str) -> None:
    reply = server.request(method, path)
    assert reply.headers["allow"] == allow
    check(reply, 405, "method_not_allowed", f"{method} is not taken here; expected {allow}")


def test_a_method_that_nobody_knows_is_refused_as_json(server: Server) -> None:
    reply = server.request("BREW", "/v2")
    if server.kind == "hypercorn":
        check(reply, 405, "method_not_allowed", "BREW is not taken here; expected GET, HEAD, OPTIONS")
    else:  # uvicorn's parser takes it for something other than HTTP
        check(reply, 400, "bad_request", NOT_HTTP)


NOT_HTTP = "what came is not HTTP/1.1; check the request line, the headers and Content-Length"


NO_LENGTH = "Content-Length is one number of bytes, in digits alone, and given once"
NO_CHUNKS = "the body is not in chunks as HTTP/1.1 has them; check each chunk's length and line ends"


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


@pytest.mark.parametrize(
    ("path", "status", "code", "error"),
    [
        ("/nothing", 404, "not_found", f"there is nothing at '/nothing'; {AT}"),
        ("/v2", 400, "bad_request", "there is no WebSocket at '/v2'; send a plain HTTP request"),
        (PREDICT_PATH, 405, "method_not_allowed", "GET is not taken here; expected OPTIONS, POST"),
    ],
)
def test_a_websocket_where_there_is_none_is_refused_like_any_request(
    server: Server, path: str, status: int, code: str, error: str
) -> None:
    check(server.get(path, HANDSHAKE), status, code, error)


HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def test_a_body_that_never_comes_leaves_others_alone(server: Server) -> None:
    with wire(server) as connection:
        connection.send(f"POST {PREDICT_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode())
        check_good(server)
    check_good(server)


@pytest.mark.parametrize(
    ("body", "code", "error"),
    [
        (b"{", "bad_request", "the body is not what this path takes: Input data was truncated; send nothing, or a JSON object"),
        (
            b"[]",
            "bad_request",
            "the body is not what this path takes: Expected `object`, got `array`; send nothing, or a JSON object",
        ),
        (
            {"parameters": {"config": 3}},
            "bad_request",
            "parameters.config is not a string; send model.toml's sections as a JSON object in a string",
        ),
        (
            {"parameters": {"confg": "{}"}},
            "bad_request",
            "parameters.confg: a load has no such parameter (expected config, got confg)",
        ),
        (
            {"parameters": {"file:1/model.onnx": "AAAA"}},
            "bad_request",
            "files are not taken in a load; put them into the repository and load the model",
        ),
        (
            {"parameters": {"config": "{"}},
            "load_failed",
            "model 'affine', config: not valid JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        (
            {"parameters": {"config": '{"batching": {"max_row": 3}}'}},
            "load_failed",
            "model 'affine', config: batching.max_row: unknown key; the nearest known one is batching.max_rows",
        ),
    ],
)
def test_a_load_that_cannot_be_followed_changes_nothing(server: Server, body: object, code: str, error: str) -> None:
    check(server.post("/v2/repository/models/affine/load", body), 400, code, error)
    check_good(server)


# -- bad models ----------------------------------------------------------------------------------------------------------------


def test_the_index_says_of_every_bad_model_why_it_does_not_serve(server: Server) -> None:
    reply = server.post("/v2/repository/index")
    check_hidden(reply)
    reasons = {entry["name"]: entry["reason"] for entry in reply.json() if entry["state"] == "UNAVAILABLE"}
    expected = {name: f"model {name!r} version 1{reason}" for name, reason in UNLOADABLE.items()} | WHOLLY
    assert {name: reasons[name] for name in expected} == expected


@pytest.mark.parametrize("name", [*UNLOADABLE, *WHOLLY])
def test_a_model_that_did_not_load_is_a_503_with_its_reason(server: Server, name: str) -> None:
    reason = WHOLLY.get(name) or f"model {name!r} version 1{UNLOADABLE[name]}"
    for method, path in (
        ("POST", f"/v2/models/{name}/infer"),
        ("POST", f"/v1/models/{name}:predict"),
        ("GET", f"/v2/models/{name}/ready"),
    ):
        reply = server.request(method, path, GOOD if method == "POST" else None)
        check(reply, 503, "model_not_ready", reason)
        assert reply.headers["retry-after"] == "1"


@pytest.mark.parametrize("name", ["at-import", "in-load", "cut-graph", "cut-trees", "no-file", "typo"])
def test_loading_a_bad_model_again_is_a_400_with_its_reason(server: Server, name: str) -> None:
    reason = WHOLLY.get(name) or f"model {name!r} version 1{UNLOADABLE[name]}"
    check(server.post(f"/v2/repository/models/{name}/load"), 400, "load_failed", reason)
    check_good(server)


def test_the_good_version_of_a_model_serves_beside_its_damaged_one(server: Server) -> None:
    assert server.post("/v1/models/twin:predict", predict(instances=[ROW])).json() == ANSWER
    reply = server.post("/v2/models/twin/versions/2/infer", GOOD)
    check(reply, 503, "model_not_ready", f"model 'twin' version 2 did not load: {bad_models.ONNX}")


def test_bad_models_do_not_keep_the_server_from_being_ready(server: Server) -> None:
    assert server.get("/v2/health/ready").status == 200


@pytest.mark.parametrize(
    ("x", "status", "code", "error"),
    [
        (1, 500, "model_failed", "the model raised ValueError: no such day in model.py"),
        (2, 500, "model_failed", "the model's output 'y' has 0 rows; expected 1, as many as came in"),
        (3, 500, "model_failed", "the model left out its output 'y'; it returned z"),
        (4, 500, "model_failed", "the model returned None; expected a mapping from output names to arrays"),
        (
            5,
            500,
            "not_finite",
            "The outputs hold NaN or Infinity, which JSON cannot say; /v2/models/M/infer gives them in binary or as strings.",
        ),
        (6, 500, "model_failed", "the model's output 'y' has shape [1, 2]; expected 1 dims, [-1]"),
        (7, 500, "model_failed", "the model's output 'y' is text; expected FP64"),
        (8, 500, "model_failed", "the model raised SystemExit: 3"),
        (9, 400, "invalid_input", "inputs.x.data: the shop is closed on that day (expected a day below 7, got 9)"),
    ],
)
def test_what_a_models_code_does_wrong_is_told_and_stays_with_its_caller(
    server: Server, x: int, status: int, code: str, error: str
) -> None:
    def ask(value: float) -> Reply:
        return server.post("/v1/models/sour:predict", predict(instances=[value]))

    with ThreadPoolExecutor(12) as callers:
        replies = list(callers.map(ask, [x, *(number / 8 + 20 for number in range(11))]))
    check(replies[0], status, code, error)
    assert [reply.json() for reply in replies[1:]] == [{"predictions": [number / 4 + 40]} for number in range(11)]
