"""What a user's app may add: a route that logs as much as it is asked to. For ``--app talkative:extend``."""

from __future__ import annotations

import logging

from quart import Quart

log = logging.getLogger("talkative")


def extend(app: Quart) -> None:
    """Adds ``/talk/<lines>``."""

    @app.get("/talk/<int:lines>")
    async def talk(lines: int) -> dict[str, int]:
        for number in range(lines):
            log.info("line %d of %d", number, lines)
        return {"told": lines}
