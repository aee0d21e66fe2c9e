"""The bounds that Quart leaves open, for routes of ours and of users alike.

Views that are plain functions, and ``asyncio.to_thread``, run on the loop's default executor, which has cores + 4 threads: six slow
ones on a small machine would make every other wait.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from quart import Quart
from quart.json.provider import DefaultJSONProvider

from service.connections import websockets
from service.sections import Limits

#: A key of ``app.config``: how many plain functions may run at once.
SYNC_THREADS = "SYNC_THREADS"


class Json(DefaultJSONProvider):
    """Quart's JSON, to which a document that is nested too deep is a wrong one and no failure of the server."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Raises ValueError for all that cannot be read."""
        try:
            return super().loads(s, **kwargs)
        except RecursionError:
            raise ValueError("it is nested too deep") from None


def keep_bounds(app: Quart, limits: Limits) -> None:
    """Sets them; those in ``app.config`` may be changed until the app is served."""
    app.config.update({SYNC_THREADS: 64, **websockets.defaults(limits)})
    app.config["MAX_CONTENT_LENGTH"] = limits.body_bytes
    app.config["BODY_TIMEOUT"] = None  # connections have theirs: a large body may take its time, a slow one may not
    app.json = Json(app)
    app.asgi_websocket_class = websockets.BoundedWebsocket

    @app.before_serving
    async def have_threads() -> None:
        threads = ThreadPoolExecutor(app.config[SYNC_THREADS], thread_name_prefix="tureen-sync")
        asyncio.get_running_loop().set_default_executor(threads)
