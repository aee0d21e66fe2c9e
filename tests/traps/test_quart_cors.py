"""What quart-cors does that a server must not: one rule for each, on servers as they are run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
import quart_cors
from quart import Quart

from service.blueprints.browsers import READABLE, TAKEN
from service.config import Config
from service.errors import ConfigError
from tests.e2e.keyed import asking, bearer, key_of
from tests.e2e.patience import until
from tests.e2e.served import Reply, Server, serving
from tests.e2e.wire import wire
from tests.traps.conftest import APPS

SHOP, OTHER, EVIL = "https://shop.example", "http://localhost:3000", "https://evil.example"
#: What is written like the shop's origin and is another.
ALIKE = (
    "https://shop.example.evil.example",
    "https://shop.exampleevil.example",
    "https://shopXexample",
    "https://shop.example:8443",
    "https://shop.example/",
    "https://SHOP.example",
    "http://shop.example",
    "https://a.shop.example",
    "null",
    "*",
    "",
)
PREDICT = "/v1/models/affine:predict"
ROW = {"instances": [[1.0, 2.0, 3.0, 4.0]]}


class Stalls:
    """Servers by kind, whether origins are named, and whether a key is asked for; each started when first asked for."""

    def __init__(self, kitchen: Path, state: Path, stack: ExitStack) -> None:
        self._kitchen, self._state, self._stack = kitchen, state, stack
        self._running: dict[tuple[str, bool, bool], Server] = {}

    def __call__(self, kind: str, *, named: bool, keyed: bool = False) -> Server:
        found = self._running.get((kind, named, keyed))
        if found is None:
            env = {"PYTHONPATH": APPS, "TUREEN_LIMITS__BODY_BYTES": "65536"}
            if named:
                env["TUREEN_CORS__ALLOW_ORIGINS"] = f"{SHOP},{OTHER}"
            if keyed:
                env |= asking(self._state)
            made = serving(self._kitchen, "--app", "cors_app:extend", kind=kind, cwd=self._state.parent, env=env)
            found = self._running[kind, named, keyed] = self._stack.enter_context(made)
        return found


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cwd") / "state"


@pytest.fixture(scope="module")
def stalls(kitchen: Path, state: Path) -> Iterator[Stalls]:
    with ExitStack() as stack:
        yield Stalls(kitchen, state, stack)


@pytest.fixture(scope="module", params=("hypercorn", "uvicorn"))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(stalls: Stalls, kind: str) -> Server:
    """Two origins may read its answers."""
    return stalls(kind, named=True)


@pytest.fixture(scope="module")
def closed(stalls: Stalls, kind: str) -> Server:
    """As it is by default: none may."""
    return stalls(kind, named=False)


@pytest.fixture(scope="module")
def key(state: Path) -> str:
    """Of one model alone."""
    return key_of(state, "--model", "affine")


@pytest.fixture(scope="module")
def keyed(stalls: Stalls, kind: str, key: str) -> Server:
    """It asks for a key, and two origins may read its answers."""
    return stalls(kind, named=True, keyed=True)


def preflight(server: Server, path: str, origin: str, method: str = "POST", headers: str = "authorization") -> Reply:
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return server.request("OPTIONS", path, None, asked)


def handshake(server: Server, *origins: str, host: str | None = None, path: str = "/echo") -> Reply:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host or server.address}", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *(f"Origin: {one}" for one in origins)]
    with wire(server) as connection:
        connection.send("\r\n".join([*lines, "", ""]).encode())
        return connection.reply()


def listed(headers: Mapping[str, str], name: str) -> set[str]:
    return {one.strip().lower() for one in headers.get(name, "").split(",") if one.strip()}


def is_told(reply: Reply) -> bool:
    """Whether a browser would let the page read it; that it never comes with every page's cookies, and is kept by origin."""
    assert "access-control-allow-credentials" not in reply.headers
    assert "origin" in listed(reply.headers, "vary")
    return "access-control-allow-origin" in reply.headers


# -- A pattern matches by its beginning ----------------------------------------------------------------------------------


async def test_quart_cors_itself_takes_a_pattern_for_whatever_begins_like_it() -> None:
    app = quart_cors.cors(Quart("trap"), allow_origin=re.compile(r"https://shop\.example"))
    reply = await app.test_client().get("/", headers={"Origin": "https://shop.example.evil.example"})
    assert reply.headers["access-control-allow-origin"] == "https://shop.example.evil.example"


