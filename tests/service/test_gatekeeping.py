"""The gate in front of the app's routes, over Quart's own test client: no lane, no server."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from quart import Quart
from quart.testing import WebsocketResponseError
from quart_rate_limiter import rate_limit

from service import Config, create_app, needs
from service.context import service_of
from service.guard.credentials.key import Key, digest, mint
from service.guard.principal import Scope
from service.hooks import request_hooks
from service.processes.place import Place
from service.sections import Auth, Cors, Store
from service.store import ControlStore, Entry, prepare

PREFLIGHT = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}


def guarded(tmp_path: Path, origins: tuple[str, ...] = (), *keys: Key, admin_port: int | None = None) -> Quart:
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    prepare(state)
    with closing(ControlStore(state)) as store:
        for key in keys:
            store.create_key(key, Entry("test", "key create", f"key:{key.id}", "done", {}))
    config = Config(repository=tmp_path, auth=Auth(api_keys=True), store=Store(state_dir=state), cors=Cors(allow_origins=origins))
    return create_app(config, Place(state=state, admin_port=admin_port))


def made(*scopes: Scope, models: frozenset[str] | None = None) -> tuple[Key, dict[str, str]]:
    number, shown = mint()
    return Key(number, "test", digest(shown.encode()), frozenset(scopes), models), {"X-API-Key": shown}


async def test_a_preflight_without_origins_that_are_named_asks_for_a_credential(tmp_path: Path) -> None:
    app = guarded(tmp_path)
    assert (await app.test_client().options("/v2", headers=PREFLIGHT)).status_code == 401


async def test_an_app_that_no_supervisor_runs_believes_the_keys_of_its_own_state_directory(tmp_path: Path) -> None:
    state = tmp_path / "new" / "state"
    config = Config(repository=tmp_path, auth=Auth(api_keys=True), store=Store(state_dir=state))
    create_app(config)
    key, header = made(Scope.INFER)
    with closing(ControlStore(state)) as store:
        store.create_key(key, Entry("test", "key create", f"key:{key.id}", "done", {}))
    async with create_app(config).test_app() as running:
        assert (await running.test_client().get("/v2", headers=header)).status_code == 200
        assert (await running.test_client().get("/v2")).status_code == 401


async def test_what_looks_like_a_preflight_and_is_none_asks_for_a_credential(tmp_path: Path) -> None:
    client = guarded(tmp_path, ("https://shop.example",)).test_client()
    assert (await client.options("/v2", headers=PREFLIGHT)).status_code in (200, 204)
    assert (await client.get("/v2", headers=PREFLIGHT)).status_code == 401
    for missing in PREFLIGHT:
        some = {name: value for name, value in PREFLIGHT.items() if name != missing}
        assert (await client.options("/v2", headers=some)).status_code == 401


@pytest.mark.parametrize("limited", [False, True])
async def test_a_preflight_does_not_tell_a_hidden_admin_route_from_nothing(tmp_path: Path, limited: bool) -> None:
    app = guarded(tmp_path, ("https://shop.example",), admin_port=1)

    @app.route("/own", methods=["POST", "OPTIONS"])
    @needs("admin")
    async def own() -> str:
        return "own"

    if limited:
        rate_limit(1, timedelta(hours=1))(own)
    client = app.test_client()
    nothing = await client.options("/nothing", headers=PREFLIGHT)
    for path in ("/own", "/own", "/v2/repository/models/a/load"):
        reply = await client.options(path, headers=PREFLIGHT)
        same = [(one.status_code, await one.get_data(), {**one.headers, "x-request-id": ""}) for one in (reply, nothing)]
        assert same[0] == same[1]


async def test_where_a_model_that_was_named_cannot_be_read_only_those_pass_who_may_ask_all(tmp_path: Path) -> None:
    (some, of_some), (every, of_all) = made(Scope.INFER, models=frozenset({"a"})), made(Scope.INFER)
    app = guarded(tmp_path, (), some, every)

    @app.url_value_preprocessor
    def take(endpoint: str | None, values: dict[str, str] | None) -> None:
        (values or {}).pop("name", None)

    @app.get("/ask/<name>")
    @needs("infer", model="name")
    async def ask() -> dict[str, str]:
        return {}

    async with app.test_app() as running:
        client = running.test_client()
        assert (await client.get("/ask/a", headers=of_some)).status_code == 403
        assert (await client.get("/ask/a", headers=of_all)).status_code == 200


async def test_a_hook_of_a_users_sees_nobody_who_was_not_let_in(tmp_path: Path) -> None:
    app = guarded(tmp_path)
    seen: list[str] = []

    @app.before_request
    async def see() -> None:
        seen.append("request")

    @app.before_websocket
    async def see_socket() -> None:
        seen.append("websocket")

    @app.websocket("/talk")
    async def talk() -> None:
        """Nothing."""

    client = app.test_client()
    assert (await client.get("/v2")).status_code == 401
    with pytest.raises(WebsocketResponseError) as refused:
        async with client.websocket("/talk") as socket:
            await socket.receive()
    assert refused.value.response.status_code == 401
    assert seen == []


async def test_the_gate_is_no_hook_of_a_users(tmp_path: Path) -> None:
    app = guarded(tmp_path)
    before = request_hooks(app, [])
    async with app.test_app():
        assert service_of(app).first
    assert request_hooks(app, []) == before


async def test_no_error_handler_for_a_status_turns_a_refusal_into_an_answer(tmp_path: Path) -> None:
    app = guarded(tmp_path)

    @app.errorhandler(401)
    async def mine(error: Exception) -> tuple[str, int]:
        return "let in", 200

    reply = await app.test_client().get("/v2")
    assert (reply.status_code, (await reply.get_json())["code"]) == (401, "unauthorized")
