"""Other apps under a path of ours: a Flask (WSGI) app beside the models, or any ASGI app.

What is mounted stands in front of the Quart app: none of its hooks, error handlers or limits apply there, but the gate does. A
WSGI request occupies one of ``threads`` threads until it is answered, or until its client has left and the app gives the next piece
of its answer.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

from a2wsgi import WSGIMiddleware
from hypercorn.typing import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, ASGISendEvent, HTTPScope, Scope
from quart import Quart

from service.context import EXTENSION as SERVICE
from service.context import Service
from service.entrance import Entrance
from service.errors import ConfigError
from service.guard.access import Access, Need
from service.guard.access import access as access_to
from service.response import failed, request_id

log = logging.getLogger("tureen.mount")

App = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

EXTENSION = "tureen.mounts"
#: First segments that are Tureen's own.
RESERVED = frozenset({"v1", "v2", "healthz", "readyz", "metrics", "openapi.json", "docs"})
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_LEFT = "tureen.left"


def mount(app: Quart, path: str, other: Callable[..., Any], *, threads: int = 16, access: Need = "infer") -> None:
    """Answers everything at and below ``path`` with ``other``, a WSGI or ASGI app; lifespan events stay with ``app``.
    ``access``: what callers need, where the server asks for credentials at all; ``open`` leaves that to ``other``.

    Raises ConfigError for a path that is none, is Tureen's own, is taken, or would hide a route of ``app``.
    """
    if not _PATH.fullmatch(path):
        raise ConfigError(f"mount: {path!r} is no path to mount at; expected one such as /legacy, without a slash at its end")
    first = path.split("/")[1]
    if first in RESERVED:
        raise ConfigError(f"mount: {path} would hide paths of Tureen's own below /{first}; mount at another, such as /legacy")
    for rule in app.url_map.iter_rules():
        if rule.rule == path or rule.rule.startswith(path + "/"):
            raise ConfigError(f"mount: {path} would hide the app's own route {rule.rule}; mount at another path")
    if threads < 1:
        raise ConfigError(f"mount: {path} got {threads} threads; expected at least 1")
    asked = access_to(access)
    if _is_asgi(other):
        mounted = Mounted(path, _Explained(other), asked, websockets=True)
    else:
        mounted = Mounted(path, _Explained(_Bridge(other, threads)), asked, websockets=False)
    mounts = app.extensions.get(EXTENSION)
    if not isinstance(mounts, Mounts):
        mounts = app.extensions[EXTENSION] = Mounts(app.asgi_app, _entrance(app))
        app.asgi_app = mounts  # type: ignore[method-assign]  # as Quart documents middleware
    mounts.add(mounted)


@dataclass(frozen=True, slots=True)
class Mounted:
    """An ASGI app and the path that it answers at."""

    path: str
    app: App
    access: Access
    websockets: bool


class Mounts:
    """Passes what lies below a mounted path to the app that is mounted there, and everything else to ``app``."""

    def __init__(self, app: App, entrance: Entrance | None = None) -> None:
        self.app = app
        self._entrance = entrance
        self._mounted: list[Mounted] = []

    def add(self, mounted: Mounted) -> None:
        """Raises ConfigError where something is mounted at that path already."""
        if any(other.path == mounted.path for other in self._mounted):
            raise ConfigError(f"mount: something is mounted at {mounted.path} already; mount at another path")
        # The longest path first: /legacy/admin may be mounted beside /legacy.
        self._mounted = sorted([*self._mounted, mounted], key=lambda other: -len(other.path))

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """One ASGI connection."""
        if scope["type"] == "http" or scope["type"] == "websocket":
            root = scope.get("root_path", "").rstrip("/")
            inside = scope["path"].removeprefix(root)
            for mounted in self._mounted:
                if (inside == mounted.path or inside.startswith(mounted.path + "/")) and (
                    scope["type"] == "http" or mounted.websockets
                ):
                    if self._entrance is not None and self._entrance.hides(mounted.access, scope):
                        continue
                    below = {**scope, "root_path": root + mounted.path, "path": root + inside}
                    if self._entrance is None:
                        await mounted.app(cast(Scope, below), receive, send)
                    else:
                        await self._entrance.enter(mounted.app, mounted.path, mounted.access, cast(Scope, below), receive, send)
                    return
        await self.app(scope, receive, send)


def beneath_mounts(front: object) -> object:
    """What an app's requests come to that no mount takes."""
    return front.app if isinstance(front, Mounts) else front


def _entrance(app: Quart) -> Entrance | None:
    service = app.extensions.get(SERVICE)
    if not isinstance(service, Service):
        return None
    return Entrance(service.gate, service.inference.account, service.place.admin_port, service.config.cors.allow_origins)


