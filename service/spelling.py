"""A path has one spelling: what stands in front of the server judges by it too.

Servers decode a path before anybody looks at it, and werkzeug drops the slashes that it has too many at its start: spelled with
either, a path would lead to the route whose prefix a proxy has not found there. Here such slashes stay as they were written,
encoded, which no route has.
"""

from __future__ import annotations

import re
from typing import Any, Final, cast
from urllib.parse import unquote

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope, WebsocketScope
from quart import Quart

_ENCODED: Final = re.compile(rb"%2[fF]")


class SpelledOnce(Quart):
    """A Quart app, in front of whose mounts, lanes and routes paths are held to their one spelling."""

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """One ASGI connection."""
        if scope["type"] == "http" or scope["type"] == "websocket":
            raw = scope.get("raw_path") or b""  # which a server need not tell
            if scope["path"].startswith("//") or (b"%" in raw and _ENCODED.search(raw)):
                scope = cast(Any, {**scope, "path": _as_written(scope, raw)})
        await super().__call__(scope, receive, send)


def _as_written(scope: HTTPScope | WebsocketScope, raw: bytes) -> str:
    path = unquote(_ENCODED.sub(b"%252F", raw).decode("latin-1")) if raw else scope["path"]
    plain = path.lstrip("/")
    return "/" + "%2F" * (len(path) - len(plain) - 1) + plain
