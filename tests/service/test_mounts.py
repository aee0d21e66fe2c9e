"""Other apps under a path: what they see, what they may hide, and what becomes of clients that leave."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import pytest
from flask import Flask, request, url_for
from hypercorn.typing import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, ASGISendEvent, Scope
from quart import Quart
from quart import request as running

from service.errors import ConfigError
from service.mounts import mount

Environ = dict[str, Any]
Start = Callable[..., Any]


def quart_app() -> Quart:
    app = Quart("beside")

    @app.get("/own/page")
    async def page() -> str:
        return "own"

    return app


def flask_app() -> Flask:
    flask = Flask("legacy", static_folder=None)

    @flask.get("/")
    @flask.get("/<path:rest>")
    def told(rest: str = "") -> dict[str, str]:
        return {
            "script": request.script_root,
            "path": request.path,
            "url": url_for("told", rest="x"),
            "query": request.args.get("q", ""),
        }

    @flask.post("/length")
    def length() -> dict[str, int]:
        return {"length": len(request.get_data())}

    @flask.get("/header")
    def header() -> dict[str, str | None]:
        return {"real": request.headers.get("X-Real-Ip")}

    return flask


def hello(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


@pytest.mark.parametrize(
    ("path", "script", "inside"),
    [("/legacy/", "/legacy", "/"), ("/legacy/a/b", "/legacy", "/a/b")],
)
async def test_a_wsgi_app_sees_the_mount_in_its_script_name_and_the_rest_as_its_path(path: str, script: str, inside: str) -> None:
    app = quart_app()
    mount(app, "/legacy", flask_app())
    answer = await (await app.test_client().get(path + "?q=%C3%A9")).get_json()
    assert answer == {"script": script, "path": inside, "url": "/legacy/x", "query": "é"}


async def test_the_mounts_own_path_leads_flask_to_its_root() -> None:
    app = quart_app()
    mount(app, "/legacy", flask_app())
    answer = await app.test_client().get("/legacy")
    assert (answer.status_code, answer.headers["Location"]) == (308, "http://localhost/legacy/")


async def test_a_root_path_in_front_of_the_mount_is_part_of_the_script_name() -> None:
    app = quart_app()
    mount(app, "/legacy", flask_app())
    for path in ("/edge/legacy/a", "/legacy/a"):  # proxies that leave their prefix in the path, and those that take it away
        sent = await speak(app, [body(b"")], root_path="/edge", path=path)
        assert b'"script":"/edge/legacy"' in sent[1]["body"]
        assert b'"path":"/a"' in sent[1]["body"]


async def test_a_path_that_only_begins_with_the_same_letters_stays_with_the_app() -> None:
    app = quart_app()
    mount(app, "/ow", hello)
    client = app.test_client()
    assert await (await client.get("/own/page")).get_data() == b"own"
    assert (await client.get("/other")).status_code == 404


async def test_of_two_mounts_the_longer_path_answers_whichever_came_first() -> None:
    app = quart_app()
    mount(app, "/legacy", flask_app())
    mount(app, "/legacy/deep", hello)
    client = app.test_client()
    assert await (await client.get("/legacy/deep/x")).get_data() == b"hello"
    assert (await (await client.get("/legacy/x")).get_json())["path"] == "/x"


async def test_an_asgi_app_is_mounted_with_its_root_path() -> None:
    app, inner = quart_app(), Quart("inner")

    @inner.get("/where")
    async def where() -> dict[str, str]:
        return {"root": running.root_path, "path": running.path}

    mount(app, "/inner", inner)
    assert await (await app.test_client().get("/inner/where")).get_json() == {"root": "/inner", "path": "/where"}


async def test_lifespan_events_stay_with_the_app() -> None:
    app, seen = quart_app(), []

    @app.before_serving
    async def started() -> None:
        seen.append("ours")

    async def never(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        seen.append("mounted")

    mount(app, "/inner", never)
    async with app.test_app():
        pass
    assert seen == ["ours"]


@pytest.mark.parametrize("path", ["", "/", "legacy", "/legacy/", "//legacy", "/a/../b", "/a/.", "/a b", "/a%2f", "/a:b", "/é"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="is no path to mount at; expected one such as /legacy"):
        mount(quart_app(), path, hello)


@pytest.mark.parametrize("path", ["/v1", "/v2/models", "/healthz", "/readyz", "/metrics", "/docs"])
def test_a_path_of_tureens_own_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="would hide paths of Tureen's own"):
        mount(quart_app(), path, hello)


@pytest.mark.parametrize("path", ["/own", "/own/page"])
def test_a_path_that_hides_a_route_is_refused_with_the_routes_name(path: str) -> None:
    with pytest.raises(ConfigError, match=f"mount: {path} would hide the app's own route /own/page"):
        mount(quart_app(), path, hello)


def test_a_path_is_mounted_at_once_only() -> None:
    app = quart_app()
    mount(app, "/legacy", hello)
    with pytest.raises(ConfigError, match="something is mounted at /legacy already"):
        mount(app, "/legacy", flask_app())


@pytest.mark.parametrize("other", [None, "shop:app", lambda: None, lambda a, b, c, d: None])
def test_what_is_no_app_is_refused(other: object) -> None:
    with pytest.raises(ConfigError, match="is no app; expected WSGI's"):
        mount(quart_app(), "/legacy", cast(Any, other))


def test_threads_are_at_least_one() -> None:
    with pytest.raises(ConfigError, match="got 0 threads"):
        mount(quart_app(), "/legacy", hello, threads=0)


async def test_requests_share_the_threads_that_there_are() -> None:
    app, lock, most, now = quart_app(), threading.Lock(), 0, 0
    gate = threading.Barrier(2)

    def counting(environ: Environ, start: Start) -> Iterable[bytes]:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        gate.wait(30)  # passes when two are here, so both threads are in use
        with lock:
            now -= 1
        return hello(environ, start)

    mount(app, "/legacy", counting, threads=2)
    client = app.test_client()
    answers = await asyncio.gather(*(client.get("/legacy") for _ in range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert most == 2


async def test_a_body_reaches_the_app_whole_however_it_is_cut() -> None:
    app = quart_app()
    mount(app, "/legacy", flask_app())
    parts = [body(b"a" * 70_000, more=True), body(b"b", more=True), body(b"", more=False)]
    sent = await speak(app, parts, method="POST", path="/legacy/length", headers=[(b"content-length", b"70001")])
    assert sent[0]["status"] == 200
    assert b"70001" in sent[1]["body"]


async def test_an_exception_of_the_app_is_json_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    app = quart_app()

    def broken(environ: Environ, start: Start) -> Iterable[bytes]:
        raise ZeroDivisionError("secret of /home/somebody")

    mount(app, "/legacy", broken)
    with caplog.at_level(logging.ERROR):
        answer = await app.test_client().get("/legacy", headers={"X-Request-Id": "r1"})
    assert answer.status_code == 500
    told = await answer.get_json()
    assert (told["code"], told["request_id"]) == ("internal", "r1")
    assert "secret" not in str(told)
    assert "secret" in caplog.text


async def test_a_header_with_an_underscore_cannot_pass_for_a_proxys() -> None:
    app = quart_app()
    mount(app, "/legacy", flask_app())
    client = app.test_client()
    assert await (await client.get("/legacy/header", headers={"X_Real_Ip": "6.6.6.6"})).get_json() == {"real": None}
    both = {"X_Real_Ip": "6.6.6.6", "X-Real-Ip": "1.2.3.4"}
    assert await (await client.get("/legacy/header", headers=both)).get_json() == {"real": "1.2.3.4"}


async def test_a_query_that_is_not_ascii_reaches_the_app_percent_encoded() -> None:
    app = quart_app()
    mount(app, "/legacy", flask_app())
    sent = await speak(app, [body(b"")], path="/legacy/", query_string="q=é&r=a+b".encode())
    assert b'"query":"\\u00e9"' in sent[1]["body"]


async def test_half_a_body_is_never_taken_for_a_whole_one() -> None:
    app, raised = quart_app(), threading.Event()

    def reading(environ: Environ, start: Start) -> Iterable[bytes]:
        try:
            environ["wsgi.input"].read()
        except ConnectionResetError:
            raised.set()
            raise
        return hello(environ, start)

    mount(app, "/legacy", reading)
    sent = await speak(app, [body(b"half", more=True), {"type": "http.disconnect"}], method="POST")
    assert raised.is_set()
    assert sent == []


async def test_an_endless_answer_ends_when_its_client_leaves() -> None:
    app, closed, left = quart_app(), threading.Event(), asyncio.Event()

    def endless(environ: Environ, start: Start) -> Iterator[bytes]:
        start("200 OK", [])
        try:
            while True:
                yield b"more"
        finally:
            closed.set()

    mount(app, "/legacy", endless, threads=1)
    sent = 0

    async def send(event: ASGISendEvent) -> None:
        nonlocal sent
        sent += 1
        if sent == 5:
            left.set()

    events = iter([body(b"")])

    async def receive() -> ASGIReceiveEvent:
        event = next(events, None)
        if event is None:
            await left.wait()
        return cast(ASGIReceiveEvent, event or {"type": "http.disconnect"})

    await app(scope(), cast(ASGIReceiveCallable, receive), cast(ASGISendCallable, send))
    assert await asyncio.to_thread(closed.wait, 30)


async def test_a_cancelled_request_gives_its_thread_back() -> None:
    app = quart_app()

    def long(environ: Environ, start: Start) -> Iterator[bytes]:
        start("200 OK", [])
        for _ in range(1000 if environ["PATH_INFO"] == "/long" else 1):
            yield b"more"

    mount(app, "/legacy", long, threads=1)
    stuck = asyncio.Event()

    async def send(event: ASGISendEvent) -> None:
        stuck.set()
        await asyncio.Event().wait()  # the client reads no more

    events = iter([body(b"")])

    async def receive() -> ASGIReceiveEvent:
        event = next(events, None)
        if event is None:
            await asyncio.Event().wait()
        return cast(ASGIReceiveEvent, event)

    request_ = asyncio.create_task(
        app(scope(path="/legacy/long"), cast(ASGIReceiveCallable, receive), cast(ASGISendCallable, send))
    )
    await stuck.wait()
    request_.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request_
    assert (await speak(app, [body(b"")]))[1]["body"] == b"more"


def body(content: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


def scope(**changes: Any) -> Scope:
    plain: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/legacy",
        "raw_path": b"/legacy",
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 8000),
        "extensions": {},
    }
    return cast(Scope, {**plain, **changes})


async def speak(app: Quart, events: list[dict[str, Any]], **changes: Any) -> list[dict[str, Any]]:
    """What the app sends to a client that sends these events and then listens."""
    sent: list[dict[str, Any]] = []
    waiting = iter(events)

    async def receive() -> ASGIReceiveEvent:
        event = next(waiting, None)
        if event is None:
            await asyncio.Event().wait()
        return cast(ASGIReceiveEvent, event)

    async def send(event: ASGISendEvent) -> None:
        sent.append(cast(dict[str, Any], event))

    await app(scope(**changes), cast(ASGIReceiveCallable, receive), cast(ASGISendCallable, send))
    return sent