class _Explained:
    """An app whose exceptions become our JSON, as long as nothing of its own answer has been sent."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        started = False

        async def sending(event: ASGISendEvent) -> None:
            nonlocal started
            started = True
            await send(event)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            if started or scope["type"] != "http":
                raise
            response = failed(error, request_id(dict(scope["headers"]).get(b"x-request-id")))
            await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
            await send({"type": "http.response.body", "body": response.body, "more_body": False})


class _Bridge:
    """A WSGI app as an ASGI app, on threads of its own.

    a2wsgi translates; what it leaves to its caller is the client that leaves. It would take half a body for a whole one, run an
    endless answer for ever, and never give back a thread whose request was cancelled while a piece of its answer waited.
    """

    def __init__(self, app: Wsgi, threads: int) -> None:
        self._gateway: App = cast(Any, WSGIMiddleware)(_until_left(app), workers=threads)
        self._working: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        first = await receive()  # a thread is taken once there is something to do
        if first["type"] != "http.request":
            return
        client = _Client(first, receive, send)
        work = asyncio.create_task(self._answer(_told(cast(HTTPScope, scope), client), client))
        self._working.add(work)
        work.add_done_callback(self._done)
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            client.leave()
            raise
        except Exception:
            if not client.left.is_set():
                raise
        if client.fault is not None:
            raise client.fault

    async def _answer(self, scope: Scope, client: _Client) -> None:
        try:
            await self._gateway(scope, client.receive, client.send)
        finally:
            client.close()

    def _done(self, work: asyncio.Task[None]) -> None:
        self._working.discard(work)
        if not work.cancelled():
            work.exception()  # looked at, also where nobody awaits it any more


class _Client:
    """The two ends of one request, as the gateway's thread may use them: sending never fails there, it just has no effect."""

    def __init__(self, first: ASGIReceiveEvent, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self.left = threading.Event()
        self.fault: BaseException | None = None
        self._gone = asyncio.Event()
        self._leaving = asyncio.create_task(self._gone.wait())
        self._first: ASGIReceiveEvent | None = first
        self._receive = receive
        self._send = send
        self._listener: asyncio.Task[None] | None = None
        self._look_for_end(first)

    async def receive(self) -> ASGIReceiveEvent:
        first, self._first = self._first, None
        event = await self._receive() if first is None else first
        if event["type"] != "http.request":
            self.leave()
            raise ConnectionResetError("the client left before the end of its body")
        if first is None:
            self._look_for_end(event)
        return event

    async def send(self, event: ASGISendEvent) -> None:
        if self.left.is_set():
            return
        sending = asyncio.ensure_future(self._send(event))
        await asyncio.wait((sending, self._leaving), return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            sending.cancel()
        elif sending.exception() is not None:
            self.fault = sending.exception()
            self.leave()

    def leave(self) -> None:
        """Nobody is there to answer any more."""
        self.left.set()
        self._gone.set()

    def close(self) -> None:
        """The request is over, or nobody waits for its end."""
        if self._listener is not None:
            self._listener.cancel()
        self._leaving.cancel()

    def _look_for_end(self, event: ASGIReceiveEvent) -> None:
        if not cast(Mapping[str, object], event).get("more_body", False):
            self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        await self._receive()  # after the body's end there is only one thing to come
        self.leave()


def _until_left(app: Wsgi) -> Wsgi:
    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        left: threading.Event = environ["asgi.scope"][_LEFT]
        answer = app(environ, start_response)
        try:
            for piece in answer:
                if left.is_set():
                    return
                yield piece
        finally:
            if callable(close := getattr(answer, "close", None)):
                close()

    return guarded


def _told(scope: HTTPScope, client: _Client) -> Scope:
    """The scope as WSGI can say it."""
    told = {
        **scope,
        # `X_Real_Ip` would become the same variable as `X-Real-Ip`, which a proxy may vouch for.
        "headers": [(name, value) for name, value in scope["headers"] if b"_" not in name],
        "query_string": quote(scope["query_string"], safe=_PRINTABLE).encode("ascii"),
        _LEFT: client.left,
    }
    return cast(Scope, told)


def _is_asgi(other: Callable[..., Any]) -> bool:
    """Whether the app is of the one kind or the other. Raises ConfigError where it is neither."""
    if callable(other):
        call = getattr(other, "__call__", None)  # noqa: B004  # asked whether it is a coroutine function
        if inspect.iscoroutinefunction(other) or inspect.iscoroutinefunction(call):
            return True
        try:
            parameters = inspect.signature(other).parameters.values()
        except (TypeError, ValueError):
            parameters = {}.values()
        needed = [one for one in parameters if one.kind <= one.POSITIONAL_OR_KEYWORD and one.default is one.empty]
        if len(needed) in (2, 3):
            return len(needed) == 3
    raise ConfigError(
        f"mount: {type(other).__name__} is no app; expected WSGI's (environ, start_response) or ASGI's (scope, receive, send)"
    )
