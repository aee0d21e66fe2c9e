"""Every error of the app as JSON, also those that Quart raises itself: unknown paths, wrong methods, bodies over the limit."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import quart
from quart import Quart, request
from quart.wrappers.request import Body
from werkzeug.exceptions import BadRequest as Malformed
from werkzeug.exceptions import BadRequestKeyError, HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge
from werkzeug.routing import WebsocketMismatch

from service.blueprints import answers
from service.context import service_of
from service.errors import BadRequest, BodyTooLarge, ServiceError, UnknownPath
from service.errors import MethodNotAllowed as NotAllowed
from service.failures import Failure, failure
from service.lane.refusal import LINGER_S, ONE, PATIENCE_S, SMALL
from service.protocol.json_data import clip
from service.response import code_of, explained, failed


def answer_faults(app: Quart) -> None:
    """Registers the handlers; a handler that the user registers for a more particular class goes first."""

    @app.errorhandler(HTTPException)
    async def of_quart(error: HTTPException) -> quart.Response:
        return await settled(answers.as_quart(explained(_failure_of(error), answers.name())))

    @app.errorhandler(Exception)
    async def of_ours(error: Exception) -> quart.Response:
        if isinstance(error, ServiceError) and error.limit:
            service_of().inference.limited.count(error.limit)
        return await settled(answers.as_quart(failed(error, answers.name())))

    @app.after_request
    async def identify(made: quart.Response) -> quart.Response:
        made.headers.setdefault("x-request-id", answers.name())
        return made


async def settled(refusal: quart.Response) -> quart.Response:
    """The refusal, once its request is read to the end, or else with word that the connection closes.

    Hypercorn closes a connection whose request it has not read to the end, and its client's next request fails without a reason.
    """
    if not quart.has_request_context():  # a WebSocket's handshake has no body
        return refusal
    waits = "expect" in request.headers
    if not waits and (request.content_length or 0) <= SMALL and await _drop(request.body, SMALL, PATIENCE_S):
        return refusal
    if request.http_version in ONE:
        refusal.headers["connection"] = "close"
        told = await refusal.get_data(as_text=False)
        quart.g.code = code_of(told)  # nobody else needs to read the answer, which takes its time
        refusal.response = refusal.iterable_body_class(_lingering(told, request.body))  # who waits may have been told to go on
    return refusal


async def _lingering(told: bytes, body: Body) -> AsyncIterator[bytes]:
    """The whole answer, and then time for the client to read it. It is read without the request's context."""
    yield told
    await _drop(body, None, LINGER_S)


async def _drop(body: Body, limit: int | None, seconds: float) -> bool:
    """Reads a request's body and keeps nothing; False where it has not ended after so many bytes, or seconds."""
    read = 0
    try:
        async with asyncio.timeout(seconds):
            async for piece in body:
                read += len(piece)
                if limit is not None and read > limit:
                    return False
    except (TimeoutError, HTTPException):
        return False
    return True


def _failure_of(error: HTTPException) -> Failure:
    match error:
        case NotFound():
            answers_at = (
                "models answer at /v2/models/NAME/infer and /v1/models/NAME:predict, NAME being letters, digits, '.', '_', '-'"
            )
            return failure(UnknownPath(f"there is nothing at {clip(answers.asked().path)!r}; {answers_at}"))
        case MethodNotAllowed():
            allow = ", ".join(sorted(error.valid_methods or ()))
            return failure(NotAllowed(f"{answers.asked().method} is not taken here; expected {allow}", allow))
        case RequestEntityTooLarge():
            limit = service_of().config.limits.body_bytes
            if 0 < (request.content_length or 0) <= limit:  # then it is a form with too much in it
                return failure(BodyTooLarge("the form has more fields, or more text in them, than are taken; send it in several"))
            service_of().inference.limited.count("body_bytes")
            return failure(BodyTooLarge.over(limit, request.content_length))
        case WebsocketMismatch():
            return failure(BadRequest(f"there is no WebSocket at {clip(answers.asked().path)!r}; send a plain HTTP request"))
        case BadRequestKeyError(args=(field, *_)):
            return failure(BadRequest(f"the request has no field {str(field)[:80]!r}; send it"))
        case Malformed() if isinstance(error.__context__, ValueError):  # a route asked Quart for the body's JSON
            return failure(BadRequest(f"the body is not JSON: {error.__context__}"))
        case _:
            status = error.code or 500
            code = re.sub(r"[^a-z]+", "_", (error.name or "error").lower().replace("'", ""))
            return Failure(status, code, error.description or error.name or "the request failed")
