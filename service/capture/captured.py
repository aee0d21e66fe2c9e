"""What is kept of an inference and its answer: a pure function from what ended to a line's fields.

    {"time", "request_id", "method", "path", "version", "headers", "body", "answer": {"status", "headers", "body"}, "total_ms"}

A body is text, ``{"base64": …}`` where it is not UTF-8, or null with the reason in ``left_out``; ``redacted`` says that values are
missing from it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final, NamedTuple

from service.account import LEFT
from service.capture.redaction import Redacted, Redaction
from service.errors import ServiceError
from service.logs.lines import timestamp
from service.protocol import coding, images, oip
from service.response import Response
from service.routing import Target

#: A larger body, of a request or an answer, is left out (bytes).
LONGEST: Final = 1024 * 1024

_LENGTH: Final = b"inference-header-content-length"
_CODING: Final = b"content-encoding"
#: The headers without which a body cannot be read; no other is kept, so no credential is.
HEADERS: Final = frozenset({b"content-type", _CODING, _LENGTH})
ASKED: Final = HEADERS | {b"x-request-timeout-ms"}

Names = tuple[str, ...]


class Captured(NamedTuple):
    """An inference that has ended. ``names``: the tensors that came and that were asked for, None where that was not read."""

    created: float
    id: str
    target: Target
    version: str | None
    headers: Mapping[bytes, bytes]
    body: bytes
    response: Response | None
    names: tuple[Names, Names] | None
    total_s: float
    query: bytes = b""


def entry(captured: Captured, redaction: Redaction) -> dict[str, object]:
    """The fields of its line."""
    target, response, names = captured.target, captured.response, captured.names
    if target.protocol is images:
        names = None  # an image has no field's name, and its labels are what it shows
    elif names is not None and target.protocol is oip:
        names = (), ()  # each tensor has its name beside it
    asked, given = names or (None, None)
    answer: dict[str, object] = {"status": LEFT, "headers": {}, "body": None}
    if response is not None:
        headers = {name: value for name, value in response.headers if name in HEADERS}
        failed = response.status >= 400
        answer = {"status": response.status, **_part(redaction, headers, response.body, given, failed=failed)}
    return {
        "time": timestamp(captured.created),
        "request_id": captured.id,
        "method": "POST",
        "path": path_of(target, captured.query),
        "version": captured.version,
        **_part(redaction, captured.headers, captured.body, asked),
        "answer": answer,
        "total_ms": round(1e3 * captured.total_s, 3),
    }


def path_of(target: Target, query: bytes = b"") -> str:
    """What was asked, with its query."""
    return f"{target.quoted()}?{query.decode('latin-1')}" if query else target.quoted()


def _part(
    redaction: Redaction, headers: Mapping[bytes, bytes], body: bytes, nameless: Names | None, *, failed: bool = False
) -> dict[str, object]:
    """Headers and body as they may be kept. ``nameless``: as ``Redaction.of`` has it; None where nobody has read the body."""
    kept, reason, missing = dict(headers), "", False
    if len(body) > LONGEST:
        reason = f"it has {len(body)} bytes, and at most {LONGEST} are kept"
    elif redaction:
        redacted = _redacted(redaction, headers, body, nameless, failed=failed)
        if redacted is None:
            reason, missing = "it is not JSON that could be redacted", True
        else:
            body, missing = redacted
            kept.pop(_CODING, None)
    part: dict[str, object] = {
        "headers": {name.decode("latin-1"): value.decode("latin-1") for name, value in kept.items()},
        "body": None if reason else _text(body),
    }
    if reason:
        part["left_out"] = reason
    if missing:
        part["redacted"] = True
    return part


def _redacted(
    redaction: Redaction, headers: Mapping[bytes, bytes], body: bytes, nameless: Names | None, *, failed: bool
) -> Redacted | None:
    try:
        encoding = headers.get(_CODING)
        plain = coding.inflate(body, None if encoding is None else encoding.decode("latin-1"), LONGEST)
    except ServiceError:
        return None
    if failed:
        return redaction.of_error(plain)
    if nameless is None or _LENGTH in headers:
        return None
    return redaction.of(plain, nameless)


def _text(body: bytes) -> object:
    """JSON is text, and can be searched as such; anything else goes as base64."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode("ascii")}
