"""A job's body to its rows while it arrives: NDJSON, CSV or a JSON list, plain or compressed, in bounded memory.

bytes -> inflated -> lines, records or elements -> rows. A row is one instance of TensorFlow Serving's predict form, as JSON. That
it is JSON is all that is judged here, with its place in the body: whether the model takes it is found when it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from models.signature import Signature
from service.errors import BadRequest, BodyTooLarge, TooManyRows, UnsupportedMedia
from service.jobs.document import Document
from service.jobs.inflating import PART, inflated, inflaters
from service.jobs.lines import Lines
from service.jobs.table import Table
from service.protocol.charset import is_utf8
from service.sections import Jobs

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
CSV, JSON = "text/csv", "application/json"


class Reader(Protocol):
    """One format. Raises BadRequest with the place of what is wrong, BodyTooLarge for a row over its limit."""

    def feed(self, text: bytes) -> list[bytes]:
        """The rows that are whole by now, and were not before."""

    def close(self) -> list[bytes]:
        """The rows that the text's end makes whole."""


class Intake:
    """One body. ``rows``: how many it had so far. The constructor raises UnsupportedMedia."""

    def __init__(self, content_type: str, encoding: str | None, signature: Signature, bounds: Jobs) -> None:
        self.rows = 0
        self._bounds = bounds
        self._came = 0
        self._inflaters = inflaters(encoding, bounds.body_bytes)
        self._reader = _reader(content_type, signature, bounds.row_bytes)

    def feed(self, data: bytes) -> Iterator[list[bytes]]:
        """The rows that the next bytes make whole, in chunks. Raises BadRequest, BodyTooLarge, TooManyRows."""
        self._came += len(data)
        most = self._bounds.body_bytes
        if self._came > most:
            raise too_large(most)
        for begin in range(0, len(data), PART):  # so that nobody waits long for the interpreter
            for text in inflated(data[begin : begin + PART], self._inflaters):
                if rows := self._counted(self._reader.feed(text)):
                    yield rows

    def close(self) -> Iterator[list[bytes]]:
        """The last rows; the body has come whole. Raises as ``feed``, and BadRequest where it ends too soon, or has no rows."""
        if self._came:
            for inflating in self._inflaters:
                inflating.close()
        if rows := self._counted(self._reader.close()):
            yield rows
        if not self.rows:
            raise BadRequest("the body has no rows; send at least one")

    def _counted(self, rows: list[bytes]) -> list[bytes]:
        self.rows += len(rows)
        if self.rows > self._bounds.max_rows:
            raise TooManyRows(f"the job has more rows than the limit of {self._bounds.max_rows}; send it as several jobs")
        return rows


def too_large(most: int, length: int | None = None) -> BodyTooLarge:
    """The refusal of a body over that limit of bytes; its ``length`` where the request said it."""
    came = "is" if length is None else f"has {length} bytes,"
    return BodyTooLarge(f"the body {came} over the limit of {most} bytes of a job; send it as several jobs")


def _reader(content_type: str, signature: Signature, most: int) -> Reader:
    essence, _, parameters = content_type.lower().partition(";")
    kind = essence.strip()
    if not is_utf8(content_type.encode("latin-1", "replace")):
        raise UnsupportedMedia(f"{parameters.strip()[:80]!r} is not taken; send UTF-8")
    if kind in NDJSON:
        return Lines(most)
    if kind == CSV:
        if "absent" in parameters:
            raise UnsupportedMedia("a table without a header is not taken; send the inputs' names as its first line")
        return Table(most, signature)
    if kind == JSON:
        return Document(most)
    raise UnsupportedMedia(f"content type {kind[:80]!r} is not taken for a job; send {NDJSON[0]}, {CSV} or {JSON}")
