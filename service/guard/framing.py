"""Where each HTTP/1.1 request of a connection begins and ends, judged before a parser reads it.

Who stands in front of a server and reads a request's end elsewhere than the server does lets through what it never saw: request
smuggling. The two parsers that our servers have, llhttp and h11, forgive different things, so the bytes pass here first: what RFC
9112 lets be read in two ways is refused, and so is a head that is over its limits, however its bytes arrive. What passes, every
parser reads alike. Nothing is kept but an unfinished head or line.

Stricter than the RFC asks: Content-Length once and in digits alone, Transfer-Encoding once and `chunked` alone, an absolute target
only with the authority that Host names, chunk extensions and trailers within the limits of a head.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final

from service.errors import BadRequest, BodyTooLarge, HeadersTooLarge, NotSupported, ServiceError

END: Final = b"\r\n\r\n"

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_FIELD: Final = _TOKEN + rb"++:[\t -~\x80-\xff]*+\r\n"
_REQUEST: Final = rb"([A-Z][A-Z_-]*+) ([!\"$-~]++) HTTP/1\.([01])\r\n"
_REQUEST_LINE: Final = re.compile(_REQUEST)
_FIELD_LINE: Final = re.compile(_FIELD)
_HEAD: Final = re.compile(_REQUEST + rb"(?:" + _FIELD + rb")*+\r\n")
# Fifteen digits are less than 2**60; what no machine can hold is a way to make one parser's number another's.
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(;[\t -~\x80-\xff]*+)?\r\n")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_HOST: Final = re.compile(rb"[0-9a-z._~!$&'()*+,;=%:\[\]-]*+")
_ABSOLUTE: Final = re.compile(rb"(https?://([^/?@]+))/.*")
_LISTED: Final = re.compile(rb"(?:" + _TOKEN + rb"+[ \t]*,[ \t]*)*chunked")
#: What would say of a request that was read what it is.
_NO_TRAILERS: Final = (b"content-length:", b"transfer-encoding:", b"host:")
_UPGRADE: Final = re.compile(rb"(?i)\r\nupgrade:[^\r]*")
_CONNECTION: Final = b"\r\nconnection:"
_CR, _LF, _SLASH = b"\r\n/"

NO_HTTP: Final = "what came is not HTTP/1.1; check the request line, the headers and Content-Length"
NO_CHUNKS: Final = "the body is not in chunks as HTTP/1.1 has them; check each chunk's length and line ends"
TWO_LENGTHS: Final = "the request has both Transfer-Encoding and Content-Length; send one of them"
NO_LENGTH: Final = "Content-Length is one number of bytes, in digits alone, and given once"
UNKNOWN_CODING: Final = "the only Transfer-Encoding that is taken is chunked"
NO_HOST: Final = "the request has one Host header, and an absolute target names the same host"
NO_UPGRADE: Final = "a WebSocket handshake is a GET of HTTP/1.1 without a body, and nothing is sent before its answer"


class Framing:
    """One connection's requests. ``most_bytes`` and ``most_lines`` bound a head, and again what a body has beside its chunks;
    ``most_chunks`` those, each of which costs a parser more than a kilobyte of its data."""

    __slots__ = (
        "_blank",
        "_checked",
        "_chunks",
        "_left",
        "_lines",
        "_most_bytes",
        "_most_chunks",
        "_most_lines",
        "_next",
        "_part",
        "_plain",
        "_read",
        "_spare",
    )

    def __init__(self, most_bytes: int, most_lines: int, most_chunks: int = 10_000) -> None:
        self._most_bytes, self._most_lines, self._most_chunks = most_bytes, most_lines, most_chunks
        self._read: Callable[[bytes, int], int] = self._head
        self._next = self._read  # what follows the request
        self._part = bytearray()  # of a head, or of a line of a chunked body
        self._checked = 0  # of a head's bytes, those whose lines have been looked at
        self._lines = self._chunks = 0
        self._left = 0  # of a body, or of a chunk, in bytes
        self._spare = 0
        self._blank = b""
        self._plain = b""

    @property
    def between(self) -> bool:
        """Whether no byte of a request has come that has not ended."""
        return self._read == self._head and not self._part

    def judge(self, data: bytes) -> tuple[bytes, ServiceError | None]:
        """What of the client's bytes a parser may read, and why it may read no more: then nothing is to be judged any more."""
        at = begun = 0
        try:
            while at < len(data):
                if self._read == self._silence:
                    return data[:at], None
                if self._read == self._head and not self._part:
                    begun = at
                    if self._skips(data[at]):
                        data = data[:at] + data[at + 1 :]
                        continue
                at = self._read(data, at)
                if self._plain:
                    data, at = data[:begun] + self._plain + data[at:], begun + len(self._plain)
                    self._plain = b""
                if self._read != self._head:
                    begun = at
        except ServiceError as error:
            return data[:begun], error
        return data, None

    def _skips(self, byte: int) -> bool:
        """Whether the byte is of the one empty line that may stand before a request (RFC 9112, 2.2)."""
        if self._blank == b"\r":
            if byte != _LF:
                raise BadRequest(NO_HTTP)
        elif byte != _CR or self._blank:
            return False
        self._blank += bytes([byte])
        return True

    # -- heads -----------------------------------------------------------------------------------------------------------------

    def _head(self, data: bytes, at: int) -> int:
        part = self._part
        if not part:
            end = data.find(END, at)
            if end >= 0:
                end += len(END)
                self._plain = self._begin(data[at:end], end == len(data))
                return end
        known = len(part)
        part += data[at : at + self._most_bytes + 1 - known]
        end = part.find(END, max(0, known - len(END) + 1))
        if end >= 0:
            end += len(END)
            head = bytes(part[:end])
            part.clear()
            self._checked = self._lines = 0
            self._begin(head, at + end - known == len(data))
            return at + end - known
        self._look()
        return len(data)

    def _look(self) -> None:
        """Refuses an unfinished head as soon as its lines say that it will be refused."""
        part = self._part
        if len(part) > self._most_bytes:
            raise self._too_long()
        while (end := part.find(b"\n", self._checked) + 1) > 0:
            line = _FIELD_LINE if self._checked else _REQUEST_LINE
            if not line.fullmatch(part, self._checked, end):
                raise BadRequest(NO_HTTP)
            self._checked = end
            self._lines += 1
        if self._lines > self._most_lines + 1:
            raise many_lines(self._most_lines)
        if not self._checked and not b"A" <= part[:1] <= b"Z":
            raise BadRequest(NO_HTTP)

    def _begin(self, head: bytes, last: bool) -> bytes:
        """The head has come whole; ``last``: nothing has come behind it. Returns what stands for it, empty where it does itself."""
        if len(head) > self._most_bytes:
            raise self._too_long()
        if head.count(b"\n") > self._most_lines + 2:
            raise many_lines(self._most_lines)
        request = _HEAD.fullmatch(head)
        if request is None:
            raise BadRequest(NO_HTTP)
        low = head.lower()
        old = request[3] == b"0"
        lengths, codings = low.count(b"\r\ncontent-length:"), low.count(b"\r\ntransfer-encoding:")
        _check_host(low, request[2], old)
        self._blank = b""
        if codings:
            if lengths:
                raise BadRequest(TWO_LENGTHS)
            coding = _value(low, b"\r\ntransfer-encoding:", b" ")  # llhttp takes a tab for a part of it
            if codings > 1 or old or coding != b"chunked":
                raise _unknown(coding, codings > 1 or old)
            self._read = self._chunk_line
            self._spare, self._lines, self._chunks = self._most_bytes, 0, 0
        elif lengths:
            length = _value(low, b"\r\ncontent-length:")
            if lengths > 1 or not _LENGTH.fullmatch(length):
                raise BadRequest(NO_LENGTH)
            self._left = int(length)
            if self._left:
                self._read = self._sized
        wishes = _wishes(low)
        upgrades = low.count(b"\r\nupgrade:")
        if upgrades and b"upgrade" in wishes and b"websocket" in low:
            # Servers look at the last of several, and what is no upgrade to them is not to be taken for one here.
            one = upgrades == 1 and low.count(b"\r\nconnection:") == 1
            if not one or _value(low, b"\r\nupgrade:") == b"websocket":
                if not one or old or not last or self._read != self._head or request[1] != b"GET":
                    raise BadRequest(NO_UPGRADE)
                self._read = self._opaque
                return b""
        if old or b"close" in wishes:
            self._next = self._silence
            if self._read == self._head:
                self._read = self._next
        # Nothing else is upgraded to, but llhttp would take the body for the other protocol's.
        return _UPGRADE.sub(b"", head) if upgrades else b""

    # -- bodies ----------------------------------------------------------------------------------------------------------------

    def _sized(self, data: bytes, at: int) -> int:
        taken = min(self._left, len(data) - at)
        self._left -= taken
        if not self._left:
            self._read = self._next
        return at + taken

    def _chunk_line(self, data: bytes, at: int) -> int:
        line, at = self._line(data, at)
        if line is None:
            return at
        chunk = _CHUNK.fullmatch(line)
        if chunk is None:
            raise BadRequest(NO_CHUNKS)
        if chunk[2]:
            self._spend(len(chunk[2]))
        self._chunks += 1
        if self._chunks > self._most_chunks + 1:  # the last one has no data
            raise BodyTooLarge(f"the body comes in more than {self._most_chunks} chunks; send longer ones", limit="body_chunks")
        self._left = int(chunk[1], 16)
        self._read = self._chunk if self._left else self._trailer
        return at

    def _chunk(self, data: bytes, at: int) -> int:
        taken = min(self._left, len(data) - at)
        self._left -= taken
        if not self._left:
            self._read = self._chunk_end
        return at + taken

    def _chunk_end(self, data: bytes, at: int) -> int:
        if data[at] != (_LF if self._part else _CR):
            raise BadRequest(NO_CHUNKS)
        if self._part:
            self._part.clear()
            self._read = self._chunk_line
        else:
            self._part += b"\r"
        return at + 1

    def _trailer(self, data: bytes, at: int) -> int:
        line, at = self._line(data, at)
        if line is None:
            return at
        if line == b"\r\n":
            self._read = self._next
            self._lines = 0
            return at
        if not _FIELD_LINE.fullmatch(line) or line.lower().startswith(_NO_TRAILERS):
            raise BadRequest(NO_CHUNKS)
        self._spend(len(line))
        self._lines += 1
        if self._lines > self._most_lines:
            raise many_lines(self._most_lines)
        return at

    def _line(self, data: bytes, at: int) -> tuple[bytes | None, int]:
        """A line with its end, None where that has not come, and where in the data it ends."""
        end = data.find(b"\n", at, at + self._most_bytes + 1) + 1
        self._part += data[at : end or len(data)]
        if not end:
            if len(self._part) > self._spare:
                raise self._too_long()
            return None, len(data)
        line = bytes(self._part)
        self._part.clear()
        return line, end

    def _spend(self, size: int) -> None:
        self._spare -= size
        if self._spare < 0:
            raise self._too_long()

    def _silence(self, data: bytes, at: int) -> int:
        """What follows the last request of a connection is nobody's (RFC 9112, 9.6)."""
        return at

    def _opaque(self, data: bytes, at: int) -> int:
        """A WebSocket's frames, or the silence after a refused handshake."""
        return len(data)

    def _too_long(self) -> HeadersTooLarge:
        return long_head(self._most_bytes)


