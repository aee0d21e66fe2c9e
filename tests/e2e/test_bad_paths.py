"""Whatever may be wrong with a path, a name in it or its method: the nearest that there is, and no way out of the repository."""

from __future__ import annotations

import pytest

from tests.e2e.bad_requests import GOOD
from tests.e2e.error_replies import INFER_PATH, PREDICT_PATH, check, check_good
from tests.e2e.served import Server

AT = "models answer at /v2/models/NAME/infer and /v1/models/NAME:predict, NAME being letters, digits, '.', '_', '-'"


@pytest.fixture
def server(strict_server: Server) -> Server:
    return strict_server


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
    ("method", "path", "named"),
    [
        ("POST", f"/{PREDICT_PATH}", f"/%2F{PREDICT_PATH[1:]}"),
        ("POST", f"//{INFER_PATH}", f"/%2F%2F{INFER_PATH[1:]}"),
        ("POST", "/v1/models%2Faffine:predict", "/v1/models%2Faffine:predict"),
        ("POST", "/v1%2fmodels/affine:predict", "/v1%2Fmodels/affine:predict"),
        ("POST", "/%2Fv1/models/affine:predict", "/%2Fv1/models/affine:predict"),
        ("POST", "/v2%2Frepository/models/affine/load", "/v2%2Frepository/models/affine/load"),
        ("GET", "//metrics", "/%2Fmetrics"),
        ("GET", "//v2/health/live", "/%2Fv2/health/live"),
        ("GET", "/v2%2Fhealth/live", "/v2%2Fhealth/live"),
        ("GET", "/v2//health/live", "/v2//health/live"),
    ],
)
def test_a_path_has_one_spelling(server: Server, method: str, path: str, named: str) -> None:
    for _ in range(3):  # a head that is known by heart is no other path
        check(
            server.request(method, path, GOOD if method == "POST" else None),
            404,
            "not_found",
            f"there is nothing at '{named}'; {AT}",
        )


def test_an_absolute_target_has_one_spelling_too(server: Server) -> None:
    path = f"http://{server.address}/{PREDICT_PATH}"
    check(server.request("POST", path, GOOD), 404, "not_found", f"there is nothing at '/%2F{PREDICT_PATH[1:]}'; {AT}")


@pytest.mark.parametrize("path", ["//v2", "/v2%2Fmodels"])
def test_a_websockets_path_has_one_spelling(server: Server, path: str) -> None:
    assert server.get(path, HANDSHAKE).json()["code"] == "not_found"


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


@pytest.mark.parametrize(
    "wrong",
    [
        {"Sec-WebSocket-Key": None},
        {"Sec-WebSocket-Key": ""},
        {"Sec-WebSocket-Version": None},
        {"Sec-WebSocket-Version": "12"},
        {"Sec-WebSocket-Version": "13, 8"},
    ],
)
def test_a_websocket_that_nobody_could_speak_is_refused_like_any_request(server: Server, wrong: dict[str, str | None]) -> None:
    headers = {name: value for name, value in {**HANDSHAKE, **wrong}.items() if value is not None}
    reply = server.get("/v2", headers)
    assert (reply.headers["sec-websocket-version"], reply.headers["connection"]) == ("13", "close")
    told = "a WebSocket handshake has one Sec-WebSocket-Key, and one Sec-WebSocket-Version, which is 13"
    check(reply, 400, "bad_request", told)


HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
