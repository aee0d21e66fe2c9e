"""The gate in front of an ASGI app that is not ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from time import perf_counter
from typing import Any, cast

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope, WebsocketScope

from service.account import PATH, Account, Plain
from service.attended import attended
from service.guard.access import Access
from service.guard.admin_address import from_admin_address
from service.guard.gate import Gate, Grant
from service.guard.origin import admit
from service.guard.principal import Principal
from service.guard.principal import Scope as Need
from service.guard.stay import Stay
from service.lane.express import peer_of
from service.lane.refusal import refuse
from service.response import Response, code_of, failed, request_id

App = Callable[[Any, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]


class Entrance:
    """Lets callers in, or refuses them in front of the app, and accounts for it."""

    def __init__(self, gate: Gate, account: Account, admin_port: int | None = None, origins: Collection[str] = ()) -> None:
        self._gate = gate
        self._account = account
        self._admin_port = admin_port
        self._origins = origins

    def hides(self, access: Access, scope: HTTPScope | WebsocketScope) -> bool:
        """Whether what asks for that is not there: admins have an address of their own, and the connection came to the other."""
        return access.scope is Need.ADMIN and not from_admin_address(cast(dict[str, Any], scope), self._admin_port)

    async def enter(
        self, app: App, route: str, access: Access, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """One ASGI connection to the app; ``route`` is what refusals are accounted under."""
        if scope["type"] == "lifespan":
            return
        begun = perf_counter()
        headers, peer = list(scope["headers"]), peer_of(scope)
        principal: Principal | None = None
        try:
            principal = self._gate.stranger(headers, peer) if access.scope is None else self._gate.identify(headers, peer)
            entered = self._gate.enter(principal, access.scope)
            if not isinstance(entered, Grant):
                await entered
            secure = scope["scheme"] in ("https", "wss")
            if scope["type"] == "websocket":
                admit(headers, secure, self._origins, "open WebSockets")
            elif access.scope is Need.ADMIN:
                admit(headers, secure, self._origins, "change anything")
        except Exception as error:
            name = request_id(dict(headers).get(b"x-request-id"))
            response = failed(error, name)
            who = None if principal is None else principal.name
            asked = scope["method"] if scope["type"] == "http" else "GET", route, scope["path"][:PATH], response.status
            self._account.plain(Plain(name, *asked, perf_counter() - begun, code_of(response.body), principal=who))
            await self._refuse(response, scope, receive, send)
            return
        if scope["type"] == "websocket" and self._gate.asks and access.scope is not None:
            await attended(app, scope, receive, send, Stay(self._gate, principal, headers, peer, access.scope, None))
        else:
            await app(scope, receive, send)

    async def _refuse(
        self, response: Response, scope: HTTPScope | WebsocketScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] == "http":
            await refuse(response, scope, receive, send)
            return
        await receive()  # the handshake
        if "websocket.http.response" in scope["extensions"]:
            await send({"type": "websocket.http.response.start", "status": response.status, "headers": response.headers})
            await send({"type": "websocket.http.response.body", "body": response.body, "more_body": False})
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": None})
