"""Tells of the requests that Quart answered and that were no inferences, which tell of themselves."""

from __future__ import annotations

from time import perf_counter

import quart
import structlog
from quart import Quart, request

from service.account import PATH, Account, Plain
from service.blueprints import answers
from service.guard.principal import Principal
from service.response import code_of

#: Longer answers are no errors of ours (bytes).
LONGEST = 64 * 1024


def keep_accounts(app: Quart, account: Account) -> None:
    """Registers the hooks."""

    @app.before_request
    async def begin() -> None:
        quart.g.started = perf_counter()
        structlog.contextvars.bind_contextvars(request_id=answers.name())  # the request's task has a context of its own

    @app.after_request
    async def end(made: quart.Response) -> quart.Response:
        if not quart.g.get("told", False):
            route = request.url_rule.rule if request.url_rule is not None else ""
            total_s = perf_counter() - quart.g.get("started", perf_counter())
            context = _header("traceparent"), _header("tracestate")
            asked = request.method, route, request.path[:PATH]
            account.plain(Plain(answers.name(), *asked, made.status_code, total_s, await _code(made), *context, _principal()))
        return made


def _header(name: str) -> bytes | None:
    value = request.headers.get(name)
    return None if value is None else value.encode("latin-1", "replace")


def _principal() -> str | None:
    principal: Principal | None = quart.g.get("principal")
    return None if principal is None else principal.name


async def _code(made: quart.Response) -> str | None:
    """The code of an error of ours; a body that is large, or still to be made, is none."""
    known: str | None = quart.g.get("code")
    if known is not None:
        return known
    if made.status_code < 400 or made.mimetype != "application/json" or (made.content_length or LONGEST) >= LONGEST:
        return None
    return code_of(await made.get_data(as_text=False))
