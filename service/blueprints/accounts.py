"""Tells of the requests that Quart answered and that were no inferences, which tell of themselves."""

from __future__ import annotations

from time import perf_counter

import quart
from quart import Quart, request

from service.account import Account, Plain
from service.blueprints import answers


def keep_accounts(app: Quart, account: Account) -> None:
    """Registers the hooks."""

    @app.before_request
    async def begin() -> None:
        quart.g.started = perf_counter()

    @app.after_request
    async def end(made: quart.Response) -> quart.Response:
        if not quart.g.get("told", False):
            route = request.url_rule.rule if request.url_rule is not None else ""
            total_s = perf_counter() - quart.g.get("started", perf_counter())
            account.plain(Plain(answers.name(), request.method, route, made.status_code, total_s))
        return made
