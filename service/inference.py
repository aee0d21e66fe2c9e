"""One inference request from bytes to bytes: what both lanes do, so that they cannot differ.

bytes -> decode and check -> images to rows -> submit -> await -> encode -> bytes. Whatever goes wrong on the way becomes a response
by the one table of errors; only cancellation, which is how a client leaves, passes through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from math import inf
from time import perf_counter
from typing import Final, TypeVar, TypeVarTuple

from msgspec.structs import replace

from batching import Answer
from models.vision.bounds import Bounds
from service.account import Account, Plain
from service.answered import answered
from service.cache.flight import Given
from service.cache.heart import LONGEST, Asked, Known
from service.engine import Engine, Served
from service.errors import BodyTooLarge, ServiceError, Unauthorized
from service.guard.budgets.budget import allowance_lines
from service.guard.gate import Gate
from service.guard.input.content import Content
from service.guard.limited import Limited
from service.guard.principal import Principal
from service.preparing import IMAGES, Large, Preparing, limit_of
from service.protocol import coding, images
from service.protocol.glance import claimed_rows
from service.protocol.infer import Encoded, Infer
from service.protocol.pictures import Refused, Upload
from service.request import Headers, Request
from service.response import Response, code_of, failed, request_id
from service.routing import Target
from service.sections import Limits
from service.shedding import Shedding
from service.terms import CONTENT_TYPES, check_content_type, header_length, priority, timeout_s
from service.until import Until

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

#: From this size on bodies are decoded, and answers encoded, in a thread: some milliseconds that the loop has not (bytes).
LARGE = 128 * 1024


#: What else a request may ask for, and has to be looked at.
_ASKING: Final = frozenset({b"content-encoding", b"x-priority", b"x-request-timeout-ms"})


class Inference:
    """Answers inference requests with ``engine``, within ``limits``, and tells ``account`` of each; ``limited`` counts what goes
    over a limit. Each has to have passed ``gate`` before."""

    def __init__(self, engine: Engine, limits: Limits, account: Account, limited: Limited, gate: Gate) -> None:
        self.engine = engine
        self.gate = gate
        self.limits = limits
        self.content = Content.of(limits)
        self._bounds = Bounds(limits.image_pixels, limits.image_frames)
        self.account = account
        self.limited = limited
        self._shedding = Shedding()

    async def answer(self, request: Request) -> Response:
        """The response to one request. Raises CancelledError alone."""
        answer: Answer | None = None
        try:
            served = self._find(request)
            refused = self._refused(request, served)
            if refused is not None:
                return self._told(request, refused)
            known = self._known(request, served)
            if known is not None:
                infer = known.infer
            elif is_small(request):
                infer = self._decode(request, served)
            else:
                infer = await self._decode_in_thread(request, served)
            charged = None if request.grant is None else self.gate.charge(request.grant, infer.rows)
            if charged is not None:
                await charged
            if known is not None and served.answers is not None:
                answer = await served.answers.again(known)
            else:
                answer = await (self._look_and_submit if infer.pictures else self._submit)(request, served, infer)
            if answer.nbytes > LARGE:
                response = await self._in_thread(self.engine.threads.calls, self.respond, request, answer)
            else:
                response = self.respond(request, answer)
        except Exception as error:
            self._count(error)
            response = failed(error, request.id)
        except asyncio.CancelledError:
            self.account.inference(request, None, answer)
            raise
        return self._told(request, response, answer)

    def submit(self, request: Request) -> asyncio.Future[Answer] | Response:
        """Decodes, checks and queues a small request, where the gate is immediate; a response where the model has too much to do.
        Raises what the table of errors translates."""
        served = self._find(request)
        refused = self._refused(request, served)
        if refused is not None:
            return refused
        known = self._known(request, served)
        try:
            infer = self._decode(request, served) if known is None else known.infer
        except ServiceError as error:
            self._count(error)
            raise
        if request.grant is not None and self.gate.charge(request.grant, infer.rows) is not None:
            raise TypeError("the gate is not immediate")
        if known is not None and served.answers is not None:
            return served.answers.again(known)
        if infer.pictures:
            return asyncio.get_running_loop().create_task(self._look_and_count(request, served, infer))
        return self._submit(request, served, infer)

    def respond(self, request: Request, answer: Answer) -> Response:
        """The response that carries an answer. Raises NotFinite, InvalidInput."""
        served, infer = request.served, request.infer
        if served is None or infer is None:
            raise TypeError("the request was never submitted")
        encoded = answer.encoded if type(answer) is Given else None
        if encoded is None:
            encoded = request.target.protocol.encode(infer, answer.outputs, served.model, served.version)
            if type(answer) is Given and answer.value and answer.nbytes <= LARGE:  # else this is a thread
                self._learn(request, served, answer, encoded)
        accept = request.headers.get(b"accept-encoding")
        if accept is not None:
            encoded = coding.code(encoded, accept.decode("latin-1"))
        return answered(request, served.version, encoded, answer)

    def too_large(self, target: Target, headers: Headers, principal: Principal | None = None) -> Response:
        """The response to a body over the limit."""
        given = headers.get(b"content-length", b"")
        error = BodyTooLarge.over(self.limits.body_bytes, int(given) if given.isdigit() else None)
        return self.refused(error, target, headers, principal)

    def refused(self, error: Exception, target: Target, headers: Headers, principal: Principal | None = None) -> Response:
        """The response to a request whose body is not looked into, from that principal where it is known."""
        request = Request(target, headers, b"")
        request.principal = principal
        self._count(error)
        response = failed(error, request.id)
        self.account.inference(request, response)
        return response

    def turned_away(self, error: ServiceError) -> Response:
        """The response where nothing is read of what is asked for: to bytes that are no request, to a connection too many."""
        self._count(error)
        name = request_id(None)
        response = failed(error, name)
        self.account.plain(Plain(name, "", "", "", response.status, 0.0, code_of(response.body)))
        return response

    def _told(self, request: Request, response: Response, answer: Answer | None = None) -> Response:
        tell_allowance(request, response)
        self.account.inference(request, response, answer)
        return response

    def _refused(self, request: Request, served: Served) -> Response | None:
        """What a request is refused with unread; None for one that may have a kept answer, a priority, or a time of its own."""
        if served.answers is not None or not served.batcher.crowded:
            return None
        headers, body = request.headers, request.body
        if b"x-priority" in headers or b"content-encoding" in headers or b'"priority"' in body or b'"timeout"' in body:
            return None
        left_s = _left_s(request, served, timeout_s(headers.get(b"x-request-timeout-ms"), None))
        rows = claimed_rows(body, served.batcher.policy.queue_rows) if served.signature.batched else 1
        return self._shedding.refused(request, served.batcher, rows, left_s)

    def _find(self, request: Request) -> Served:
        if request.grant is None:  # a way that leads past the gate leads nowhere
            raise Unauthorized("the request did not pass the gate")
        target = request.target
        content_type = request.headers.get(b"content-type")
        if content_type is not None and content_type not in CONTENT_TYPES and target.protocol is not images:
            check_content_type(content_type)
        served = request.served = self.engine.served(target.model, target.version, target.label)
        return served

    def _known(self, request: Request, served: Served) -> Known | None:
        """What a request means that is known by heart, whose answer is kept; None for one that has to be read."""
        answers = served.answers
        asked = None if answers is None or answers.rests else _asked(request)
        known = None if answers is None or asked is None else answers.recall(asked)
        if known is not None:
            request.infer = known.infer
            request.decoded = perf_counter()
        return known

    def _learn(self, request: Request, served: Served, given: Given, encoded: Encoded) -> None:
        asked = _asked(request)
        if asked is not None and served.answers is not None and request.infer is not None:
            served.answers.learn(asked, request.infer, given, encoded)

    def _decode(self, request: Request, served: Served) -> Infer:
        infer = request.infer = self._read(request, served, request.body)
        request.decoded = perf_counter()
        return infer

    def _read(self, request: Request, served: Served, body: bytes) -> Infer:
        headers, recipe = request.headers, served.recipe
        upload = None if recipe is None else Upload(recipe, headers.get(b"content-type"), request.query)
        return request.target.protocol.decode(body, served.signature, header_length(headers), self.content, upload)

    def _count(self, error: Exception) -> None:
        if limit := limit_of(error):
            self.limited.count(limit)

    def _submit(self, request: Request, served: Served, infer: Infer) -> asyncio.Future[Answer]:
        timeout = timeout_s(request.headers.get(b"x-request-timeout-ms"), infer.timeout_s)
        given = request.headers.get(b"x-priority")
        if given is not None:  # before the body's own, so that a proxy has the last word
            infer = request.infer = replace(infer, priority=priority(given))
        return self.engine.submit(served, infer, _left_s(request, served, timeout), request.key)

    async def _look_and_submit(self, request: Request, served: Served, infer: Infer) -> Answer:
        """The answer to a request of encoded images, which are looked at in a thread first. All that is its time."""
        timeout = timeout_s(request.headers.get(b"x-request-timeout-ms"), infer.timeout_s)
        until = Until(request.started + (served.batcher.policy.timeout_s if timeout is None else timeout))
        if served.recipe is None:
            raise TypeError("the model takes no encoded images")
        preparing = Preparing(infer, served.recipe, served.slab, self._bounds, until)
        look = partial(self._look, request, served)
        async with until.kept(IMAGES):
            try:
                infer = request.infer = await self._in_thread(self.engine.threads.decoding, look, preparing.small)
            except Large:  # a queue of their own: large ones wait for each other, and no small one for them
                infer = request.infer = await self._in_thread(self.engine.threads.decoding_large, look, preparing.rest)
        request.waited_s = perf_counter() - request.started
        for seen in infer.seen:
            if isinstance(seen, Refused) and seen.limit:
                self.limited.count(seen.limit)
        if not infer.rows:  # none is good
            return Answer({}, 0.0, 0.0, 0, "early")
        return await self._submit(request, served, infer)

    def _look(self, request: Request, served: Served, step: Callable[[], Infer]) -> Infer:
        infer = step()
        if infer.rows and served.signature.batched:
            served.signature.check(infer.inputs)
        if infer.rows and served.answers is not None:
            request.key = served.answers.key(infer)
        request.decoded = perf_counter()
        return infer

    async def _look_and_count(self, request: Request, served: Served, infer: Infer) -> Answer:
        try:
            return await self._look_and_submit(request, served, infer)
        except Exception as error:
            self._count(error)
            raise

    async def _decode_in_thread(self, request: Request, served: Served) -> Infer:
        """As ``_decode``, of what is large or inflated. Counts against a deadline that a header gives: no other is known yet."""
        given = timeout_s(request.headers.get(b"x-request-timeout-ms"), None)
        until = Until(inf if given is None else request.started + given)
        async with until.kept("the request's body was read"):
            infer = request.infer = await self._in_thread(self.engine.threads.decoding, self._inflate_and_decode, request, served)
        if given is not None:
            request.waited_s = perf_counter() - request.started
        return infer

    def _inflate_and_decode(self, request: Request, served: Served) -> Infer:
        body, encoding = request.body, request.headers.get(b"content-encoding")
        if encoding is not None:
            limit = self.limits.inflated_bytes
            body = self.engine.threads.inflating.submit(coding.inflate, body, encoding.decode("latin-1"), limit).result()
        infer = self._read(request, served, body)
        if served.answers is not None and not infer.pictures:
            request.key = served.answers.key(infer)  # which takes a while, of much
        request.decoded = perf_counter()
        return infer

    async def _in_thread(self, pool: Executor, step: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        return await asyncio.get_running_loop().run_in_executor(pool, step, *arguments)


def tell_allowance(request: Request, response: Response) -> None:
    """Says what is left of the caller's budget; a refusal for want of it has said so."""
    grant = request.grant
    if grant is not None and grant.allowance is not None and response.status != 429:
        response.lines += allowance_lines(grant.allowance)


def is_small(request: Request) -> bool:
    """Whether a request can be decoded on the loop."""
    return len(request.body) <= LARGE and b"content-encoding" not in request.headers


def _asked(request: Request) -> Asked | None:
    """The words of a request whose meaning and answer depend on nothing else; None of any other."""
    headers = request.headers
    if len(request.body) > LONGEST or request.query or not _ASKING.isdisjoint(headers):
        return None
    return Asked(request.target.protocol, request.body, headers.get(b"inference-header-content-length"))


def _left_s(request: Request, served: Served, timeout: float | None) -> float | None:
    """What is left of a request's time, in seconds; None: all of the model's default."""
    if not request.waited_s:
        return timeout
    return (served.batcher.policy.timeout_s if timeout is None else timeout) - request.waited_s
