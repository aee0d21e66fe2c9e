"""Refusing what a model cannot answer in time, before it is read, at a fraction of what an answer costs.

When callers are far too many, most of what a server does is to refuse. The batcher says the same to all who come while nothing
changes (``batching.door``), and then the words are made once.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from batching import Batcher
from service.failures import failure
from service.request import Request
from service.response import Response, Template


class Shedding:
    """What each batcher last said to those whom it refused."""

    __slots__ = ("_words",)

    def __init__(self) -> None:
        # A batcher holds its model: words must not keep one that was unloaded.
        self._words: WeakKeyDictionary[Batcher, tuple[Exception, Template]] = WeakKeyDictionary()

    def refused(self, request: Request, batcher: Batcher, rows: int, timeout_s: float | None) -> Response | None:
        """The refusal of a request of so many rows and normal priority that has so long; None where it is not refused."""
        error = batcher.knock(rows, timeout_s)
        if error is None:
            return None
        words = self._words.get(batcher)
        if words is None or words[0] is not error:
            words = self._words[batcher] = (error, Template.of(failure(error)))
        return words[1].response(request.id)
