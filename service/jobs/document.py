"""A JSON list of rows, bare or as `instances`, read row by row: the whole is never held."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np

from models.tensor import Array
from service.errors import BadRequest
from service.jobs.lines import check_row, too_long

#: Text is looked at once so much of it has come (bytes).
BLOCK: Final = 64 * 1024
_HEAD = re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:(\{)\s*"instances"\s*:\s*)?\[')
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_SPACE: Final = b" \t\r\n"
_FORM: Final = 'send {"instances": [...]}, or a list of rows alone'
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Document:
    """Rows from the list, of at most ``most`` bytes each. What has come is held from the first row on that is not whole."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = bytearray()
        self._next = BLOCK
        self._count = 0
        self._object = self._begun = self._ended = self._comma = False

    def feed(self, text: bytes) -> list[bytes]:
        """The rows that are whole by now, or later. Raises BadRequest, naming the row, and BodyTooLarge."""
        self._held += text
        return self._advance() if len(self._held) >= self._next else []

    def close(self) -> list[bytes]:
        """The rest. Raises BadRequest where the list does not end, or more comes after it."""
        rows = self._advance()
        if not self._begun:
            raise BadRequest(f"the body is no list of rows; {_FORM}")
        if not self._ended:
            raise BadRequest(f"the body ends within its list, after {self._count} whole rows; nothing of the job was kept")
        if bytes(self._held) != (b"}" if self._object else b""):
            raise self._trailing()
        return rows

    def _advance(self) -> list[bytes]:
        held = self._held
        if not self._begun:
            found = _HEAD.match(held)
            if found is None:
                if len(held) >= BLOCK:
                    raise BadRequest(f"the body is no list of rows; {_FORM}")
                return []
            self._begun, self._object = True, found[1] is not None
            del held[: found.end()]
        rows = [] if self._ended else self._cut()
        if self._ended:
            held[:] = held.strip(_SPACE)
            if len(held) > 1:
                raise self._trailing()
        # A row that is not whole is looked at again only once twice as much of it has come.
        self._next = max(BLOCK, 2 * len(held))
        return rows

    def _cut(self) -> list[bytes]:
        held = self._held
        commas, end = _between_rows(bytes(held))
        self._ended = end >= 0
        if not self._ended and commas.size:
            end = int(commas[-1])
        if end < 0:
            if len(held) > self._most:
                raise too_long(f"instances[{self._count}]", self._most)
            return []
        if self._ended and held[end] != ord("]"):
            raise self._malformed("a brace closes the list")
        block = bytes(held[:end])
        del held[: end + 1]
        if self._ended and not self._comma and not block.strip(_SPACE):
            return []
        self._comma = not self._ended
        try:
            raws = _list(b"[%b]" % block) if block.strip(_SPACE) else []
        except (msgspec.DecodeError, RecursionError):
            raws = []
        if raws:
            return [self._row(bytes(raw), checked=True) for raw in raws]
        # Something is wrong: each row is looked at by itself, to tell which.
        ends = [-1, *commas[commas < len(block)].tolist(), len(block)]
        return [self._row(block[last + 1 : end], checked=False) for last, end in pairwise(ends)]

    def _row(self, row: bytes, *, checked: bool) -> bytes:
        if len(row) > self._most:
            raise too_long(f"instances[{self._count}]", self._most)
        if not (checked and row.isascii()):
            try:
                check_row(row.strip(_SPACE))
            except ValueError as error:
                raise self._malformed(str(error)) from None
        self._count += 1
        return msgspec.json.format(row, indent=-1) if b"\n" in row else row

    def _malformed(self, why: str) -> BadRequest:
        return BadRequest(f"the body is not JSON in UTF-8 at instances[{self._count}]: {why}; nothing of the job was kept")

    def _trailing(self) -> BadRequest:
        return BadRequest(f"there is something beside the list of rows, after {self._count} of them; {_FORM}")


def _between_rows(text: bytes) -> tuple[Array, int]:
    """Where the list's commas are, and the bracket that ends it, or -1. The text begins between two rows."""
    marks = np.frombuffer(_ESCAPED.sub(b"__", text) if b"\\" in text else text, np.uint8)
    plain = np.cumsum(marks == ord('"'), dtype=np.int32) & 1 == 0  # outside of strings
    opens = ((marks == ord("[")) | (marks == ord("{"))) & plain
    shuts = ((marks == ord("]")) | (marks == ord("}"))) & plain
    levels = np.cumsum(opens.astype(np.int8) - shuts.astype(np.int8), dtype=np.int32)
    ends = np.flatnonzero(levels < 0)
    commas = np.flatnonzero((marks == ord(",")) & plain & (levels == 0))
    return commas, int(ends[0]) if ends.size else -1