def long_head(most: int) -> HeadersTooLarge:
    """The refusal of a request with more bytes of headers than ``most``."""
    told = f"the request's line and headers have more than the limit of {most} bytes; send fewer or shorter ones"
    return HeadersTooLarge(told, limit="header_bytes")


def many_lines(most: int) -> HeadersTooLarge:
    """The refusal of a request with more header lines than ``most``."""
    return HeadersTooLarge(f"the request has more than the limit of {most} header lines; send fewer", limit="header_count")


def _value(low: bytes, name: bytes, space: bytes = b" \t") -> bytes:
    """What the first header of that name says, in lower case."""
    at = low.index(name) + len(name)
    return low[at : low.index(b"\r\n", at)].strip(space)


def _wishes(low: bytes) -> Collection[bytes]:
    """What the Connection headers list, in lower case."""
    at = low.find(_CONNECTION)
    wishes: list[bytes] = []
    while at >= 0:
        end = low.index(b"\r\n", at := at + len(_CONNECTION))
        wishes += [wish.strip(b" \t") for wish in low[at:end].split(b",")]
        at = low.find(_CONNECTION, end)
    return wishes


def _check_host(low: bytes, target: bytes, old: bool) -> None:
    """Raises BadRequest where the request names no host, two, or none that can be."""
    hosts = low.count(b"\r\nhost:")
    if hosts > 1 or not (hosts or old):
        raise BadRequest(NO_HOST)
    host = _value(low, b"\r\nhost:") if hosts else b""
    if not _HOST.fullmatch(host):
        raise BadRequest(NO_HOST)
    if target[0] != _SLASH:
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            raise BadRequest(NO_HTTP)
        if absolute[2].lower() != host:
            raise BadRequest(NO_HOST)


def authority(target: bytes) -> bytes:
    """What stands before the path in an absolute target that passed; empty of any other."""
    absolute = _ABSOLUTE.fullmatch(target)
    return absolute[1] if absolute else b""


def _unknown(coding: bytes, twice: bool) -> ServiceError:
    """A coding that there may be is one that we have not; any other leaves the body's end open."""
    known = not twice and _LISTED.fullmatch(coding) and coding.count(b"chunked") == 1
    return NotSupported(UNKNOWN_CODING) if known else BadRequest(UNKNOWN_CODING)
