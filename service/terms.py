"""What a request's headers say of how it is to be read and answered."""

from __future__ import annotations

import math
from typing import Final

from service.errors import BadRequest, UnsupportedMedia
from service.protocol.charset import is_utf8
from service.request import Headers

#: Clients of the protocols of tensors send any of these, or none, with JSON and with binary tensors alike.
CONTENT_TYPES: Final = (
    b"",
    b"application/json",
    b"application/octet-stream",
    b"application/x-www-form-urlencoded",
    b"text/plain",
    b"application/json; charset=utf-8",  # as many clients write it
)
#: The protocol's levels, as X-Priority names them.
LEVELS: Final = {b"high": 1, b"normal": 2, b"low": 3}


def check_content_type(given: bytes) -> None:
    """Raises UnsupportedMedia for what no tensors come as."""
    essence, _, parameters = given.lower().partition(b";")
    if essence.strip() not in CONTENT_TYPES and not essence.strip().endswith(b"+json"):
        raise UnsupportedMedia(f"content type {_shown(essence)} is not taken here; send application/json")
    if not is_utf8(given):
        raise UnsupportedMedia(f"charset {_shown(parameters.strip())} is not taken; send JSON as UTF-8")


def header_length(headers: Headers) -> str | None:
    """How long the JSON before binary tensors is, as it came."""
    value = headers.get(b"inference-header-content-length")
    return None if value is None else value.decode("latin-1")


def timeout_s(header: bytes | None, parameter: float | None) -> float | None:
    """The sooner of the caller's two limits, in seconds; None where it gave none. Raises BadRequest."""
    if header is None:
        return parameter
    try:
        milliseconds = math.nan if b"_" in header else float(header)  # Python's numbers may have underscores
    except ValueError:
        milliseconds = math.nan
    if not (math.isfinite(milliseconds) and milliseconds > 0):
        raise BadRequest(f"X-Request-Timeout-Ms is {_shown(header)}; expected a number of milliseconds above 0")
    seconds = milliseconds / 1000
    return seconds if parameter is None else min(seconds, parameter)


def priority(header: bytes) -> int:
    """The level that X-Priority names. Raises BadRequest."""
    level = LEVELS.get(header)
    if level is None:
        raise BadRequest(f"X-Priority is {_shown(header)}; expected high, normal or low")
    return level


def _shown(value: bytes) -> str:
    return repr(value[:80].decode("latin-1"))