@pytest.mark.parametrize("origin", ["*", r"https://shop\.example", "https://*.shop.example", "https://.*", "null", f"{SHOP}/"])
def test_no_pattern_and_no_wildcard_can_be_configured(origin: str) -> None:
    with pytest.raises(ConfigError, match="each origin is exact"):
        Config.resolve(None, {"TUREEN_CORS__ALLOW_ORIGINS": origin}, {})


@pytest.mark.parametrize("origin", ALIKE)
def test_only_an_origin_that_is_named_letter_by_letter_may_read(server: Server, origin: str) -> None:
    assert not is_told(server.post(PREDICT, ROW, {"Origin": origin}))
    refused = preflight(server, PREDICT, origin)
    assert not is_told(refused)
    assert not {"access-control-allow-headers", "access-control-allow-methods"} & set(refused.headers)
    assert handshake(server, origin).status == 403


# -- The default origin is * ---------------------------------------------------------------------------------------------


async def test_quart_cors_itself_lets_every_origin_read_by_default() -> None:
    app = quart_cors.cors(Quart("trap"))
    reply = await app.test_client().get("/", headers={"Origin": EVIL})
    assert reply.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/v2", "/openapi.json", "/docs", "/metrics", "/healthz", "/nothing"])
def test_by_default_no_origin_may_read_anything(closed: Server, path: str) -> None:
    for reply in (closed.get(path, {"Origin": EVIL}), preflight(closed, path, EVIL)):
        assert not [name for name in reply.headers if name.startswith("access-control-")]
    assert not [name for name in closed.post(PREDICT, ROW, {"Origin": EVIL}).headers if name.startswith("access-control-")]


# -- What a named origin has -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [SHOP, OTHER])
def test_a_named_origin_reads_answers_and_the_headers_that_are_ours(server: Server, origin: str) -> None:
    reply = server.post(PREDICT, ROW, {"Origin": origin})
    assert reply.status == 200
    assert is_told(reply)
    assert reply.headers["access-control-allow-origin"] == origin
    exposed = listed(reply.headers, "access-control-expose-headers")
    assert exposed == {name.lower() for name in READABLE}
    assert {"x-request-id", "x-model-version", "server-timing", "retry-after", "www-authenticate"} <= exposed
    assert exposed >= {name for name in reply.headers if name.startswith("x-")} - {"x-content-type-options"}  # the browser's own


def test_a_preflight_is_answered_with_what_a_page_may_send_and_is_remembered(server: Server) -> None:
    asked = ",".join(sorted(name.lower() for name in (*TAKEN, "X-Secret")))
    reply = preflight(server, PREDICT, SHOP, headers=asked)
    assert reply.status in (200, 204)
    assert is_told(reply)
    assert listed(reply.headers, "access-control-allow-headers") == {name.lower() for name in TAKEN}
    assert {"post", "put", "patch", "delete"} <= listed(reply.headers, "access-control-allow-methods")
    assert int(reply.headers["access-control-max-age"]) == 7200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", PREDICT, {"instances": [["a"]]}, 400),
        ("POST", "/v1/models/nothing:predict", ROW, 404),
        ("GET", "/v2/nothing", None, 404),
        ("DELETE", "/v2/models/affine", None, 405),
        ("GET", PREDICT, None, 405),
        ("POST", "/v2/models/affine/infer", b"x", 415),
        ("POST", PREDICT, bytes(100_000), 413),
        ("POST", "/v1/models/half:predict", ROW, 503),
    ],
)
def test_an_error_can_be_read_and_its_preflight_succeeds(server: Server, method: str, path: str, body: object, status: int) -> None:
    more = {"Content-Encoding": "br"} if status == 415 else {}
    if status == 503:
        assert server.post("/v2/repository/models/half/unload").status == 200
    assert preflight(server, path, SHOP, method).status in (200, 204)
    reply = server.request(method, path, body, {"Origin": SHOP, **more})
    assert reply.status == status
    assert is_told(reply)
    assert set(reply.json()) >= {"error", "code", "request_id"}


@pytest.mark.parametrize(
    ("path", "shown", "status"),
    [
        (PREDICT, False, 401),
        ("/v2/models/half/infer", True, 403),
        ("/v2/repository/models/affine/load", True, 403),
        ("/nothing", False, 401),
    ],
)
def test_who_is_not_let_in_can_read_why_and_his_preflight_asked_for_nothing(
    keyed: Server, key: str, path: str, shown: bool, status: int
) -> None:
    assert preflight(keyed, path, SHOP).status == 204
    reply = keyed.post(path, ROW, {"Origin": SHOP, **(bearer(key) if shown else {})})
    assert reply.status == status
    assert is_told(reply)
    assert not is_told(keyed.post(path, ROW, {"Origin": EVIL}))


