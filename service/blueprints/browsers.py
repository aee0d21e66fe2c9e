"""What pages of other sites may do: read answers where `[cors]` names their origin, by quart-cors; else nothing that lasts.

quart-cors alone would refuse a WebSocket without an Origin, which every client has that is no browser, once origins are named;
and let any page open one while none are. So what it has to say of WebSockets is replaced.
"""

from __future__ import annotations

from collections.abc import Collection

import quart
import quart_cors
from quart import Quart, request, websocket

from service.guard.access import access_of
from service.guard.origin import admit
from service.guard.principal import Scope
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
READABLE = (*headers.RESPONSE, "Content-Encoding", "Content-Length", "Date", "Inference-Header-Content-Length", "Vary")
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
            """Answers a preflight, also of what is not there: so the page may read the 404, and a stranger learns nothing."""
            rule = request.url_rule
            unanswered = rule is None or rule.provide_automatic_options
            return quart.Response(b"", 204) if unanswered and is_preflight(request) else None

    @app.before_request
    async def refuse_acts() -> None:
        """A browser sends some POSTs of any page without asking first, and where nobody needs a key such a one would be obeyed."""
        rule = request.url_rule
        if rule is not None and access_of(rule.endpoint, app.view_functions.get(rule.endpoint)).scope is Scope.ADMIN:
            _admit(request, origins, "change anything")

    @app.before_websocket
    async def refuse_sockets() -> None:
        _admit(websocket, origins, "open WebSockets")


def is_preflight(asked: quart.Request | quart.Websocket) -> bool:
    """Whether a browser asks whether it may ask: it does so without a credential (Fetch, 4.8)."""
    named = "origin" in asked.headers and "access-control-request-method" in asked.headers
    return isinstance(asked, quart.Request) and asked.method == "OPTIONS" and named


def _admit(asked: quart.Request | quart.Websocket, origins: Collection[str], deed: str) -> None:
    admit(list(asked.scope["headers"]), asked.scheme in ("https", "wss"), origins, deed)
