"""A request that was taken off its connection whole: from bytes to the engine, and from the engine's future to a response.

No task, unless a body or an answer is so large that a thread must read or write it. What ends one request never reaches another's:
whatever is raised on the way becomes this request's own response.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from batching import Answer
from service.errors import Unauthorized
from service.guard.gate import Grant, Known
from service.guard.principal import Principal, Scope
from service.inference import LARGE, Inference, is_small, tell_allowance
from service.lane.heads import Head
from service.request import Request
from service.response import Response, failed


class Taken:
    """One such request; ``write`` is called once with its response, unless it is cancelled before."""

    __slots__ = ("_answering", "_head", "_inference", "_pending", "_request", "_who", "_write")

    def __init__(
        self, inference: Inference, head: Head, who: Principal | Unauthorized, body: bytes, write: Callable[[Response], None]
    ) -> None:
        self._inference = inference
        self._request = Request(head.target, head.headers, body)
        self._who = who
        self._head = head
        self._write: Callable[[Response], None] | None = write
        self._pending: asyncio.Future[Answer] | asyncio.Future[Grant] | asyncio.Task[None] | None = None
        self._answering: asyncio.Task[None] | None = None

    @property
    def started(self) -> float:
        """When the request came (``perf_counter``'s, seconds)."""
        return self._request.started

    def begin(self, waited_s: float = 0.0) -> None:
        """Lets the request in, after a wait of so long, and gives it to the engine; what is refused at once is written at once."""
        if self._write is None:
            return  # its client left while it waited
        who, request = self._who, self._request
        request.waited_s = waited_s
        if isinstance(who, Unauthorized):
            self._end(failed(who, request.id), None)
            return
        request.principal = who
        gate, head = self._inference.gate, self._head
        try:
            if head.may and isinstance(head.bearer, Known):
                entered = gate.enter_again(head.bearer, head.target.model)
            else:
                entered = gate.enter(who, Scope.INFER, head.target.model, infers=True)
        except Exception as error:
            self._end(failed(error, request.id), None)
            return
        if isinstance(entered, Grant):
            request.grant = entered
            self._submit()
        else:
            self._pending = entered
            entered.add_done_callback(self._enter)

    def _enter(self, entered: asyncio.Future[Grant]) -> None:
        self._pending = None
        if self._write is None:
            if not entered.cancelled():
                entered.exception()  # looked at, so that it is not reported as lost
            return
        try:
            self._request.grant = entered.result()
        except (Exception, asyncio.CancelledError) as error:
            self._end(failed(error, self._request.id), None)
        else:
            self._submit()

    def _submit(self) -> None:
        if not is_small(self._request) or not self._inference.gate.immediate:
            self._answering = asyncio.get_running_loop().create_task(self._answer_slowly())
            return
        try:
            future = self._inference.submit(self._request)
        except Exception as error:
            self._end(failed(error, self._request.id), None)
            return
        if isinstance(future, Response):
            self._end(future, None)
            return
        self._pending = future
        future.add_done_callback(self._finish)

    def cancel(self) -> None:
        """Nobody waits for the response any more: the entry is withdrawn from its batch."""
        if self._write is None:
            return
        self._write = None
        if self._answering is not None:
            self._answering.cancel()  # and is told of as such
            return
        self._inference.account.inference(self._request, None)
        if self._pending is not None:
            self._pending.cancel()

    def _finish(self, done: asyncio.Future[Answer]) -> None:
        self._pending = None
        if done.cancelled():
            return
        if self._write is None:
            done.exception()  # looked at, so that it is not reported as lost
            return
        answer = None
        try:
            answer = done.result()
            if answer.nbytes > LARGE:
                self._pending = asyncio.get_running_loop().create_task(self._respond_slowly(answer))
                return
            response = self._inference.respond(self._request, answer)
        except Exception as error:
            response = failed(error, self._request.id)
        self._end(response, answer)

    async def _answer_slowly(self) -> None:
        response = await self._inference.answer(self._request)
        write, self._write, self._answering = self._write, None, None
        if write is not None:
            write(response)

    async def _respond_slowly(self, answer: Answer) -> None:
        pool = self._inference.engine.threads.calls
        try:
            response = await asyncio.get_running_loop().run_in_executor(pool, self._inference.respond, self._request, answer)
        except Exception as error:
            response = failed(error, self._request.id)
        self._end(response, answer)

    def _end(self, response: Response, answer: Answer | None) -> None:
        write, self._write, self._pending = self._write, None, None
        if write is not None:
            tell_allowance(self._request, response)
            self._inference.account.inference(self._request, response, answer)
            write(response)
