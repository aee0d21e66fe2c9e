"""One inference request from bytes to bytes: what both lanes do, so that they cannot differ.

bytes -> decode and check -> submit -> await -> encode -> bytes. Whatever goes wrong on the way becomes a response by the one table
of errors; only cancellation, which is how a client leaves, passes through.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import TypeVar, TypeVarTuple

from batching import Answer
from service.config import Limits
from service.engine import Engine, Served
from service.errors import BadRequest, BodyTooLarge, UnsupportedMedia
from service.protocol import coding
from service.protocol.infer import Encoded, Infer
from service.response import Header, Response, failed, request_id
from service.routing import Target

Headers = Mapping[bytes, bytes]
Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

#: From this size on bodies are decoded, and answers encoded, in a thread: some milliseconds that the loop has not (bytes).
LARGE = 128 * 1024
#: Clients of these protocols send any of these, or none, with JSON and with binary tensors alike.
CONTENT_TYPES = (b"", b"application/json", b"application/octet-stream", b"application/x-www-form-urlencoded", b"text/plain")


class Inference:
    """Answers inference requests with ``engine``, within ``limits``."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self.engine = engine
        self.limits = limits

    async def answer(self, target: Target, headers: Headers, body: bytes) -> Response:
        """The response to one request; the headers' names are lower case. Raises CancelledError alone."""
        started = perf_counter()
        name = request_id(headers.get(b"x-request-id"))
        try:
            content_type = headers.get(b"content-type")
            if content_type is not None and content_type not in CONTENT_TYPES:
                _check_content_type(content_type)
            served = self.engine.served(target.model, target.version, target.label)
            if len(body) > LARGE or b"content-encoding" in headers:
                infer = await self._in_thread(self._inflate_and_decode, target, served, headers, body)
            else:
                infer = target.protocol.decode(body, served.signature, _header_length(headers))
            future = self.engine.submit(served, infer, _timeout_s(headers.get(b"x-request-timeout-ms"), infer.timeout_s))
            answer = await future
            if answer.nbytes > LARGE:
                encoded = await self._in_thread(self._encode, target, served, infer, answer, headers)
            else:
                encoded = self._encode(target, served, infer, answer, headers)
        except Exception as error:
            return failed(error, name)
        return _answered(encoded, served, answer, headers, name, started)

    def too_large(self, headers: Headers) -> Response:
        """The response to a body over the limit."""
        error = BodyTooLarge(f"the body is over the limit of {self.limits.body_bytes} bytes; send fewer rows a request")
        return failed(error, request_id(headers.get(b"x-request-id")))

    def _inflate_and_decode(self, target: Target, served: Served, headers: Headers, body: bytes) -> Infer:
        encoding = headers.get(b"content-encoding")
        inflated = coding.inflate(body, None if encoding is None else encoding.decode("latin-1"), self.limits.inflated_bytes)
        return target.protocol.decode(inflated, served.signature, _header_length(headers))

    def _encode(self, target: Target, served: Served, infer: Infer, answer: Answer, headers: Headers) -> Encoded:
        encoded = target.protocol.encode(infer, answer.outputs, served.model, served.version)
        accept = headers.get(b"accept-encoding")
        return encoded if accept is None else coding.code(encoded, accept.decode("latin-1"))

    async def _in_thread(self, step: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self.engine.pool, step, *arguments)


def _answered(encoded: Encoded, served: Served, answer: Answer, headers: Headers, name: str, started: float) -> Response:
    timing = (
        f"queue;dur={1e3 * answer.queue_s:.3f}, infer;dur={1e3 * answer.call_s:.3f}, "
        f'total;dur={1e3 * (perf_counter() - started):.3f}, batch;desc="rows={answer.batch_rows}"'
    )
    sent: list[Header] = [
        (b"content-type", encoded.content_type),
        (b"content-length", b"%d" % len(encoded.body)),
        (b"x-request-id", name.encode("ascii")),
        (b"x-model-version", served.version.encode("ascii")),
        (b"server-timing", timing.encode("ascii")),
        *encoded.headers,
    ]
    if headers.get(b"x-explain") == b"batch":
        told = f"closed={answer.reason}, rows={answer.batch_rows}, waited_ms={1e3 * answer.queue_s:.3f}"
        sent.append((b"x-explain", told.encode("ascii")))
    return Response(200, encoded.body, sent)


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


def _shown(value: bytes) -> str:
    return repr(value[:80].decode("latin-1"))