def test_who_is_over_his_budget_can_read_when_to_come_again(keyed: Server, state: Path) -> None:
    spent = bearer(key_of(state, "--requests-per-s", "0.001", "--requests-burst", "1"))
    until(lambda: keyed.post(PREDICT, ROW, {"Origin": SHOP, **spent}).status == 429, "the budget is spent")
    reply = keyed.post(PREDICT, ROW, {"Origin": SHOP, **spent})
    assert reply.status == 429
    assert is_told(reply)
    assert {"retry-after", "ratelimit-limit"} <= set(reply.headers) & listed(reply.headers, "access-control-expose-headers")


def test_a_preflight_tells_a_stranger_nothing_of_what_there_is(keyed: Server) -> None:
    asked = [preflight(keyed, path, SHOP) for path in (PREDICT, "/echo", "/v1/models/nothing:predict", "/nothing")]
    assert {reply.status for reply in asked} == {204}
    kept = [{name: value for name, value in reply.headers.items() if name not in ("date", "x-request-id")} for reply in asked]
    assert kept[1:] == kept[:-1]


def test_a_route_with_origins_of_its_own_keeps_them(server: Server) -> None:
    partner = "https://partner.example"
    assert server.get("/partner", {"Origin": partner}).headers["access-control-allow-origin"] == partner
    assert "access-control-allow-origin" not in server.get("/partner", {"Origin": SHOP}).headers
    asked = preflight(server, "/partner", partner, "GET", "x-partner")
    assert listed(asked.headers, "access-control-allow-headers") == {"x-partner"}


# -- What a browser sends without asking first ---------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["load", "unload"])
def test_a_page_of_another_site_changes_nothing_though_nobody_needs_a_key(server: Server, closed: Server, act: str) -> None:
    path, plain = f"/v2/repository/models/nothing/{act}", {"Content-Type": "text/plain"}
    for each in (server, closed):
        for origin in (EVIL, "null"):
            refused = each.post(path, b"{}", {"Origin": origin, **plain})
            assert (refused.status, refused.json()["code"]) == (403, "forbidden")
        assert each.post(path, b"{}", {"Origin": each.url, **plain}).status == 404
        assert each.post(path, b"{}", plain).status == 404
    assert server.post(path, b"{}", {"Origin": SHOP, **plain}).status == 404


# -- WebSockets ----------------------------------------------------------------------------------------------------------


def test_a_websocket_of_a_client_that_is_no_browser_opens_once_origins_are_named(server: Server) -> None:
    assert handshake(server).status == 101


@pytest.mark.parametrize("origin", [SHOP, OTHER])
def test_a_websocket_of_a_named_origin_opens(server: Server, origin: str) -> None:
    assert handshake(server, origin).status == 101


def test_a_websocket_of_our_own_pages_opens_whether_origins_are_named_or_not(server: Server, closed: Server) -> None:
    for each in (server, closed):
        assert handshake(each, each.url).status == 101
        assert handshake(each, "https://models.example", host="models.example").status == 101  # behind a proxy with TLS


@pytest.mark.parametrize("path", ["/echo", "/nothing", "/old/feed"])
def test_a_websocket_of_a_foreign_page_is_refused_whether_origins_are_named_or_not(
    server: Server, closed: Server, path: str
) -> None:
    for each in (server, closed):
        refused = handshake(each, EVIL, path=path)
        assert refused.status == 403
        assert json.loads(refused.body)["code"] == "forbidden"
        assert handshake(each, "null", path=path).status == 403


def test_a_websocket_with_two_origins_is_refused(server: Server) -> None:
    assert handshake(server, SHOP, EVIL).status == 403
    assert handshake(server, EVIL, SHOP).status == 403


def test_a_mounted_apps_websocket_opens_as_ours_do(server: Server, closed: Server) -> None:
    for each in (server, closed):
        assert handshake(each, path="/old/feed").status == 101
        assert handshake(each, each.url, path="/old/feed").status == 101
    assert handshake(server, SHOP, path="/old/feed").status == 101


def test_without_origins_named_a_client_that_is_no_browser_opens_a_websocket(closed: Server) -> None:
    assert handshake(closed).status == 101
