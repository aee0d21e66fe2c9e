"""What a user has added to the app that an inference request would have to pass through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quart import Quart

Hook = Callable[..., Any]


def request_hooks(app: Quart) -> frozenset[Hook]:
    """Every function that runs before, after or around a request of the app or of any of its blueprints."""
    tables = (
        app.before_request_funcs,
        app.after_request_funcs,
        app.teardown_request_funcs,
        app.url_value_preprocessors,
    )
    return frozenset(hook for table in tables for hooks in table.values() for hook in hooks)
