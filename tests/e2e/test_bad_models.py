"""Whatever may be wrong with a model: each says why it does not serve, and the good ones beside it do.

The tables are in ``bad_models``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e import bad_models
from tests.e2e.bad_models import UNLOADABLE, WHOLLY
from tests.e2e.bad_requests import GOOD, ROW, predict
from tests.e2e.error_replies import ANSWER, check, check_good, check_hidden
from tests.e2e.served import Reply, Server


@pytest.fixture
def server(strict_server: Server) -> Server:
    return strict_server


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
