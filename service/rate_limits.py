"""quart-rate-limiter over Tureen's own budgets, so that a route of the user's may have limits of its own:

    @app.get("/quotes")
    @rate_limit(10, timedelta(minutes=1))
    async def quotes(): ...

What the library leaves to its users is settled here. The key is who calls, as the gate knows him, and never what
`X-Forwarded-For` says; what is kept is bounded, shared by the workers, and in Redis expires; looking and spending is one step, so
that two requests never both take the last; and the handshakes of WebSockets count too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import quart
from quart import Quart, g, websocket
from quart_rate_limiter import RateLimit, RateLimiter
from quart_rate_limiter.store import RateLimiterStoreABC

from service.guard.budgets.budget import Allowance, Bound, allowance_headers, tighter
from service.guard.budgets.budgets import Budgets
from service.guard.gate import Grant
from service.guard.principal import Principal

#: A budget whose units are microseconds, to read and write another's arrival time by; ten years of them.
_UNIT_S: Final = 1e-6
_MOST: Final = 10 * 366 * 86_400 * 1_000_000


def limit_routes(app: Quart, budgets: Budgets) -> None:
    """Registers the library on the app, and what tells callers of their budgets. The gate's hooks have to come before."""
    Limiter(app, budgets)

    @app.after_request
    async def tell(made: quart.Response) -> quart.Response:
        grant: Grant | None = g.get("grant")
        left = tighter(g.get("route_allowance"), None if grant is None else grant.allowance)
        if left is not None and "ratelimit-limit" not in made.headers:  # an inference and a refusal have said so
            for name, value in allowance_headers(left):
                made.headers[name.decode()] = value.decode()
        return made


async def caller() -> str:
    """Who calls, under the name that all of his budgets are kept under."""
    principal: Principal = g.principal
    return principal.name


class Limiter(RateLimiter):
    """The library's extension with looking and spending in one step."""

    def __init__(self, app: Quart, budgets: Budgets) -> None:
        self._budgets = budgets
        super().__init__(app, key_function=caller, store=Store(budgets))

    def init_app(self, app: Quart, enabled: bool = True) -> None:
        """Registers the library's hooks, and one for the handshakes of WebSockets."""
        super().init_app(app, enabled)
        app.before_websocket(self._before_websocket)

    async def _before_websocket(self) -> None:
        app = quart.current_app
        view = app.view_functions.get(websocket.endpoint or "")
        if view is None or not app.config["QUART_RATE_LIMITER_ENABLED"]:
            return
        limits = self._get_limits_for_view_function(view, app.blueprints.get(websocket.blueprint or ""))
        await self._raise_on_rejection(websocket.endpoint or "", [one for one in limits if not await self._should_skip(one)])

    async def _raise_on_rejection(self, endpoint: str, rate_limits: Sequence[RateLimit]) -> None:
        """Spends one request of all the limits of a route, or of none. Raises OverBudget."""
        bounds = tuple([bound(await self._create_key(endpoint, one), one) for one in rate_limits])
        if bounds:
            left = self._budgets.open(bounds)(1)
            g.route_allowance = await left if isinstance(left, asyncio.Future) else left

    async def _update_limits(self, endpoint: str, rate_limits: Sequence[RateLimit]) -> None:
        """Nothing: what was admitted has been spent."""

    async def _after_request(self, response: quart.Response) -> quart.Response:
        """Nothing: callers are told with all their budgets in view."""
        return response

    async def _create_key(self, endpoint: str, rate_limit: RateLimit) -> str:
        who = await (rate_limit.key_function or self.key_function)()
        return f"route {endpoint},{rate_limit.key} {who}"


def bound(name: str, limit: RateLimit) -> Bound:
    """A limit of the library's as one of ours."""
    return Bound(name, "rate_limit", "requests", limit.count, limit.inverse, "this route")


class Store(RateLimiterStoreABC):
    """What the library calls a store, over the same budgets, for whoever asks it: when a key's theoretical arrival time is."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets

    async def before_serving(self) -> None:
        """Nothing: the budgets begin and end with the app."""

    async def after_serving(self) -> None:
        """Nothing: the budgets begin and end with the app."""

    async def get(self, key: str, default: datetime) -> datetime:
        """That time, ``default`` where there is none, or it has passed."""
        left = await self._spend(key, 0)
        return datetime.now(UTC) + timedelta(seconds=left.reset_s) if left.reset_s > 0 else default

    async def set(self, key: str, tat: datetime) -> None:
        """Moves it there, in one step, from where it is; never back."""
        left = await self._spend(key, 0)
        ahead_s = (tat - datetime.now(UTC)).total_seconds() - left.reset_s
        if ahead_s > 0:
            await self._spend(key, ahead_s / _UNIT_S)

    async def _spend(self, key: str, cost: float) -> Allowance:
        left = self._budgets.open((Bound(key, "rate_limit", "requests", _MOST, _UNIT_S),))(cost)
        return cast(Allowance, await left if isinstance(left, asyncio.Future) else left)
