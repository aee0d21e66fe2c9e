"""Hypercorn's connections, closed when their clients leave.

Hypercorn 0.18 ends a connection when its idle timer does: a client that left keeps its file descriptor for ``keep_alive_timeout``,
so some hundred short connections a second are enough to run out of them. Here the timer ends with the client.
"""

from __future__ import annotations

import hypercorn.asyncio.run
from hypercorn.asyncio.tcp_server import TCPServer


class Connection(TCPServer):
    """One connection; once nothing more can be read from it, it is never idle again."""

    _left = False

    async def _read_data(self) -> None:
        try:
            await super()._read_data()
        finally:
            self._left = True
            await self.idle_task.stop()

    async def _idle_timeout(self) -> None:
        if not self._left:  # an answer that ends after its client has left would start the timer again
            await super()._idle_timeout()


def close_with_clients() -> None:
    """Makes Hypercorn use these connections; it has no setting for that."""
    hypercorn.asyncio.run.TCPServer = Connection  # type: ignore[attr-defined]
