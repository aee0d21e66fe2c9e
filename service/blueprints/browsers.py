"""What pages of other sites may do: read answers where `[cors]` names their origin, by quart-cors; else nothing.

quart-cors alone would refuse a WebSocket without an Origin, which every client has that is no browser, once origins are named;
and let any page open one while none are. So what it has to say of WebSockets is replaced.
"""

from __future__ import annotations

from collections.abc import Collection

import quart
import quart_cors
from quart import Quart, request, websocket

from service.errors import Forbidden
from service.guard.origin import foreign
from service.openapi import headers

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
#: What a page may send, beside what a browser lets every page send.
TAKEN = (
    "Authorization",
    "X-API-Key",
    "Content-Type",
    "Content-Encoding",
    "If-None-Match",
    "Traceparent",
    "Tracestate",
    *headers.REQUEST,
)
#: What a page may read, beside what a browser lets every page read.
READABLE = (*headers.RESPONSE, "Content-Encoding", "Content-Length", "Date", "Inference-Header-Content-Length", "Location", "Vary")
#: For how long a browser need not ask again (seconds): the longest that any but Firefox takes.
REMEMBERED_S = 7200


def answer_browsers(app: Quart, origins: Collection[str]) -> None:
    """Registers the hooks; ``origins`` are exact."""
    if origins:
        quart_cors.cors(
            app,
            allow_origin=list(origins),
            allow_methods=METHODS,
            allow_headers=TAKEN,
            expose_headers=READABLE,
            max_age=REMEMBERED_S,
        )
        app.before_websocket_funcs[None].pop()

        @app.before_request
        async def let_ask() -> quart.Response | None:
            """Answers a preflight of what is not there, so that the page may read the 404 that follows."""
            asks = request.method == "OPTIONS" and "access-control-request-method" in request.headers
            return quart.Response(b"", 204) if asks and request.routing_exception is not None else None

    @app.before_websocket
    async def refuse_foreign() -> None:
        if _foreign(websocket, origins):
            raise Forbidden("pages of this origin may not open WebSockets here; [cors] allow_origins names those that may")


def _foreign(asked: quart.Request | quart.Websocket, origins: Collection[str]) -> bool:
    return foreign(asked.headers.getlist("origin"), asked.headers.get("host"), asked.scheme in ("https", "wss"), origins)
