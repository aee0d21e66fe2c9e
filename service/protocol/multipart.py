"""``multipart/form-data`` (RFC 7578) of a body that is here whole.

Werkzeug's decoder is made for bodies that arrive piece by piece: it takes 16 ms a MB, and holds the interpreter meanwhile. Looking
for the boundary in what is all here takes some 0.1 ms. Its reader of headers' options is used. Lines end in CRLF, as in the RFC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from werkzeug.http import parse_options_header

from service.errors import BadRequest
from service.protocol.json_data import clip

#: The most that the headers of one part may take (bytes). Reading them takes ever longer the more there is in one line.
HEADERS: Final = 4 * 1024
_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_BLANK: Final = re.compile(rb"[ \t]*\r\n")
_FOLD: Final = re.compile(r"\r\n[ \t]+")
#: Browsers send the backslashes of a name as they are: one that stands before no quote and no other is meant.
_PATH: Final = re.compile(r'\\(?!["\\])')
_AS_IS: Final = frozenset({"", "binary", "8bit", "7bit"})


class Part(NamedTuple):
    """One field of a form. ``filename``: None where it is no file."""

    name: str
    filename: str | None
    data: bytes


def parts(body: bytes, content_type: bytes, most: int) -> Iterator[Part]:
    """The form's fields, in order, as they are asked for; their headers may take ``most`` bytes in all. Raises BadRequest."""
    mark = b"--" + _boundary(content_type)
    delimiter = b"\r\n" + mark
    at = 0 if body.startswith(mark) else body.find(delimiter) + 2
    if at == 1:
        raise BadRequest("the form has no part: its boundary, as Content-Type says it, is nowhere in the body")
    at += len(mark)
    number = 0
    while not body.startswith(b"--", at):
        line = _BLANK.match(body, at)
        if line is None:
            raise BadRequest(f"part {number} of the form does not begin with a line of its own")
        end = _next(body, delimiter, line.end() - 2)
        if end < 0:
            raise BadRequest(
                f"the form ends within part {number}, before its last boundary: it was cut off, or has another boundary"
            )
        head = _head(body, line.end(), end, number)
        most -= head - line.end()
        if most < 0:
            raise BadRequest(f"the form has too many parts: the headers of the first {number + 1} take more than all may")
        yield _part(body, line.end(), head, end, number)
        number += 1
        at = end + len(delimiter)


def _next(body: bytes, delimiter: bytes, at: int) -> int:
    """Where the next boundary stands; what only begins like it is content."""
    while (at := body.find(delimiter, at)) >= 0:
        end = at + len(delimiter)
        if body.startswith(b"--", end) or _BLANK.match(body, end):
            return at
        at = end
    return -1


def _head(body: bytes, start: int, end: int, number: int) -> int:
    """Where a part's headers end."""
    if body.startswith(b"\r\n", start):
        raise BadRequest(f"part {number} of the form has no headers; each has a Content-Disposition")
    head = body.find(b"\r\n\r\n", start, min(end, start + HEADERS))
    if head < 0:
        raise BadRequest(f"part {number} of the form has no empty line behind its headers, within {HEADERS} bytes")
    return head


def _part(body: bytes, start: int, head: int, end: int, number: int) -> Part:
    headers = {}
    for line in _FOLD.sub(" ", body[start:head].decode(errors="replace")).split("\r\n"):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    disposition = _PATH.sub(r"\\\\", headers.get("content-disposition", ""))
    kind, options = parse_options_header(disposition)
    if kind != "form-data" or "name" not in options:
        expected = 'Content-Disposition: form-data; name="…"'
        raise BadRequest(f"part {number} of the form has no name; expected {expected}")
    coding = headers.get("content-transfer-encoding", "").lower()
    if coding not in _AS_IS:
        raise BadRequest(f"part {number} of the form is coded in {clip(coding)}; send its bytes as they are")
    return Part(options["name"], options.get("filename"), body[head + 4 : end])


def _boundary(content_type: bytes) -> bytes:
    _, options = parse_options_header(content_type.decode("latin-1"))
    boundary = options.get("boundary", "").encode("latin-1", "replace")
    if not _BOUNDARY.fullmatch(boundary):
        raise BadRequest("Content-Type: multipart/form-data says no boundary that can be one; let your client make the header")
    return boundary
