"""Answers on their way out, written one right after the other.

The answers of a batch are ready in one turn of the loop. Written between the encoding of one and the next, each would wake its
client, which falls asleep again before the next comes: on one core half of the time goes into that. Written together they find
the client awake.
"""

from __future__ import annotations

import asyncio


class Outbox:
    """What is to be written in the next turn of the loop, to any connection, in order."""

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def put(self, transport: asyncio.Transport, data: bytes) -> None:
        """Writes the data in the next turn of the running loop."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append((transport, data))

    def flush(self) -> None:
        """Writes now; one connection that has broken keeps no other waiting."""
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            if not transport.is_closing():
                try:
                    transport.write(data)
                except (OSError, RuntimeError):
                    transport.abort()
