"""The response that carries an answer: the protocol's bytes, and headers that say how they were come by."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Final, get_args

from batching import Answer
from service.cache.flight import Given, How
from service.protocol.infer import Encoded
from service.request import Request
from service.response import Response
from service.response import lines as header_lines

_CACHE: Final[Mapping[How, bytes]] = {how: b"x-cache: %b\r\n" % how.encode() for how in get_args(How)}


def answered(request: Request, version: str, encoded: Encoded, answer: Answer) -> Response:
    """That of one request, answered by that version."""
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
