"""A taken request in the place of one of uvicorn's own cycles."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.lane.heads import Head
from service.lane.taken import Taken


class _Unheard:
    """Nobody waits for a taken request's messages; the base class tells of them all the same."""

    def set(self) -> None:
        """Nothing."""


_UNHEARD: Any = _Unheard()


class Exchange(RequestResponseCycle):
    """A taken request, as far as the base class has to know it: it fills the body and marks the disconnection."""

    more_body = True
    disconnected = False
    response_started = False
    response_complete = False
    message_event = _UNHEARD
    taken: Taken | None = None

    def __init__(self, head: Head, keep_alive: bool = True) -> None:
        self.head = head
        self.keep_alive = keep_alive
