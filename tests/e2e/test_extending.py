"""A user's routes, hooks, errors, middleware and Flask app beside the models, on servers as they are run."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.patience import PATIENCE_S, until
from tests.e2e.served import ENVIRONMENT, Server, run, serving
from tests.e2e.team import ROOM

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "python_model"
TEAM = {"X-Team": "till"}
TEA = {"instances": [{"item": "tea"}]}


@pytest.fixture(scope="module", params=("hypercorn", "uvicorn"))
def shop(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The example, as its first lines say to run it."""
    with serving(SHOP, "--app", "examples.extending.extend:extend", kind=request.param, cwd=ROOT) as server:
        yield server


@pytest.fixture(scope="module", params=("hypercorn", "uvicorn"))
def team(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(SHOP, "--app", "team:extend", kind=request.param, cwd=tmp_path_factory.mktemp("team")) as server:
        yield server


def test_a_route_of_ones_own_answers_in_its_own_json_by_way_of_the_engine(shop: Server) -> None:
    asked = {"lines": [{"item": "tea", "count": 3}, {"item": "pot", "count": 1}]}
    assert shop.post("/shop/total", asked, TEAM).json() == {"lines": [13.5, 28.0], "total": 41.5}


def test_what_a_route_of_ones_own_refuses_is_told_as_any_refusal(shop: Server) -> None:
    reply = shop.post("/shop/total", {"lines": [{"item": 3}]}, TEAM)
    assert (reply.status, reply.json()["code"], reply.json()["details"][0]["path"]) == (400, "invalid_input", "lines")


@pytest.mark.parametrize("path", ["/v1/models/cart:predict", "/v2/models/cart/infer"])
def test_hooks_run_on_inference_requests_too(shop: Server, path: str) -> None:
    reply = shop.post(path, TEA)
    assert reply.status == 403
    assert reply.json() == {"message": "say who asks: send the header X-Team"}
    assert reply.headers["x-shop"] == "open"


def test_an_inference_that_hooks_let_through_is_answered_with_their_headers(shop: Server) -> None:
    reply = shop.post("/v1/models/cart:predict", TEA, TEAM)
    assert (reply.status, reply.json(), reply.headers["x-shop"]) == (200, {"predictions": [4.5]}, "open")
    assert reply.headers["server-timing"]


def test_a_mounted_flask_app_answers_beside_the_models(shop: Server) -> None:
    assert shop.get("/legacy/invoices/7").json() == {"invoice": 7, "paid": True}
    assert shop.get("/legacy/").body == b'<a href="/legacy/invoices/7">invoice 7</a>'
    assert b"<title>404 Not Found</title>" in shop.get("/legacy/nothing").body


def test_hooks_of_the_quart_app_stay_out_of_the_mounted_one(shop: Server) -> None:
    reply = shop.post("/legacy/", b"")
    assert reply.status == 405
    assert "x-shop" not in reply.headers


def test_an_exception_in_a_users_route_is_json_without_a_word_of_it(team: Server) -> None:
    reply = team.get("/team/broken", {"X-Request-Id": "r7"})
    assert reply.status == 500
    assert reply.json() == {
        "error": "the server failed to answer; its log has the reason under this request's id",
        "code": "internal",
        "request_id": "r7",
    }
    until(lambda: any(ROOM in line for line in team.log), "the log has the reason")
    assert any("request r7 failed" in line for line in team.log)


def test_a_users_route_may_raise_what_the_table_of_errors_knows(team: Server) -> None:
    reply = team.get("/team/refused")
    assert reply.status == 400
    assert reply.json()["error"] == "day: there is no such day (expected 1 to 31, got 32)"


def test_a_users_abort_keeps_its_status(team: Server) -> None:
    reply = team.get("/team/aborted")
    assert (reply.status, reply.json()["code"]) == (418, "im_a_teapot")


def test_a_body_that_a_users_route_cannot_read_as_json_says_so(team: Server) -> None:
    reply = team.post("/team/json", b"{'day': 1}")
    assert (reply.status, reply.json()["code"]) == (400, "bad_request")
    assert (
        reply.json()["error"] == "the body is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
    )


def test_the_hook_of_a_users_blueprint_leaves_the_express_lane_open(team: Server) -> None:
    assert team.post("/v1/models/cart:predict", TEA).json() == {"predictions": [4.5]}
    assert not any("hooks of its own" in line for line in team.log)


@pytest.mark.parametrize("kind", ["hypercorn", "uvicorn"])
def test_nothing_passes_by_a_middleware_that_a_user_put_in_front(kind: str, tmp_path: Path) -> None:
    with serving(SHOP, "--app", "team:wrap", kind=kind, cwd=tmp_path) as server:
        for path in ("/v1/models/cart:predict", "/v2/models/cart/infer"):
            assert server.post(path, TEA).status == 402
        assert server.post("/v1/models/cart:predict", TEA, {"X-Ticket": "yes"}).json() == {"predictions": [4.5]}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nobody:extend", "--app nobody:extend: there is no module 'nobody'; it is looked for in the working directory"),
        ("team:nothing", "--app team:nothing: nothing is no function in team; expected a plain function that takes the app"),
        ("team:late", "--app team:late: late is async in team; expected a plain function that takes the app"),
        ("team:shadow", "mount: /v2 would hide paths of Tureen's own below /v2; mount at another, such as /legacy"),
    ],
)
def test_an_app_that_cannot_be_added_stops_the_start_with_one_line(name: str, sentence: str, tmp_path: Path) -> None:
    ended = run("serve", SHOP, "--bind", "127.0.0.1:0", "--app", name, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (2, f"tureen: {sentence}\n")


@pytest.mark.parametrize(
    ("module", "arguments"), [("hypercorn", ["--config", "hypercorn.toml", "--bind", "fd://{fd}"]), ("uvicorn", ["--fd", "{fd}"])]
)
def test_any_asgi_servers_own_command_serves_an_app_that_create_app_made(module: str, arguments: list[str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        filled = [argument.format(fd=listening.fileno()) for argument in arguments]
        process = subprocess.Popen(
            [sys.executable, "-m", module, *filled, "examples.extending.asgi:app"],
            cwd=ROOT,
            env={**ENVIRONMENT, "PYTHONPATH": os.fspath(ROOT)},
            pass_fds=[listening.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        host, port = listening.getsockname()
        try:
            until(lambda: _ask(host, port, "GET", "/v2/health/ready")[0] == 200, f"{module} serves")
            assert _ask(host, port, "POST", "/v1/models/cart:predict", TEA) == (200, {"predictions": [4.5]})
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)


def _ask(host: str, port: int, method: str, path: str, body: object = None) -> tuple[int, object]:
    with closing(http.client.HTTPConnection(host, port, timeout=PATIENCE_S)) as connection:
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
