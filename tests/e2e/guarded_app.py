"""What a user's app may add, and what it says of who may call it. For ``--app guarded_app:extend`` or ``extend_hooked``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import quart
from quart import Quart, websocket

from service import mount, needs

Start = Callable[..., object]


def extend(app: Quart) -> None:
    """Routes, WebSockets and mounted apps, with a word on who may call them or without."""

    @app.get("/own/plain")
    async def plain() -> dict[str, str]:
        return {"principal": quart.g.grant.principal.name}

    @app.route("/own/open", methods=["GET", "POST"])
    @needs("open")
    async def to_all() -> dict[str, str]:
        return {"principal": quart.g.grant.principal.name}

    @app.get("/own/metrics")
    @needs("metrics")
    def scraped() -> dict[str, bool]:
        return {"scraped": True}

    @app.get("/own/models/<name>")
    @needs("infer", model="name")
    async def model(name: str) -> dict[str, str]:
        return {"model": name}

    @app.websocket("/own/talk")
    async def talk() -> None:
        await _echo()

    @app.websocket("/own/open-talk")
    @needs("open")
    async def open_talk() -> None:
        await _echo()

    mount(app, "/mounted/plain", hello)
    mount(app, "/mounted/open", hello, access="open")
    mount(app, "/mounted/talk", echo)


def extend_hooked(app: Quart) -> None:
    """The same with a hook, for which the express lane steps aside."""
    extend(app)

    @app.before_request
    async def pass_on() -> None:
        """Lets everything through; whoever comes this far is known."""
        if not quart.g.get("grant"):
            raise RuntimeError("a hook ran before the gate")


async def _echo() -> None:
    while True:
        await websocket.send(await websocket.receive())


def hello(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """A WSGI app that reads what it is sent."""
    environ["wsgi.input"].read()
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


async def echo(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """An ASGI app of one WebSocket that gives back what it is sent."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})
    await asyncio.sleep(0)
