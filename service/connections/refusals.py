"""Connections over the limit: told so, and closed."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from typing import Final

from service.connections.lingering import LINGER_S
from service.errors import ServiceError, TooManyConnections, TooManyFromAddress
from service.inference import Inference
from service.response import STATUS_LINES
from service.sections import Limits

log = logging.getLogger("tureen.acceptor")

#: So many refused connections are kept at once.
LINGERING: Final = 256
#: How often the log is told (seconds).
TELL_S: Final = 10.0


class Refusals:
    """Connections over the limit: each is told why, kept for a moment, and closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, inference: Inference) -> None:
        self._loop = loop
        self._inference = inference
        self._lingering: deque[tuple[float, socket.socket]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._told_at = float("-inf")
        self.count = 0

    def refuse(self, connection: socket.socket, limit: str, *, secure: bool) -> None:
        """Tells a client that it is one too many, as far as it can be told without waiting; ``limit`` is the key that says so.
        Over TLS it is just closed."""
        self.count += 1
        now = self._loop.time()
        if now >= self._told_at + TELL_S:
            self._told_at = now
            log.warning("refused a connection by [limits] %s; %d refused so far", limit, self.count)
        response = self._inference.turned_away(_why(self._inference.limits, limit))
        if secure:
            connection.close()
            return
        try:
            connection.setblocking(False)
            connection.send(b"".join((STATUS_LINES[response.status], response.lines, b"connection: close\r\n\r\n", response.body)))
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            connection.close()
            return
        self._lingering.append((now + LINGER_S, connection))
        if len(self._lingering) > LINGERING:
            self._lingering.popleft()[1].close()
        if self._timer is None:
            self._timer = self._loop.call_later(LINGER_S, self._look)

    def close(self) -> None:
        """Closes those that are kept."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._lingering:
            self._lingering.popleft()[1].close()

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._lingering and self._lingering[0][0] <= now:
            self._lingering.popleft()[1].close()
        if self._lingering:
            self._timer = self._loop.call_at(self._lingering[0][0], self._look)


def _why(limits: Limits, limit: str) -> ServiceError:
    if limit == "address_connections":
        why = f"your address has {limits.address_connections} open connections, as many as it may; close one, or keep them longer"
        return TooManyFromAddress(why, limit=limit)
    why = f"the server has {limits.connections} open connections, as many as it may; try again, or another"
    return TooManyConnections(why, limit=limit)
