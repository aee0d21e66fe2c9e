"""What a user has added to the app that an inference request would have to pass through."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from quart import Quart

Hook = Callable[..., Any]


def request_hooks(app: Quart, blueprints: Iterable[str]) -> frozenset[Hook]:
    """Every function that runs before, after or around each request of the app, or those of the named blueprints."""
    tables = (
        app.before_request_funcs,
        app.after_request_funcs,
        app.teardown_request_funcs,
        app.url_value_preprocessors,
    )
    scopes = (None, *blueprints)
    return frozenset(hook for table in tables for scope in scopes for hook in table.get(scope, ()))
