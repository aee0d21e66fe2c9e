"""What a team's app may add, with all that may be wrong with it: for ``--app team:…``."""

from __future__ import annotations

from typing import NoReturn

import quart
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Blueprint, Quart

from models import InvalidInput, Problem
from service import mount

ROOM = "behind the curtain"


def extend(app: Quart) -> None:
    """Routes that fail, and a blueprint whose hook is its own affair."""
    team = Blueprint("team", __name__, url_prefix="/team")

    @team.before_request
    async def own_hook() -> None:
        """Does not concern inference, so the express lane stays open."""

    @team.get("/broken")
    async def broken() -> NoReturn:
        raise ZeroDivisionError(ROOM)

    @team.get("/refused")
    async def refused() -> NoReturn:
        raise InvalidInput(Problem("day", "there is no such day", "1 to 31", "32"))

    @team.get("/aborted")
    async def aborted() -> NoReturn:
        quart.abort(418)

    @team.post("/json")
    async def json() -> dict[str, object]:
        return {"got": await quart.request.get_json(force=True)}

    app.register_blueprint(team)


def wrap(app: Quart) -> None:
    """A middleware in front of everything, as one that knows who may come in."""
    inner = app.asgi_app

    async def guard(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http" and dict(scope["headers"]).get(b"x-ticket") != b"yes":
            await send({"type": "http.response.start", "status": 402, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await inner(scope, receive, send)

    app.asgi_app = guard  # type: ignore[method-assign]  # as Quart documents middleware


def shadow(app: Quart) -> None:
    """Mounts where Tureen's own paths are."""
    mount(app, "/v2", lambda environ, start_response: [])


async def late(app: Quart) -> None:
    """Nobody would await it."""
