"""Content codings: a request's body inflated under a cap, an answer's compressed when its caller asked (RFC 9110, 8.4 and 12.5.3).

A few kilobytes can inflate to gigabytes, so nothing here ever inflates past what it was allowed: zlib is asked for one byte
more than there is room for, and the body is refused when that byte comes.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import Literal

from msgspec.structs import replace

from service.errors import BadRequest, BodyTooLarge, UnsupportedMedia
from service.protocol.infer import Encoded

Coding = Literal["gzip", "deflate"]

TAKEN = "gzip, deflate"
"""What requests may be coded in: the value of Accept-Encoding in an answer of 415."""
THRESHOLD = 16 * 1024
"""Bytes of an answer from which compressing is worth its time."""
VARY = (b"vary", b"accept-encoding")

# Codings one upon another: nobody needs more, and each layer may inflate to the whole cap.
_MAX_LAYERS = 2
# bgzip writes a member per 64 KiB: 256 MiB of them. Empty members cost time without ever reaching the cap on bytes.
_MAX_MEMBERS = 4096
# What zlib leaves over of its input is copied at a member's end; a slice bounds that copy.
_SLICE = 64 * 1024
#: What is inflated at once: a fraction of a millisecond, after which whoever else waits for the core goes first.
_PART = 64 * 1024
_GZIP, _ZLIB, _RAW = 31, 15, -15
_LEVEL = 1
_QVALUE = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\Z", re.ASCII)


def inflate(body: bytes, encoding: str | None, limit: int) -> bytes:
    """A request's body without its Content-Encoding; ``encoding`` is the header's value, ``limit`` the most bytes to come out.

    Takes gzip (also of several members), deflate with zlib's wrapper as the standard wants it, and without as some clients send
    it, identity, and two of them one upon another. Raises UnsupportedMedia, BadRequest (damaged, cut short, followed by
    garbage) and BodyTooLarge.
    """
    if not encoding:
        return body
    layers = []
    for token in encoding.split(","):
        name = token.strip().lower()
        if name not in ("", "identity"):
            decoder = _DECODERS.get(name)
            if decoder is None:
                raise UnsupportedMedia(f"Content-Encoding {name[:40]!r} is not taken; send gzip, deflate or identity.")
            layers.append(decoder)
    if len(layers) > _MAX_LAYERS:
        raise UnsupportedMedia(f"Content-Encoding names {len(layers)} codings; send at most {_MAX_LAYERS}, one upon the other.")
    try:
        for decoder in reversed(layers):
            body = decoder(body, limit)
    except _TooLarge:
        raise BodyTooLarge(
            f"The body inflates to more than the limit of {limit} bytes; send fewer rows a request.", limit="inflated_bytes"
        ) from None
    return body


class _TooLarge(Exception):
    """There is more to come than there is room for."""


def _gunzip(body: bytes, limit: int) -> bytes:
    view = memoryview(body)
    parts: list[bytes] = []
    start = 0
    for _ in range(_MAX_MEMBERS):
        read, limit = _inflate_one(view[start:], _GZIP, limit, parts)
        start += read
        if start == len(view):
            return _joined(parts)
    raise BadRequest(f"The gzip body has more than {_MAX_MEMBERS} members; send it as one.")


def _undeflate(body: bytes, limit: int) -> bytes:
    view = memoryview(body)
    parts: list[bytes] = []
    read, _ = _inflate_one(view, _ZLIB if is_zlib(body) else _RAW, limit, parts)
    if read != len(view):
        raise BadRequest(f"The deflate body ends {len(view) - read} bytes before the request's body does.")
    return _joined(parts)


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {"gzip": _gunzip, "x-gzip": _gunzip, "deflate": _undeflate}


def is_zlib(body: bytes) -> bool:
    """Whether a deflate body begins as zlib's wrapper does."""
    # RFC 1950, 2.2: method 8, a window of at most 32 KiB, and the two bytes a multiple of 31. A bare deflate stream that
    # begins so would be a stored block with bits set in its padding, which no encoder writes.
    return len(body) >= 2 and body[0] & 0x0F == 8 and body[0] >> 4 <= 7 and (body[0] << 8 | body[1]) % 31 == 0


