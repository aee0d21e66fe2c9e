"""A body's Content-Encoding undone while it arrives: never more than a part at once, and never past its limit.

As `service.protocol.coding` does with bodies that have come whole; here neither what comes in nor what comes out is ever held.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from service.errors import BadRequest, BodyTooLarge, UnsupportedMedia
from service.protocol.coding import is_zlib

#: What is inflated, and read, at once (bytes): less than a millisecond, after which others may have the interpreter.
PART: Final = 16 * 1024
#: Of one gzip body: bgzip writes one for each 64 KiB, and empty ones cost time without ever reaching the limit.
MOST_MEMBERS: Final = 65_536
_MOST_LAYERS: Final = 2
_GZIP, _ZLIB, _RAW = 31, 15, -15


class Inflating:
    """One coding. What it gives is at most ``limit`` bytes in all."""

    def __init__(self, name: str, limit: int) -> None:
        self._gzip = name != "deflate"
        self._limit = self._left = limit
        self._members = 0
        self._begin = b""
        self._stream: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What the next bytes say, in parts. Raises BadRequest, BodyTooLarge."""
        while data:
            stream = self._stream
            if stream is None or stream.eof:
                data, stream = self._open(data)
                if stream is None:
                    return
            try:
                part = stream.decompress(data, min(self._left + 1, PART))
            except zlib.error:
                raise BadRequest("the body is not what its Content-Encoding says; send valid gzip or deflate") from None
            if len(part) > self._left:
                raise BodyTooLarge(f"the body inflates to more than the limit of {self._limit} bytes; send it as several jobs")
            self._left -= len(part)
            if part:
                yield part
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
            if not data and len(part) == PART and not stream.eof:
                yield from self._rest(stream)

    def close(self) -> None:
        """Raises BadRequest where the body was cut short."""
        if self._stream is None or not self._stream.eof or self._begin:
            raise BadRequest("the compressed body is cut short; send all of it")

    def _rest(self, stream: zlib._Decompress) -> Iterator[bytes]:
        """What the decoder holds of bytes that it took before: there may be more than one part of it."""
        while part := stream.decompress(b"", min(self._left + 1, PART)):
            if len(part) > self._left:
                raise BodyTooLarge(f"the body inflates to more than the limit of {self._limit} bytes; send it as several jobs")
            self._left -= len(part)
            yield part

    def _open(self, data: bytes) -> tuple[bytes, zlib._Decompress | None]:
        if not self._gzip:
            if self._stream is not None:
                raise BadRequest(f"the deflate body ends {len(data)} bytes or more before the request's body does")
            data, self._begin = self._begin + data, b""
            if len(data) < 2:  # both forms need two bytes to be told apart
                self._begin = data
                return b"", None
            self._stream = zlib.decompressobj(_ZLIB if is_zlib(data) else _RAW)
            return data, self._stream
        self._members += 1
        if self._members > MOST_MEMBERS:
            raise BadRequest(f"the gzip body has more than {MOST_MEMBERS} members; send it as one")
        self._stream = zlib.decompressobj(_GZIP)
        return data, self._stream


def inflaters(encoding: str | None, limit: int) -> list[Inflating]:
    """What undoes a Content-Encoding, the coding that was put on last first. Raises UnsupportedMedia."""
    found = []
    for token in (encoding or "").split(","):
        name = token.strip().lower()
        if name in ("", "identity"):
            continue
        if name not in ("gzip", "x-gzip", "deflate"):
            raise UnsupportedMedia(f"Content-Encoding {name[:40]!r} is not taken; send gzip, deflate or identity")
        found.append(Inflating(name, limit))
    if len(found) > _MOST_LAYERS:
        raise UnsupportedMedia(f"Content-Encoding names {len(found)} codings; send at most {_MOST_LAYERS}, one upon the other")
    return found[::-1]


def inflated(data: bytes, through: Sequence[Inflating]) -> Iterator[bytes]:
    """What bytes say once every coding is undone, in parts. Raises as ``Inflating.feed``."""
    if not through:
        yield data
        return
    for part in through[0].feed(data):
        yield from inflated(part, through[1:])
