"""NDJSON: one JSON value a line."""

from __future__ import annotations

import msgspec

from models.errors import Problem
from service.errors import BadRequest, BodyTooLarge

BOM = b"\xef\xbb\xbf"

_check = msgspec.json.Decoder(msgspec.Raw).decode


class Lines:
    """Rows from lines, of at most ``most`` bytes each; blank ones are passed over."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = bytearray()
        self._line = 0

    def feed(self, text: bytes) -> list[bytes]:
        """The rows that are whole by now. Raises BadRequest, naming the line, and BodyTooLarge."""
        held = self._held
        start = len(held)
        held += text
        cut = held.rfind(b"\n", start)
        if cut < 0:
            if len(held) > self._most:
                raise too_long(f"line {self._line + 1}", self._most)
            return []
        block = bytes(held[:cut])
        del held[: cut + 1]
        return self._rows(block)

    def close(self) -> list[bytes]:
        """The last row, whose line need not end."""
        block = bytes(self._held)
        self._held.clear()
        return self._rows(block)

    def _rows(self, block: bytes) -> list[bytes]:
        rows = []
        for line in block.split(b"\n"):
            self._line += 1
            row = line.strip()
            if self._line == 1:
                row = row.removeprefix(BOM)
            if not row:
                continue
            if len(row) > self._most:
                raise too_long(f"line {self._line}", self._most)
            try:
                check_row(row)
            except ValueError as error:
                problem = Problem(f"line {self._line}", "the line is not JSON", "one JSON value", str(error))
                raise BadRequest(f"line {self._line} is not JSON in UTF-8: {error}; nothing of the job was kept", problem) from None
            rows.append(row)
        return rows


def check_row(row: bytes) -> None:
    """Raises ValueError for what is not one JSON value in UTF-8."""
    if not row.isascii():
        row.decode()
    try:
        _check(row)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None


def too_long(where: str, most: int) -> BodyTooLarge:
    """The refusal of a row with more bytes than one may have."""
    return BodyTooLarge(f"{where} is over the limit of {most} bytes a row; nothing of the job was kept")
