"""How much of a WebSocket's frames may be read: a message is over its limit as soon as a frame says so, before its bytes have come.

wsproto judges all else of a frame, and hands its content on as it comes; it has no limit on the size. RFC 6455, 5.2.
"""

from __future__ import annotations

from typing import Final

_FINAL, _KIND, _MASKED, _SIZE = 0x80, 0x0F, 0x80, 0x7F
#: Bytes of a mask.
_MASK: Final = 4
_CONTROL: Final = 0x08
#: Bytes that say a length, by what the second byte says.
_WIDE: Final = {126: 2, 127: 8}


class Frames:
    """One connection's frames from its client. ``most``: bytes of one message, however many frames it comes in."""

    __slots__ = ("_header", "_left", "_most", "_size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._header = bytearray()  # of the next frame, as far as it has come
        self._left = 0  # of the frame's content, in bytes
        self._size = 0  # of the message, by what its frames have said

    def judge(self, data: bytes) -> int:
        """How many of the client's bytes may be read: fewer than came where a message is over the limit, and then no more."""
        at, begun = 0, 0
        while at < len(data):
            if self._left:
                taken = min(self._left, len(data) - at)
                self._left -= taken
                at += taken
                continue
            if not self._header:
                begun = at
            at = self._read(data, at)
            if self._size > self._most:
                return begun
        return at

    def _read(self, data: bytes, at: int) -> int:
        """Reads of a frame's header what there is; returns where it ends."""
        header = self._header
        needs = 2
        while True:
            taken = data[at : at + max(0, needs - len(header))]
            header += taken
            at += len(taken)
            if len(header) < needs:
                return at
            first, second = header[0], header[1]
            wide = _WIDE.get(second & _SIZE, 0)
            if needs == 2 + wide:
                break
            needs = 2 + wide
        size = int.from_bytes(header[2 : 2 + wide], "big") if wide else second & _SIZE
        header.clear()
        self._left = size + (_MASK if second & _MASKED else 0)
        if not first & _CONTROL:
            self._size = size + (self._size if first & _KIND == 0 else 0)
            if first & _FINAL and self._size <= self._most:
                self._size = 0
        return at
