"""Who may call what, on both servers and both lanes: the table of docs/security.md, held to what the servers do."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from service import Config, create_app
from service.guard.principal import Budget, Scope
from tests.e2e import access_table
from tests.e2e.access_table import CREDENTIALS, ELSEWHERE, OWN, PASS
from tests.e2e.conftest import SERVERS
from tests.e2e.guarded import ORIGIN, Guarded, guarded
from tests.e2e.patience import until
from tests.e2e.served import Reply
from tests.e2e.wire import chunked, post, wire
from tests.traps.frames import TEXT, websocket

INFER = "/v2/models/affine/infer"
ROW = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}).encode()
#: What is there, and what is not.
MODELS = ("affine", "absent")
REFUSED = (401, 403, 429)
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
LARGE = 8 * 1024 * 1024


@pytest.fixture(scope="module")
def all_servers(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], Guarded]]:
    with ExitStack() as stack:
        place = tmp_path_factory.mktemp("guarded")
        yield guarded(kitchen, place, stack, {"TUREEN_CORS__ALLOW_ORIGINS": ORIGIN})


@pytest.fixture(scope="module", params=SERVERS, ids="-".join)
def asking(all_servers: Callable[[str, str], Guarded], request: pytest.FixtureRequest) -> Guarded:
    kind, lane = request.param
    return all_servers(kind, lane)


class Kept:
    """A connection that is kept as long as the server keeps it."""

    def __init__(self, asking: Guarded) -> None:
        self._connection = http.client.HTTPConnection(asking.server.host, asking.server.port, timeout=30)

    def status(self, method: str, path: str, headers: Mapping[str, str], body: bytes | Iterator[bytes] | None = None) -> int:
        self._connection.request(method, path, body, dict(headers), encode_chunked=not isinstance(body, bytes | None))
        response = self._connection.getresponse()
        response.read()
        return response.status

    def close(self) -> None:
        self._connection.close()


def outcome(status: int) -> str:
    return str(status) if status in REFUSED else PASS


def paths(template: str, model: str) -> str:
    return template.replace("FILE", "docs.js").replace("/M", f"/{model}").replace("/V", "/1").replace("/L", "/stable")


def test_the_table_has_every_route_of_the_app_and_no_other(tmp_path: Path) -> None:
    written = [(row.method, row.path) for row in access_table.rows()]
    assert set(written) == access_table.routes_of(create_app(Config(repository=tmp_path)))
    assert len(set(written)) == len(written)


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_each_route_lets_in_whom_the_table_says(asking: Guarded, credential: str) -> None:
    headers, found, expected = asking.credentials[credential], {}, {}
    with closing(Kept(asking)) as kept:
        for row in access_table.rows():
            loads = "/repository/models/" in row.path and credential == "admin"  # these do what they are asked to
            for model in ("absent",) if loads else MODELS:
                path = paths(row.path, model)
                asked = [(row.method, None if row.method == "GET" else b"{}"), ("OPTIONS", None)]
                asked += [("HEAD", None)] if row.method == "GET" else []
                for method, body in asked:
                    found[method, path] = outcome(kept.status(method, path, headers, body))
                    expected[method, path] = row.outcomes[credential]
                if row.method == "POST":
                    found["chunked", path] = outcome(kept.status("POST", path, headers, iter([b"{", b"}"])))
                    expected["chunked", path] = row.outcomes[credential]
    assert found == expected


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_what_is_not_there_is_known_to_those_alone_who_may_come(asking: Guarded, credential: str) -> None:
    asked = [("GET", "/nothing"), ("GET", INFER), ("DELETE", "/v2"), ("POST", "/v2/models/..%2f/infer"), ("POST", "/docs")]
    asked += [("GET", "/docs/../v2"), ("TRACE", "/")]
    with closing(Kept(asking)) as kept:
        found = {each: outcome(kept.status(*each, asking.credentials[credential], b"")) for each in asked}
    assert found == dict.fromkeys(asked, access_table.outcomes_of(ELSEWHERE)[credential])


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_a_users_routes_and_mounts_need_the_scope_infer(asking: Guarded, credential: str) -> None:
    asked = ["/own/plain", "/own/models/greet", "/mounted/plain", "/mounted/plain/below"]
    with closing(Kept(asking)) as kept:
        found = {path: outcome(kept.status("GET", path, asking.credentials[credential])) for path in asked}
    assert found == dict.fromkeys(asked, access_table.outcomes_of(OWN)[credential])


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/own/open", CREDENTIALS),
        ("/mounted/open", CREDENTIALS),
        ("/own/metrics", ("metrics", "admin")),
        ("/own/models/affine", ("infer", "admin")),
    ],
)
def test_a_users_route_may_say_otherwise(asking: Guarded, path: str, allowed: tuple[str, ...]) -> None:
    with closing(Kept(asking)) as kept:
        let_in = [name for name in CREDENTIALS if kept.status("GET", path, asking.credentials[name]) == 200]
    assert let_in == list(allowed)


@pytest.mark.parametrize("path", ["/own/talk", "/mounted/talk", "/nowhere"])
@pytest.mark.parametrize("credential", ["none", "wrong", "metrics"])
def test_a_websocket_is_refused_before_it_is_accepted(asking: Guarded, path: str, credential: str) -> None:
    reply = upgraded(asking, path, *lines(asking.credentials[credential]))
    expected = access_table.outcomes_of(OWN)[credential]
    if path == "/nowhere" and credential == "metrics":
        expected = "404"
    assert (str(reply.status), reply.json()["code"]) == (
        expected,
        {"401": "unauthorized", "403": "forbidden", "404": "not_found"}[expected],
    )


@pytest.mark.parametrize("path", ["/own/talk", "/mounted/talk"])
@pytest.mark.parametrize("header", ["Authorization: Bearer", "X-API-Key:"])
def test_a_websocket_opens_for_whom_it_may(asking: Guarded, path: str, header: str) -> None:
    key = asking.credentials["infer"]["Authorization"].split()[1]
    with websocket(asking.server, path, f"{header} {key}") as talk:
        talk.send(TEXT, b"bowl")
        assert talk.receive() == (TEXT, b"bowl")


def test_a_websocket_that_is_open_to_all_opens_without_a_credential(asking: Guarded) -> None:
    with websocket(asking.server, "/own/open-talk") as talk:
        talk.send(TEXT, b"bowl")
        assert talk.receive() == (TEXT, b"bowl")


@pytest.mark.parametrize("path", ["/own/talk", "/mounted/talk"])
def test_a_websocket_ends_with_its_key(asking: Guarded, path: str) -> None:
    key = asking.keys.make(Scope.INFER)
    wait_for(asking, key)
    with websocket(asking.server, path, f"X-API-Key: {key}") as talk:
        talk.send(TEXT, b"bowl")
        assert talk.receive() == (TEXT, b"bowl")
        asking.keys.revoke(key)
        assert talk.closing_code() == 1008


@pytest.mark.parametrize("path", ["/own/talk", "/mounted/talk"])
def test_a_websocket_outlives_a_change_of_other_keys(asking: Guarded, path: str) -> None:
    key, other = asking.keys.make(Scope.INFER), asking.keys.make(Scope.INFER)
    wait_for(asking, key)
    with websocket(asking.server, path, f"X-API-Key: {key}") as talk:
        asking.keys.revoke(other)
        wait_for(asking, other, 401)
        talk.send(TEXT, b"bowl")
        assert talk.receive() == (TEXT, b"bowl")


def test_a_revoked_key_is_refused_on_a_connection_that_was_let_in(asking: Guarded) -> None:
    key = asking.keys.make(Scope.INFER)
    wait_for(asking, key)
    with wire(asking.server) as connection:
        for _ in range(3):  # its head is known by then
            connection.send(post(INFER, ROW, f"X-API-Key: {key}"))
            assert connection.reply().status == 200
        asking.keys.revoke(key)
        begun = time.monotonic()
        while True:
            connection.send(post(INFER, ROW, f"X-API-Key: {key}"))
            reply = connection.reply()
            if reply.status != 200:
                break
            assert time.monotonic() < begun + 10
        assert reply.status == 401
        connection.send(post(INFER, ROW, *lines(asking.credentials["infer"])))
        assert connection.reply().status == 200


def test_an_expired_key_is_refused_on_a_connection_that_was_let_in(asking: Guarded) -> None:
    expires = time.time() + 1.5
    key = asking.keys.make(Scope.INFER, expires=expires)
    wait_for(asking, key)
    with wire(asking.server) as connection:
        statuses: list[int] = []
        while not statuses or statuses[-1] == 200:
            now = time.time()
            connection.send(post(INFER, ROW, f"X-API-Key: {key}"))
            statuses.append(connection.reply().status)
            assert now < expires or statuses[-1] == 401
    assert statuses[0] == 200
    assert statuses[-1] == 401


@pytest.mark.parametrize(
    "twice",
    [
        ("Authorization: Bearer {}", "Authorization: Bearer {}"),
        ("X-API-Key: {}", "X-API-Key: {}"),
        ("Authorization: Bearer {}", "X-API-Key: {}"),
        ("Authorization: Bearer x", "Authorization: Bearer {}"),
        ("Authorization: Basic {}", "X-API-Key: {}"),
        ("Authorization: Bearer {}, Bearer {}",),
        ("Authorization: {}",),
        ("Authorization: ", "X-API-Key: {}"),
    ],
)
@pytest.mark.parametrize("path", [INFER, "/v2/repository/index", "/mounted/plain"])
def test_two_credentials_and_malformed_ones_are_refused(asking: Guarded, twice: tuple[str, ...], path: str) -> None:
    key = asking.credentials["infer"]["Authorization"].split()[1]
    with wire(asking.server) as connection:
        connection.send(post(path, ROW, *[line.replace("{}", key) for line in twice]))
        assert connection.reply().status == 401


@pytest.mark.parametrize("path", [INFER, "/v2/repository/index", "/own/open-not", "/mounted/plain"])
def test_a_large_body_is_refused_before_it_is_read_and_the_client_gets_the_answer(asking: Guarded, path: str) -> None:
    with wire(asking.server) as connection:
        connection.send(f"POST {path} HTTP/1.1\r\nHost: tureen\r\nContent-Length: {LARGE}\r\n\r\n".encode())
        reply = connection.reply()
        assert (reply.status, reply.headers["connection"]) == (401, "close")
    with wire(asking.server) as connection:
        connection.send(post(path, bytes(LARGE)))
        reply = connection.reply()
        assert (reply.status, reply.json()["code"], reply.headers["connection"]) == (401, "unauthorized", "close")


@pytest.mark.parametrize("path", [INFER, "/v2/repository/index", "/mounted/plain"])
@pytest.mark.parametrize("body", [[post("{}", ROW)], [post("{}", bytes(200_000))], chunked("{}", b"a" * 1000, b"b" * 70_000)])
def test_the_connection_of_a_small_request_that_was_refused_is_kept(asking: Guarded, path: str, body: list[bytes]) -> None:
    with wire(asking.server) as connection:
        for _ in range(2):
            connection.send(*[part.replace(b"{}", path.encode(), 1) for part in body])
            assert connection.reply().status == 401
        connection.send(post(INFER, ROW, *lines(asking.credentials["infer"])))
        assert connection.reply().status == 200


@pytest.mark.parametrize("path", [INFER, "/v2/repository/index", "/mounted/plain"])
def test_who_asks_whether_to_send_gets_the_answer(asking: Guarded, path: str) -> None:
    with wire(asking.server) as connection:
        connection.send(f"POST {path} HTTP/1.1\r\nHost: tureen\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n".encode())
        reply = connection.reply()
        assert (reply if reply.status != 100 else connection.reply()).status == 401
        assert connection.closed


@pytest.mark.parametrize("path", [INFER, "/v2/repository/index", "/mounted/plain"])
def test_who_is_refused_in_the_middle_of_a_body_that_he_asked_leave_for_is_not_cut_off(asking: Guarded, path: str) -> None:
    head, body = post(path, bytes(300_000), "Expect: 100-continue").split(b"\r\n\r\n")
    with wire(asking.server) as connection:
        connection.send(head + b"\r\n\r\n")
        reply = connection.reply()
        assert (reply if reply.status != 100 else connection.reply()).status == 401
        connection.send(body)
        assert connection.rest() == b""


def test_a_refusal_is_the_same_whichever_way_it_comes(all_servers: Callable[[str, str], Guarded]) -> None:
    told: dict[str, set[str]] = {}
    ways = [
        ("POST", INFER, ROW),
        ("POST", "/v2/models/absent/infer", ROW),
        ("POST", INFER, b"{"),
        ("GET", "/v2/models/affine", None),
    ]
    for server in SERVERS:
        asking = all_servers(*server)
        for credential in ("none", "wrong", "other", "metrics"):
            for page in ({}, {"Origin": ORIGIN}):
                for method, path, body in ways:
                    given = {**asking.credentials[credential], **page, "X-Request-Id": "a-bowl-7"}
                    reply = asking.server.request(method, path, body, given)
                    same = f"{credential} {'absent' in path}"
                    told.setdefault(same, set()).add(repr((reply.status, plain(reply), reply.body)))
    assert {same: len(replies) for same, replies in told.items()} == dict.fromkeys(told, 1), told


def test_over_budget_is_told_before_whether_the_model_is_there(asking: Guarded) -> None:
    key = asking.keys.make(Scope.INFER, budget=Budget(requests_per_s=0.001, requests_burst=1))
    wait_for(asking, key)  # which spends it
    for path in (INFER, "/v2/models/absent/infer"):
        reply = asking.server.post(path, ROW, {"X-API-Key": key})
        assert (reply.status, reply.json()["code"]) == (429, "over_budget")
        assert int(reply.headers["retry-after"]) > 1
    assert asking.server.get("/v2/models/absent", {"X-API-Key": key}).status == 429
    assert asking.server.get("/nothing", {"X-API-Key": key}).status == 429
    assert asking.server.get("/v2/health/live", {"X-API-Key": key}).status == 200


def test_lists_have_the_models_alone_that_the_credential_is_for(asking: Guarded) -> None:
    some, every = asking.credentials["other"], asking.credentials["infer"]
    index = {entry["name"] for entry in asking.server.post("/v2/repository/index", b"", some).json()}
    statistics = {entry["name"] for entry in asking.server.get("/v2/models/stats", some).json()["model_stats"]}
    assert index == statistics == {"greet"}
    assert "affine" not in asking.server.get("/openapi.json", some).body.decode()
    assert "affine" in asking.server.get("/openapi.json", every).body.decode()
    assert {"greet", "affine"} <= {entry["name"] for entry in asking.server.post("/v2/repository/index", b"", every).json()}


def test_a_preflight_passes_without_a_credential_and_a_page_may_read_the_refusal(asking: Guarded) -> None:
    page = {"Origin": ORIGIN}
    preflight = asking.server.request("OPTIONS", INFER, None, {**page, "Access-Control-Request-Method": "POST"})
    assert (preflight.status in (200, 204), preflight.headers["access-control-allow-origin"]) == (True, ORIGIN)
    assert asking.server.request("OPTIONS", INFER, None, page).status == 401
    refusal = asking.server.post(INFER, ROW, page)
    assert (refusal.status, refusal.headers["access-control-allow-origin"]) == (401, ORIGIN)


def test_no_credential_stands_in_the_log_and_who_came_does(asking: Guarded) -> None:
    key = asking.keys.make(Scope.INFER)
    wait_for(asking, key)
    wrong = asking.credentials["wrong"]["Authorization"].split()[1]
    asking.server.post(INFER, ROW, {"X-API-Key": key, "X-Request-Id": "logged-inference"})
    asking.server.get("/v2", {"X-API-Key": key, "X-Request-Id": "logged-plain"})
    asking.server.get("/v2", {"X-API-Key": wrong})
    for name in ("logged-inference", "logged-plain"):
        assert logged(asking, name)["principal"] == f"key:{key.split('_')[1]}"
    everything = "".join(asking.server.log)
    assert key not in everything
    assert wrong not in everything


def test_refusals_at_full_speed_do_not_fill_the_log_and_are_counted(asking: Guarded) -> None:
    before, so_far = lines_of(asking, 401), counted(asking)
    with closing(Kept(asking)) as kept:
        for _ in range(300):
            assert kept.status("POST", INFER, {}, ROW) == 401
    until(lambda: counted(asking) >= so_far + 300, "all are counted")
    assert lines_of(asking, 401) - before < 250


def logged(asking: Guarded, name: str) -> dict[str, object]:
    def told() -> list[str]:
        return [line for line in list(asking.server.log) if name in line]

    until(lambda: bool(told()), f"{name} is logged")
    line: dict[str, object] = json.loads(told()[0])
    return line


def counted(asking: Guarded) -> float:
    metrics = asking.server.get("/metrics", asking.credentials["metrics"]).body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in metrics if line.startswith("tureen_requests_total{") and 'code="401"' in line)


def lines_of(asking: Guarded, status: int) -> int:
    return sum(f'"status":{status}' in line for line in asking.server.log)


def lines(headers: Mapping[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]


def upgraded(asking: Guarded, path: str, *headers: str) -> Reply:
    with wire(asking.server) as connection:
        head = [f"GET {path} HTTP/1.1", f"Host: {asking.server.address}", *UPGRADE, *headers, "", ""]
        connection.send("\r\n".join(head).encode())
        return connection.reply()


def plain(reply: Reply) -> dict[str, str]:
    """The headers that may not differ."""
    own = ("date", "vary", "content-length")
    return {
        name: value for name, value in sorted(reply.headers.items()) if name not in own and not name.startswith("access-control")
    }


def wait_for(asking: Guarded, key: str, status: int = 200) -> None:
    """Until the server has heard of what became of the key."""
    until(lambda: asking.server.get("/v2", {"X-API-Key": key}).status == status, f"the key is answered with {status}")
