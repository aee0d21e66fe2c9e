"""The lingering close, which every client has that was refused.

Closed at once, what it is still sending would be answered by a reset, which may overtake the refusal. So our side alone ends first,
and for a moment the connection is kept; of what still comes at most a little is read, and dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

#: How long the connection is kept (seconds).
LINGER_S: Final = 0.5
#: What is read meanwhile (bytes); past it nothing is, for dropping a flood costs what reading it does.
LINGER_BYTES: Final = 256 * 1024

#: How long a WebSocket's peer has to answer a close frame (seconds).
CLOSE_S: Final = 2.0


def linger(transport: asyncio.WriteTransport, end: Callable[[], None]) -> None:
    """Ends our side, once what was written is sent; ``end`` is called when the client has had its time."""
    if transport.can_write_eof() and not transport.is_closing():
        transport.write_eof()
    asyncio.get_running_loop().call_later(LINGER_S, end)
