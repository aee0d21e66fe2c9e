"""What is told of a request once it has ended: to the metrics, the log, the capture, the traces.

Both lanes tell it here, on the event loop, once a request. Observers must be quick, and must never wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple, Protocol

from batching import Answer
from service.request import Request
from service.response import Response

#: The status of a request whose client left before its answer, as proxies log it.
LEFT = 499
#: Longer paths are cut (characters): many wait in the log's queue, and a caller chooses how long they are.
PATH = 512


class Plain(NamedTuple):
    """A request that was no inference. ``route`` is the rule that it matched, empty where none; ``path`` is without its
    query, which may hold secrets, may be cut, and is empty where it was not read; ``total_s`` is in seconds; ``code`` is its
    error's; the next two are headers; ``principal``: who came, where that is known."""

    id: str
    method: str
    route: str
    path: str
    status: int
    total_s: float
    code: str | None = None
    traceparent: bytes | None = None
    tracestate: bytes | None = None
    principal: str | None = None


class Observer(Protocol):
    """Somebody who wants to know of every request that has ended."""

    def inference(self, request: Request, response: Response | None, answer: Answer | None, total_s: float) -> None:
        """An inference request: no response where the client left, no answer where it was refused or failed."""

    def plain(self, plain: Plain) -> None:
        """Any other request."""


class Account:
    """Tells every observer."""

    __slots__ = ("_inference", "_plain")

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._inference = tuple([observer.inference for observer in observers])
        self._plain = tuple([observer.plain for observer in observers])

    def inference(self, request: Request, response: Response | None, answer: Answer | None = None) -> None:
        """An inference request has ended."""
        total_s = perf_counter() - request.started
        for tell in self._inference:
            tell(request, response, answer, total_s)

    def plain(self, plain: Plain) -> None:
        """Any other request has ended."""
        for tell in self._plain:
            tell(plain)
