"""Peers that do not read what they are sent.

What is not read waits in our memory. Who sends it waits too, so it is one answer and no more; but a peer that never reads would
keep it for ever, and its connection with it.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import sys
import termios
from typing import Final

from service.guard.limited import Limited

#: How often a peer is looked at within the time that it has.
LOOKS: Final = 4


class Unread:
    """Ends a connection whose peer takes nothing for ``timeout_s``: counts that in ``limited``, and aborts it."""

    __slots__ = ("_left", "_limited", "_loop", "_moved", "_timeout_s", "_timer", "_transport")

    def __init__(self, transport: asyncio.WriteTransport, timeout_s: float, limited: Limited) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._timeout_s = timeout_s
        self._limited = limited
        self._timer: asyncio.TimerHandle | None = None
        self._left, self._moved = 0, 0.0

    def watch(self) -> None:
        """Something waits to be read, and from now on nothing more is to be written before it is."""
        if self._timer is None:
            self._left, self._moved = pending(self._transport), self._loop.time()
            self._timer = self._loop.call_later(self._timeout_s / LOOKS, self._look)

    def rest(self) -> None:
        """The peer has read on, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if not self._transport.get_write_buffer_size():
            return
        now, left = self._loop.time(), pending(self._transport)
        if left < self._left:
            self._moved = now
        self._left = left
        if now - self._moved >= self._timeout_s:
            self._limited.count("write_timeout_s")
            self._transport.abort()
        else:
            self._timer = self._loop.call_later(self._timeout_s / LOOKS, self._look)


def pending(transport: asyncio.WriteTransport) -> int:
    """What of the bytes written the peer has not acknowledged, as far as can be told: ours, and the kernel's, in which a slow
    reader shows long before there is room for more of ours."""
    waiting = transport.get_write_buffer_size()
    socket = transport.get_extra_info("socket")
    if socket is None or sys.platform != "linux":
        return waiting
    try:
        (unacknowledged,) = struct.unpack("i", fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4)))
    except (OSError, ValueError):  # the connection is closed
        return waiting
    return waiting + int(unacknowledged)
