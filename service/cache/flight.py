"""One computation for all who ask for the same at once.

Who comes first has it computed; the others wait with him. It goes on as long as anybody waits: whoever of them leaves, or runs out
of time, takes nothing from the others. Where the computation itself ran out of the time that it was given, its first caller's, and
others have more, it is begun again with theirs, whether he still waits or not.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from batching import Answer, DeadlineExceeded
from service.protocol.infer import Encoded

#: How a request came by its answer.
How = Literal["hit", "miss", "joined"]
#: Has the answer computed within so many seconds, or says at once why not.
Compute = Callable[[float], asyncio.Future[Answer]]
#: For less than this more it is not begun again (seconds).
MORE_S: Final = 0.001


@dataclass(slots=True)
class Given(Answer):
    """An answer of a model that has a cache. Of one that was kept: its ``key`` and ``value``, and where the request was known by
    heart, what a caller is sent."""

    how: How = "miss"
    key: bytes = b""
    value: bytes = b""
    encoded: Encoded | None = None


class Flight:
    """``left`` is called once nobody waits any more, or the answer has been given: the flight is over."""

    __slots__ = ("_begin", "_computing", "_left", "_loop", "_until", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, left: Callable[[Answer | None], None]) -> None:
        self._loop = loop
        self._left = left
        self._begin: Compute | None = None
        self._computing: asyncio.Future[Answer] | None = None
        self._until = -math.inf
        self._waiting: dict[asyncio.Future[Answer], float] = {}

    def first(self, begin: Compute, timeout_s: float) -> asyncio.Future[Answer]:
        """Who comes first: raises what ``begin`` does, and then there is no flight."""
        self._begin = begin
        until = self._loop.time() + timeout_s
        self._compute(until, timeout_s)
        return self._wait(until)

    def join(self, timeout_s: float) -> asyncio.Future[Answer]:
        """Who comes later."""
        future = self._wait(self._loop.time() + timeout_s)
        timer = self._loop.call_later(timeout_s, self._late, future)
        future.add_done_callback(lambda _: timer.cancel())
        return future

    def _wait(self, until: float) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting[future] = until
        future.add_done_callback(self._leave)
        return future

    def _compute(self, until: float, timeout_s: float) -> None:
        if self._begin is None:
            raise RuntimeError("a flight has a first")
        self._until = until
        self._computing = self._begin(timeout_s)
        self._computing.add_done_callback(self._computed)

    def _late(self, future: asyncio.Future[Answer]) -> None:
        if not future.done():
            future.set_exception(
                DeadlineExceeded("the request's time was over before the answer, which another request had computed", "call")
            )

    def _leave(self, future: asyncio.Future[Answer]) -> None:
        if self._waiting.pop(future, None) is None or self._waiting:
            return
        computing, self._computing = self._computing, None
        if computing is not None:
            self._left(None)
            computing.cancel()

    def _computed(self, computing: asyncio.Future[Answer]) -> None:
        if self._computing is not computing:  # nobody waits for it
            if not computing.cancelled():
                computing.exception()  # looked at, so that it is not reported as lost
            return
        self._computing = None
        if computing.cancelled():
            self._fail(asyncio.CancelledError())
            return
        error = computing.exception()
        if error is None:
            self._answer(computing.result())
        elif isinstance(error, DeadlineExceeded) and (until := self._latest()) > max(self._until + MORE_S, self._loop.time()):
            self._again(until, error)
        else:
            self._fail(error)

    def _latest(self) -> float:
        """When the last of those who wait runs out of time."""
        return max(self._waiting.values(), default=-math.inf)

    def _again(self, until: float, error: BaseException) -> None:
        enough = self._until + MORE_S
        for future, deadline in list(self._waiting.items()):
            if deadline <= enough and not future.done():  # it is as late for him, were he also told so before his time was over
                future.set_exception(error)
        try:
            self._compute(until, until - self._loop.time())
        except Exception as refused:
            self._fail(refused)

    def _answer(self, answer: Answer) -> None:
        waiting, self._waiting = self._waiting, {}
        self._left(answer)
        how: How = answer.how if isinstance(answer, Given) else "miss"
        for future in waiting:
            if not future.done():
                future.set_result(given(answer, how))
                how = "joined"

    def _fail(self, error: BaseException) -> None:
        waiting, self._waiting = self._waiting, {}
        self._left(None)
        for future in waiting:
            if future.done():
                continue
            if isinstance(error, asyncio.CancelledError):
                future.cancel()
            else:
                future.set_exception(error)


def how_of(answer: Answer | None) -> How | None:
    """How it was come by; None of a model without a cache."""
    return answer.how if type(answer) is Given else None


def given(answer: Answer, how: How) -> Given:
    """The answer, and how it was come by."""
    return Given(answer.outputs, answer.queue_s, answer.call_s, answer.batch_rows, answer.reason, answer.batch, how=how)
