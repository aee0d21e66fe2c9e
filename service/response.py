"""What goes back to the caller, on either lane: status, headers, body; and the JSON that every error has."""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

import msgspec

from models import Problem
from service.failures import Failure, failure

log = logging.getLogger("tureen.errors")

Header = tuple[bytes, bytes]
JSON = (b"content-type", b"application/json")
#: What a browser is told of all that is no page: it is of the type that it says, and nobody's to keep.
PRIVATE = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}

_ID = re.compile(rb"[\x21-\x7e]{1,128}")
# Unique over processes and restarts by its first half, within a process by its second: a thousandth of what a UUID costs.
_PREFIX = os.urandom(8).hex()
_numbers = itertools.count(1)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(slots=True)
class Response:
    """A whole response. ``lines`` are its header lines as HTTP/1.1 writes them, names in lower case, Content-Length among them."""

    status: int
    body: bytes
    lines: bytes

    @property
    def headers(self) -> list[Header]:
        """The same header lines as ASGI wants them."""
        pairs = [line.partition(b": ") for line in self.lines.split(b"\r\n")[:-1]]
        return [(name, value) for name, _, value in pairs]


def lines(headers: Iterable[Header]) -> bytes:
    """Header lines."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def request_id(given: bytes | None) -> str:
    """The caller's X-Request-Id where it is 1 to 128 visible ASCII characters, else a new one."""
    if given is not None and _ID.fullmatch(given):
        return given.decode("ascii")
    return f"{_PREFIX}-{next(_numbers):x}"


class Template(NamedTuple):
    """A response that tells of a failure, but for the request's id: that is ``before`` and ``after`` it in the body, and the
    header ``lines`` that are the same for all."""

    status: int
    before: bytes
    after: bytes
    lines: bytes

    @classmethod
    def of(cls, found: Failure) -> Template:
        """What tells of a failure."""
        before = _encode({"error": found.message, "code": found.code})[:-1] + b',"request_id":'
        details = {"details": [_told(problem) for problem in found.details]} if found.details else {}
        after = b"," + _encode(details)[1:] if details else b"}"
        return cls(found.status, before, after, lines((JSON, *PRIVATE, *found.headers)))

    def response(self, name: str) -> Response:
        """The response to the request of that id."""
        body = b"%b%b%b" % (self.before, _encode(name), self.after)
        told = b"content-length: %d\r\nx-request-id: %b\r\n" % (len(body), name.encode("latin-1"))
        return Response(self.status, body, self.lines + told)


def failed(error: BaseException, name: str) -> Response:
    """The response to an error, by the one table; a defect is logged with its traceback and the request's id."""
    found = failure(error)
    if found.defect:
        log.error("request %s failed: %s", name, found.message, exc_info=error, extra={"request_id": name})
    return explained(found, name)


def explained(found: Failure, name: str) -> Response:
    """The response that tells of a failure."""
    return Template.of(found).response(name)


def code_of(body: bytes) -> str | None:
    """The code in an error's JSON; None where it is no error of ours."""
    try:
        content = _decode(body)
    except msgspec.DecodeError:
        return None
    code = content.get("code") if isinstance(content, dict) else None
    return code[:64] if isinstance(code, str) else None


def response(status: int, content: object, name: str, headers: tuple[Header, ...] = ()) -> Response:
    """A response whose body is ``content`` as JSON."""
    body = _encode(content)
    length = (b"content-length", b"%d" % len(body))
    return Response(status, body, lines((JSON, length, (b"x-request-id", name.encode("latin-1")), *PRIVATE, *headers)))


def _told(problem: Problem) -> Mapping[str, str]:
    told = {"path": problem.path, "problem": problem.problem}
    if problem.expected:
        told["expected"] = problem.expected
    if problem.got:
        told["got"] = problem.got
    return told
