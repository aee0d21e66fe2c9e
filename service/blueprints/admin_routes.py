"""The routes that ask for the scope admin: hidden where they have an address of their own and a request came to the other one,
and told to the audit when somebody was not let in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast
from urllib.parse import urlsplit

import quart
from quart import Quart
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import RequestRedirect, Rule

from service.blueprints import answers
from service.context import Service, service_of
from service.errors import Forbidden, OverBudget, Unauthorized
from service.guard.access import Access, access_of
from service.guard.address import Trusted, caller
from service.guard.admin_address import from_admin_address
from service.guard.principal import Scope
from service.lane.express import peer_of
from service.store import Asked

Running = quart.Request | quart.Websocket

#: Longer paths are cut (characters).
PATH = 128


class AdminRoutes:
    """Those of one app."""

    def __init__(self, app: Quart, service: Service) -> None:
        self._app = app
        self._port = service.place.admin_port
        self._trail = service.follower.trail
        self._trusted = Trusted(service.config.limits.trusted_proxies)

    def hides(self, running: Running) -> bool:
        """Whether the request is to be answered as if nothing were at its path, whatever its method."""
        if from_admin_address(running.scope, self._port):
            return False
        found = list(self._accesses(running))
        return bool(found) and all(access.scope is Scope.ADMIN for access in found)

    def tell(self, running: Running, error: Exception) -> None:
        """Tells the audit of somebody who was not let in, where that was to an admin route."""
        if not isinstance(error, Unauthorized | Forbidden | OverBudget | NotFound):
            return
        rule = running.url_rule
        access = None if rule is None else self._access(rule)
        if rule is None or access is None or access.scope is not Scope.ADMIN:
            return
        principal = quart.g.get("principal")
        asker = asked("" if principal is None else principal.name, running, self._trusted)
        target = str((running.view_args or {}).get(access.model, "")) if access.model is not None else ""
        action = str(rule.endpoint).rpartition(".")[2]
        self._trail.refused(asker, action, target or running.path[:PATH], _why(error))

    def _accesses(self, running: Running) -> Iterable[Access]:
        """What is asked for at the request's path, by its method, or by any where there is nothing for that one."""
        if running.url_rule is not None:
            yield self._access(running.url_rule)
            return
        error = running.routing_exception
        adapter = self._app.create_url_adapter(cast(quart.Request, running))
        if adapter is None or not isinstance(error, MethodNotAllowed | RequestRedirect):
            return
        path = urlsplit(error.new_url).path if isinstance(error, RequestRedirect) else None
        methods = [running.method] if isinstance(running, quart.Request) else ["GET"]
        for method in error.valid_methods or () if isinstance(error, MethodNotAllowed) else methods:
            try:
                rule, _ = adapter.match(path, method=method, return_rule=True, websocket=not isinstance(running, quart.Request))
            except HTTPException:
                continue
            yield self._access(rule)

    def _access(self, rule: Rule) -> Access:
        return access_of(str(rule.endpoint), self._app.view_functions.get(str(rule.endpoint)))


def asked(principal: str, running: Running, trusted: Trusted) -> Asked:
    """Who asks, in which request, from which address; whoever did not say who he is goes by that."""
    address = caller(list(running.scope["headers"]), peer_of(running.scope), trusted)
    return Asked(principal or f"address:{address}", answers.name(), address)


def who() -> Asked:
    """Who asks what runs now, which was let in."""
    service = service_of()
    return asked(answers.grant().principal.name, answers.asked(), Trusted(service.config.limits.trusted_proxies))


def _why(error: Exception) -> str:
    match error:
        case Unauthorized():
            return f"unauthorized: {error.why}"
        case Forbidden():
            return "forbidden"
        case OverBudget():
            return "over budget"
        case _:
            return "not at the admin address"