def _inflate_one(view: memoryview, wbits: int, limit: int, parts: list[bytes]) -> tuple[int, int]:
    """Adds one stream's content to ``parts``; returns the bytes of ``view`` it took and what is left of ``limit``."""
    stream = zlib.decompressobj(wbits)
    start = 0
    try:
        while start < len(view):
            data: memoryview | bytes = view[start : start + _SLICE]
            start += len(data)
            while True:
                part = stream.decompress(data, min(limit + 1, _PART))
                if len(part) > limit:
                    _drop(parts)
                    raise _TooLarge
                limit -= len(part)
                parts.append(part)
                os.sched_yield()
                data = stream.unconsumed_tail
                if not data and len(part) < _PART:
                    break
            if stream.eof:
                return start - len(stream.unused_data), limit
    except zlib.error:
        raise BadRequest("The request's body is not what its Content-Encoding says; send valid gzip or deflate.") from None
    raise BadRequest("The compressed body is cut short; send all of it.")


def _joined(parts: list[bytes]) -> bytes:
    """The parts as one, each let go of as soon as it has been copied: all and their whole at once would be twice the memory."""
    if len(parts) == 1:
        return parts[0]
    whole = BytesIO()
    parts.reverse()
    while parts:
        whole.write(parts.pop())
    return whole.getvalue()


def _drop(parts: list[bytes]) -> None:
    """Gives their memory back one by one: all at once holds the interpreter for milliseconds."""
    while parts:
        parts.pop()
        os.sched_yield()


def compress(body: bytes, accept: str | None, threshold: int = THRESHOLD) -> tuple[bytes, Coding | None]:
    """An answer's body in the coding its caller's Accept-Encoding prefers, and that coding; as it is when small.

    A body that compression would lengthen stays as it is too, unless the caller refuses that. Whose refuses every form gets the
    plain one, as RFC 9110 allows.
    """
    if not accept:
        return body, None
    coding, plain = _preference(accept)
    if coding is None or (plain and len(body) < threshold):
        return body, None
    coded = zlib.compress(body, _LEVEL, _GZIP if coding == "gzip" else _ZLIB)
    if plain and len(coded) >= len(body):
        return body, None
    return coded, coding


def code(answer: Encoded, accept: str | None, threshold: int = THRESHOLD) -> Encoded:
    """The answer as ``compress`` has it, with Content-Encoding where coded and Vary where another caller might get another form."""
    if len(answer.body) < threshold and not accept:
        return answer
    body, coding = compress(answer.body, accept, threshold)
    if coding is not None:
        return replace(answer, body=body, headers=(*answer.headers, (b"content-encoding", coding.encode()), VARY))
    if len(answer.body) >= threshold:
        return replace(answer, headers=(*answer.headers, VARY))
    return answer


def _preference(accept: str) -> tuple[Coding | None, bool]:
    # Parsed headers are kept only while they are short: a client may send a new one each time.
    return _remembered(accept) if len(accept) <= 200 else _parse(accept)


def _parse(accept: str) -> tuple[Coding | None, bool]:
    """The coding to use, None for none, and whether the plain body would be acceptable too."""
    weights: dict[str, float] = {}
    for item in accept.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = _weight(parameters)
        if name and weight is not None:
            weights["gzip" if name == "x-gzip" else name] = weight
    other = weights.get("*", 0.0)
    gzip, deflate = weights.get("gzip", other), weights.get("deflate", other)
    # Plain is acceptable unless refused, by name or by `*`; only by name can it be preferred.
    plain = weights.get("identity", weights.get("*", 1.0)) > 0
    best: Coding = "gzip" if gzip >= deflate else "deflate"
    highest = max(gzip, deflate)
    if highest <= 0 or weights.get("identity", 0.0) > highest:
        return None, plain
    return best, plain


_remembered = lru_cache(maxsize=256)(_parse)


def _weight(parameters: list[str]) -> float | None:
    """The q of one item, 1 where it has none; None where it is not a q-value, so that the item is not taken for a wish."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            value = value.strip()
            return float(value) if _QVALUE.match(value) else None
    return 1.0
