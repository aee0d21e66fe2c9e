"""The express lane: inference requests answered in front of the Quart app.

Quart's full request cycle costs some 300 us, which is ten times the work an inference request needs. The lane takes only what it
fully understands: POST on an inference path, no Origin header (cross-origin answers are quart-cors's), and no hook of the user's
own that would have to run. Everything else falls through to Quart, where the same ``Inference`` gives the same answers.

It is an ASGI callable, put around the app as Flask's users put middleware: ``app.asgi_app = ExpressLane(app.asgi_app, ...)``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope, WebsocketScope

from service.guard.gate import Grant
from service.guard.principal import Principal
from service.guard.principal import Scope as Need
from service.inference import Inference
from service.lane.heads import SECRET
from service.lane.probes import Probes
from service.lane.refusal import answer, refuse
from service.request import Headers, Request, fields
from service.response import Response
from service.routing import Target, target

App = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]

#: How long a request is in work before its connection is watched (seconds). Watching costs a task, and most are answered sooner.
PATIENCE_S = 0.05


class ExpressLane:
    """Answers inference requests and probes itself and passes everything else to ``app``; ``is_open`` says whether it may."""

    def __init__(self, app: App, inference: Inference, probes: Probes, is_open: Callable[[], bool]) -> None:
        self._app = app
        self._inference = inference
        self._probes = probes
        self._is_open = is_open
        self._watch = Watch()

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """One ASGI connection."""
        if scope["type"] == "http" and self._is_open() and not scope.get("root_path"):
            if scope["method"] == "POST":
                found = target(scope["path"])
                if found is not None:
                    headers = fields(list(scope["headers"]))
                    if b"origin" not in headers:
                        await self._answer(found, headers, scope, receive, send)
                        return
            elif scope["method"] == "GET":
                probed = self._probes.answer(scope["path"], dict(scope["headers"]))
                if probed is not None:
                    await answer(probed, send)
                    return
        await self._app(scope, receive, send)

    async def _answer(
        self, found: Target, headers: Headers, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        inference = self._inference
        principal: Principal | None = None
        try:
            principal = inference.gate.identify(list(scope["headers"]), peer_of(scope))
            entered = inference.gate.enter(principal, Need.INFER, found.model, infers=True)
            grant = entered if isinstance(entered, Grant) else await entered
        except Exception as error:
            await refuse(inference.refused(error, found, headers, principal), scope, receive, send)
            return
        body, whole = await self._body(found, headers, principal, receive)
        if body is None:
            return
        if isinstance(body, Response):
            if whole:
                await answer(body, send)
            else:
                await refuse(body, scope, receive, send)
            return
        request = Request(
            found, {name: value for name, value in headers.items() if name not in SECRET}, body, scope["query_string"]
        )
        request.principal, request.grant = principal, grant
        task = self._watch.enter(receive)
        try:
            response = await inference.answer(request)
        except asyncio.CancelledError:
            if self._watch.left(task):  # the client has gone: nobody to answer
                return
            raise
        finally:
            self._watch.leave(task)
        await answer(response, send)

    async def _body(
        self, found: Target, headers: Headers, principal: Principal, receive: ASGIReceiveCallable
    ) -> tuple[bytes | Response | None, bool]:
        """The body; a refusal where it is over the limit; None where the client left before its end. Whether it was read whole."""
        limit = self._inference.limits.body_bytes
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > limit:
            return self._inference.too_large(found, headers, principal), False
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None, False
            chunk = message.get("body", b"")
            size += len(chunk)
            whole = not message.get("more_body", False)
            if size > limit:
                return self._inference.too_large(found, headers, principal), whole
            if whole:
                return b"".join((*chunks, chunk)) if chunks else chunk, True
            chunks.append(chunk)


def peer_of(scope: HTTPScope | WebsocketScope) -> str:
    """The address of a connection's other end; empty where it has none."""
    client = scope.get("client")
    return "" if client is None else client[0]


class Watch:
    """Cancels the requests in work whose clients leave.

    One timer looks after all: only a request that is in work for longer than ``PATIENCE_S`` gets a task that listens to its
    connection, so a request that is answered sooner costs two dictionary entries. An idle server has no timer.
    """

    def __init__(self) -> None:
        self._in_work: dict[asyncio.Task[None], tuple[ASGIReceiveCallable, float]] = {}
        self._listeners: dict[asyncio.Task[None], asyncio.Task[None]] = {}
        self._gone: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, receive: ASGIReceiveCallable) -> asyncio.Task[None]:
        """The running task has taken its request whole and is in work on it."""
        task: asyncio.Task[None] | None = asyncio.current_task()
        if task is None:
            raise RuntimeError("the express lane runs in a task")
        loop = task.get_loop()
        self._in_work[task] = (receive, loop.time())
        if self._timer is None:
            self._timer = loop.call_later(PATIENCE_S, self._look, loop)
        return task

    def leave(self, task: asyncio.Task[None]) -> None:
        """The task has its answer, or none."""
        del self._in_work[task]
        self._gone.discard(task)
        listener = self._listeners.pop(task, None)
        if listener is not None:
            listener.cancel()

    def left(self, task: asyncio.Task[None]) -> bool:
        """Whether the task was cancelled because its client left; the cancellation is then used up."""
        if task not in self._gone:
            return False
        task.uncancel()
        return True

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        long_ago = loop.time() - PATIENCE_S
        for task, (receive, since) in self._in_work.items():
            if since > long_ago:
                break  # the others entered later
            if task not in self._listeners:
                self._listeners[task] = loop.create_task(self._listen(task, receive))
        self._timer = loop.call_later(PATIENCE_S, self._look, loop) if self._in_work else None

    async def _listen(self, task: asyncio.Task[None], receive: ASGIReceiveCallable) -> None:
        message = await receive()
        if message["type"] == "http.disconnect" and task in self._in_work:
            self._gone.add(task)
            task.cancel()
