"""What a user's app may add: a hook. The express lane steps aside for it, so every request goes through Quart."""

from __future__ import annotations

from quart import Quart


def extend(app: Quart) -> None:
    """For ``--app quart_lane:extend``."""

    @app.before_request
    async def pass_on() -> None:
        """Lets everything through."""
