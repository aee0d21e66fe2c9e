"""The gate, in front of all that Quart answers: what no lane has taken has passed no gate yet."""

from __future__ import annotations

from typing import cast

import quart
from quart import Quart, request, websocket
from werkzeug.exceptions import NotFound

from service.blueprints import answers
from service.blueprints.admin_routes import AdminRoutes
from service.blueprints.browsers import is_preflight
from service.blueprints.faults import settled
from service.context import Service
from service.errors import Forbidden, OverBudget, Unauthorized
from service.guard.access import OPEN, Access, access_of
from service.guard.gate import Grant
from service.guard.stay import STAY, Stay
from service.lane.express import peer_of
from service.routing import target


def keep_gate(app: Quart, service: Service) -> None:
    """Registers the hooks, which have to come before all others that could answer."""
    gate = service.gate
    admin = AdminRoutes(app, service)
    preflights = bool(service.config.cors.allow_origins)

    async def enter(running: quart.Request | quart.Websocket) -> quart.Response | None:
        scope = running.scope
        headers, peer = list(scope["headers"]), peer_of(scope)
        rule = running.url_rule
        away = admin.hides(running)
        access = None if rule is None or away else access_of(rule.endpoint, app.view_functions.get(rule.endpoint))
        asks_whether = preflights and is_preflight(running)
        if asks_whether:
            access = OPEN
        open_to_all = access is not None and access.scope is None
        principal = gate.stranger(headers, peer) if open_to_all else gate.identify(headers, peer)
        quart.g.principal = principal
        if access is None:  # nothing is there, which is for those alone to know who may come
            access = Access(None)
        if access.in_query:
            model = running.args.get(access.model or "")
        else:
            model = None if access.model is None else (running.view_args or {}).get(access.model, "")
        if not access.spends:
            quart.g.grant = Grant(principal)
            return None
        entered = gate.enter(principal, access.scope, model, infers=access.infers)
        quart.g.grant = entered if isinstance(entered, Grant) else await entered
        if away and asks_whether:
            return quart.Response(b"", 204)  # as where nothing is
        if away:
            raise NotFound
        if gate.asks and access.scope is not None and quart.has_websocket_context():
            cast(dict[str, object], scope)[STAY] = Stay(gate, principal, headers, peer, access.scope, model)
        return None

    @app.before_request
    async def come() -> quart.Response | None:
        try:
            return await enter(request)
        except (Unauthorized, Forbidden, OverBudget, NotFound) as error:
            admin.tell(request, error)
            found = target(request.path)
            if found is None or request.url_rule is None or app.view_functions[request.url_rule.endpoint] is not answers.infer:
                raise
            quart.g.told = True  # as an inference, as the lanes do
            refused = service.inference.refused(error, found, answers.headers(), quart.g.get("principal"))
            return await settled(answers.as_quart(refused))

    @app.before_websocket
    async def knock() -> None:
        try:
            await enter(websocket)
        except (Unauthorized, Forbidden, OverBudget, NotFound) as error:
            admin.tell(websocket, error)
            raise
