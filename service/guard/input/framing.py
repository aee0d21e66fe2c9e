"""Where each HTTP/1.1 request of a connection begins and ends, judged before a parser reads it.

Who stands in front of a server and reads a request's end elsewhere than the server does lets through what it never saw: request
smuggling. The two parsers that our servers have, llhttp and h11, forgive different things, so the bytes pass here first: what RFC
9112 lets be read in two ways is refused, and so is a head that is over its limits, however its bytes arrive. What passes, every
parser reads alike; extensions of chunks and trailers do not pass: nobody here has a use for them, and llhttp takes trailers for
headers. Nothing is kept but an unfinished head or line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from service.errors import BadRequest, BodyTooLarge, HeadersTooLarge, ServiceError
from service.guard.input.request_head import FIELD_LINE, NO_HTTP, NO_UPGRADE, REQUEST_LINE, long_head, many_lines, read_head

END: Final = b"\r\n\r\n"

# Fifteen digits are less than 2**60; what no machine can hold is a way to make one parser's number another's.
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(;[\t -~\x80-\xff]*+)?\r\n")
_PLAIN_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
#: What would say of a request that was read what it is.
_NO_TRAILERS: Final = (b"content-length:", b"transfer-encoding:", b"host:")
_CR, _LF = b"\r\n"

NO_CHUNKS: Final = "the body is not in chunks as HTTP/1.1 has them; check each chunk's length and line ends"


Step = Callable[["Framing", bytes, int], int]


class Framing:
    """One connection's requests. ``most_bytes`` and ``most_lines`` bound a head, and again what a body has beside its chunks;
    ``most_chunks`` those, each of which costs a parser more than a kilobyte of its data."""

    __slots__ = (
        "_blank",
        "_checked",
        "_chunks",
        "_instead",
        "_left",
        "_lines",
        "_most_bytes",
        "_most_chunks",
        "_most_lines",
        "_next",
        "_part",
        "_read",
        "_spare",
    )

    def __init__(self, most_bytes: int, most_lines: int, most_chunks: int = 10_000) -> None:
        self._most_bytes, self._most_lines, self._most_chunks = most_bytes, most_lines, most_chunks
        self._read: Step = Framing._head
        self._next = self._read  # what follows the request
        self._part = bytearray()  # of a head, or of a line of a chunked body
        self._checked = 0  # of a head's bytes, those whose lines have been looked at
        self._lines = self._chunks = 0
        self._left = 0  # of a body, or of a chunk, in bytes
        self._spare = 0
        self._blank = b""
        self._instead: bytes | None = None  # what passes for the bytes of the last step, where they do not themselves

    @property
    def between(self) -> bool:
        """Whether no byte of a request has come that has not ended."""
        return self._read is Framing._head and not self._part

    @property
    def lined(self) -> bool:
        """Whether the empty line that may stand before a request has come, or a part of it, and no request yet."""
        return bool(self._blank)

    @property
    def over(self) -> bool:
        """Whether the last request of the connection has begun."""
        return self._next is Framing._silence

    @property
    def handed_over(self) -> bool:
        """Whether what comes is no request any more, but a WebSocket's."""
        return self._read is Framing._opaque

    def judge(self, data: bytes) -> tuple[bytes, ServiceError | None]:
        """What of the client's bytes a parser may read, and why it may read no more: then nothing is to be judged any more."""
        at = begun = since = 0
        passed: list[bytes] = []  # of the data before `since`
        try:
            while at < len(data):
                if self._read is Framing._silence:
                    break
                if self._read is Framing._head and not self._part:
                    begun = at
                    if self._skips(data[at]):
                        passed.append(data[since:at])
                        since = at = at + 1
                        continue
                start = at
                at = self._read(self, data, at)
                if self._instead is not None:
                    passed += (data[since:start], self._instead)
                    since, self._instead = at, None
                if self._read is not Framing._head:
                    begun = at
        except ServiceError as error:
            return b"".join((*passed, data[since:begun])), error.with_traceback(None)
        return b"".join((*passed, data[since:at])) if passed or at < len(data) else data, None

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
                self._instead = self._begin(data[at:end], end == len(data)) or None
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
            line = FIELD_LINE if self._checked else REQUEST_LINE
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
        meant = read_head(head, self._most_bytes, self._most_lines)
        self._blank = b""
        if meant.websocket:
            if not last:
                raise BadRequest(NO_UPGRADE)
            self._read = Framing._opaque
            return b""
        if meant.last:
            self._next = Framing._silence
        if meant.length is None:
            self._read = Framing._chunk_line
            self._spare, self._lines, self._chunks = self._most_bytes, 0, 0
        else:
            self._left = meant.length
            self._read = Framing._sized if meant.length else self._next
        return meant.plain

    # -- bodies ----------------------------------------------------------------------------------------------------------------

    def _sized(self, data: bytes, at: int) -> int:
        taken = min(self._left, len(data) - at)
        self._left -= taken
        if not self._left:
            self._read = self._next
        return at + taken

    def _chunk_line(self, data: bytes, at: int) -> int:
        if not self._part:
            end = self._whole_chunks(data, at)
            if end > at:
                return end
        line, at = self._line(data, at)
        if line is None:
            return at
        chunk = _CHUNK.fullmatch(line)
        if chunk is None:
            raise BadRequest(NO_CHUNKS)
        if chunk[2]:
            self._spend(len(chunk[2]))
        self._instead = chunk[1] + b"\r\n"
        self._count_chunk()
        self._left = int(chunk[1], 16)
        self._read = Framing._chunk if self._left else Framing._trailer
        return at

    def _whole_chunks(self, data: bytes, at: int) -> int:
        """Passes over the chunks that have come whole, of which a body may have thousands; the first that has not is left."""
        while (line := _PLAIN_CHUNK.match(data, at)) is not None:
            size = int(line[1], 16)
            end = line.end() + size
            if not size or data[end : end + 2] != b"\r\n":
                break
            self._count_chunk()
            at = end + 2
        return at

    def _count_chunk(self) -> None:
        self._chunks += 1
        if self._chunks > self._most_chunks + 1:  # the last one has no data
            raise BodyTooLarge(f"the body comes in more than {self._most_chunks} chunks; send longer ones", limit="body_chunks")

    def _chunk(self, data: bytes, at: int) -> int:
        taken = min(self._left, len(data) - at)
        self._left -= taken
        if not self._left:
            self._read = Framing._chunk_end
        return at + taken

    def _chunk_end(self, data: bytes, at: int) -> int:
        if data[at] != (_LF if self._part else _CR):
            raise BadRequest(NO_CHUNKS)
        if self._part:
            self._part.clear()
            self._read = Framing._chunk_line
        else:
            self._part += b"\r"
        return at + 1

    def _trailer(self, data: bytes, at: int) -> int:
        line, at = self._line(data, at)
        if line is None:
            return at
        if line == b"\r\n":
            self._read, self._instead = self._next, line
            self._lines = 0
            return at
        if not FIELD_LINE.fullmatch(line) or line.lower().startswith(_NO_TRAILERS):
            raise BadRequest(NO_CHUNKS)
        self._spend(len(line))
        self._lines += 1
        if self._lines > self._most_lines:
            raise many_lines(self._most_lines)
        return at

    def _line(self, data: bytes, at: int) -> tuple[bytes | None, int]:
        """A line with its end, None where that has not come, and where in the data it ends. Nothing of it passes by itself."""
        self._instead = b""
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
