"""One inference request from bytes to bytes: what both lanes do, so that they cannot differ.

bytes -> decode and check -> submit -> await -> encode -> bytes. Whatever goes wrong on the way becomes a response by the one table
of errors; only cancellation, which is how a client leaves, passes through.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from time import perf_counter
from typing import Final, TypeVar, TypeVarTuple, get_args

from msgspec.structs import replace

from batching import Answer
from service.account import Account, Plain
from service.cache.flight import Given, How
from service.engine import Engine, Served
from service.errors import BadRequest, BodyTooLarge, ServiceError, Unauthorized, UnsupportedMedia
from service.guard.budgets.budget import allowance_lines
from service.guard.gate import Gate
from service.guard.input.content import Content
from service.guard.limited import Limited
from service.guard.principal import Principal
from service.protocol import coding
from service.protocol.infer import Encoded, Infer
from service.request import Headers, Request
from service.response import Response, code_of, failed, request_id
from service.response import lines as header_lines
from service.routing import Target
from service.sections import Limits
from service.shedding import Shedding

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

#: From this size on bodies are decoded, and answers encoded, in a thread: some milliseconds that the loop has not (bytes).
LARGE = 128 * 1024
#: Clients of these protocols send any of these, or none, with JSON and with binary tensors alike.
CONTENT_TYPES = (b"", b"application/json", b"application/octet-stream", b"application/x-www-form-urlencoded", b"text/plain")
#: The protocol's levels, as X-Priority names them.
LEVELS = {b"high": 1, b"normal": 2, b"low": 3}


_CACHE: Final[Mapping[How, bytes]] = {how: b"x-cache: %b\r\n" % how.encode() for how in get_args(How)}


class Inference:
    """Answers inference requests with ``engine``, within ``limits``, and tells ``account`` of each; ``limited`` counts what goes
    over a limit. Each has to have passed ``gate`` before."""

    def __init__(self, engine: Engine, limits: Limits, account: Account, limited: Limited, gate: Gate) -> None:
        self.engine = engine
        self.gate = gate
        self.limits = limits
        self.content = Content.of(limits)
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
            if is_small(request):
                infer = self._decode(request, served)
            else:
                infer = request.infer = await self._in_thread(self.engine.decoding, self._inflate_and_decode, request, served)
            charged = None if request.grant is None else self.gate.charge(request.grant, infer.rows)
            if charged is not None:
                await charged
            answer = await self._submit(request, served, infer)
            if answer.nbytes > LARGE:
                response = await self._in_thread(self.engine.pool, self.respond, request, answer)
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
        try:
            infer = self._decode(request, served)
        except ServiceError as error:
            self._count(error)
            raise
        if request.grant is not None and self.gate.charge(request.grant, infer.rows) is not None:
            raise TypeError("the gate is not immediate")
        return self._submit(request, served, infer)

    def respond(self, request: Request, answer: Answer) -> Response:
        """The response that carries an answer. Raises NotFinite, InvalidInput."""
        served, infer = request.served, request.infer
        if served is None or infer is None:
            raise TypeError("the request was never submitted")
        encoded = request.target.protocol.encode(infer, answer.outputs, served.model, served.version)
        accept = request.headers.get(b"accept-encoding")
        if accept is not None:
            encoded = coding.code(encoded, accept.decode("latin-1"))
        return _answered(request, served.version, encoded, answer)

    def too_large(self, target: Target, headers: Headers, principal: Principal | None = None) -> Response:
        """The response to a body over the limit."""
        given = headers.get(b"content-length", b"")
        error = BodyTooLarge.over(self.limits.body_bytes, int(given) if given.isdigit() else None)
        return self.refused(error, target, headers, principal)

    def refused(self, error: Exception, target: Target, headers: Headers, principal: Principal | None = None) -> Response:
        """The response to a request whose body is not looked into, of that principal where he is known."""
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
        left_s = _left_s(request, served, _timeout_s(headers.get(b"x-request-timeout-ms"), None))
        return self._shedding.refused(request, served.batcher, left_s)

    def _find(self, request: Request) -> Served:
        if request.grant is None:  # a way that leads past the gate leads nowhere
            raise Unauthorized("the request did not pass the gate")
        content_type = request.headers.get(b"content-type")
        if content_type is not None and content_type not in CONTENT_TYPES:
            _check_content_type(content_type)
        target = request.target
        served = request.served = self.engine.served(target.model, target.version, target.label)
        return served

    def _decode(self, request: Request, served: Served) -> Infer:
        length = _header_length(request.headers)
        infer = request.infer = request.target.protocol.decode(request.body, served.signature, length, self.content)
        request.decoded = perf_counter()
        return infer

    def _count(self, error: Exception) -> None:
        if isinstance(error, ServiceError) and error.limit:
            self.limited.count(error.limit)

    def _submit(self, request: Request, served: Served, infer: Infer) -> asyncio.Future[Answer]:
        timeout_s = _timeout_s(request.headers.get(b"x-request-timeout-ms"), infer.timeout_s)
        priority = request.headers.get(b"x-priority")
        if priority is not None:  # before the body's own, so that a proxy has the last word
            infer = request.infer = replace(infer, priority=_priority(priority))
        return self.engine.submit(served, infer, _left_s(request, served, timeout_s), request.key)

    def _inflate_and_decode(self, request: Request, served: Served) -> Infer:
        body, encoding = request.body, request.headers.get(b"content-encoding")
        if encoding is not None:
            limit = self.limits.inflated_bytes
            body = self.engine.inflating.submit(coding.inflate, body, encoding.decode("latin-1"), limit).result()
        infer = request.target.protocol.decode(body, served.signature, _header_length(request.headers), self.content)
        if served.answers is not None:
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


def _left_s(request: Request, served: Served, timeout_s: float | None) -> float | None:
    """What is left of a request's time, in seconds; None: all of the model's default."""
    if not request.waited_s:
        return timeout_s
    return (served.batcher.policy.timeout_s if timeout_s is None else timeout_s) - request.waited_s


def _answered(request: Request, version: str, encoded: Encoded, answer: Answer) -> Response:
    lines = (
        b"content-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\nx-model-version: %b\r\n"
        b"x-content-type-options: nosniff\r\n"  # to a POST nothing is kept unless it says so
        b'server-timing: queue;dur=%.3f, infer;dur=%.3f, total;dur=%.3f, batch;desc="rows=%d"\r\n'
    ) % (
        encoded.content_type,
        len(encoded.body),
        request.id.encode("ascii"),
        version.encode("ascii"),
        1e3 * answer.queue_s,
        1e3 * answer.call_s,
        1e3 * (perf_counter() - request.started),
        answer.batch_rows,
    )
    if encoded.headers:
        lines += header_lines(encoded.headers)
    if type(answer) is Given:
        lines += _CACHE[answer.how]
    if request.headers.get(b"x-explain") == b"batch" and answer.batch_rows:
        lines += b"x-explain: closed=%b, rows=%d, waited_ms=%.3f\r\n" % (
            answer.reason.encode("ascii"),
            answer.batch_rows,
            1e3 * answer.queue_s,
        )
    return Response(200, encoded.body, lines)


def _check_content_type(given: bytes) -> None:
    essence, _, parameters = given.lower().partition(b";")
    if essence.strip() not in CONTENT_TYPES and not essence.strip().endswith(b"+json"):
        raise UnsupportedMedia(f"content type {_shown(essence)} is not taken here; send application/json")
    if b"charset" in parameters and b"utf-8" not in parameters and b"utf8" not in parameters:
        raise UnsupportedMedia(f"charset {_shown(parameters.strip())} is not taken; send JSON as UTF-8")


def _header_length(headers: Headers) -> str | None:
    value = headers.get(b"inference-header-content-length")
    return None if value is None else value.decode("latin-1")


def _timeout_s(header: bytes | None, parameter: float | None) -> float | None:
    """The sooner of the caller's two limits, in seconds; None where it gave none."""
    if header is None:
        return parameter
    try:
        milliseconds = float(header)
    except ValueError:
        milliseconds = math.nan
    if not (math.isfinite(milliseconds) and milliseconds > 0):
        raise BadRequest(f"X-Request-Timeout-Ms is {_shown(header)}; expected a number of milliseconds above 0")
    seconds = milliseconds / 1000
    return seconds if parameter is None else min(seconds, parameter)


def _priority(header: bytes) -> int:
    level = LEVELS.get(header)
    if level is None:
        raise BadRequest(f"X-Priority is {_shown(header)}; expected high, normal or low")
    return level


def _shown(value: bytes) -> str:
    return repr(value[:80].decode("latin-1"))
