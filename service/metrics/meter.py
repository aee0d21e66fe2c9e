"""Counts every request as it ends, in this worker's own cells: some additions and no allocation, on the event loop.

Labels are what we served and what we answered, never what a caller sent: a model that we do not know is counted under an empty
name, a method that HTTP does not know under `other`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Final

from batching import Answer
from service.account import LEFT, Plain
from service.metrics import families
from service.metrics.cells import Region
from service.metrics.families import ROWS, SECONDS, Family
from service.request import Request
from service.response import Response

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS_SUM: Final = len(SECONDS) + 1
_ROWS_SUM: Final = len(ROWS) + 1


class Meter:
    """An observer that counts into ``region``; ``knows`` says of a name whether it is a model's."""

    __slots__ = ("_books", "_cells", "_codes", "_knows", "_region", "_routes")

    def __init__(self, region: Region, knows: Callable[[str], bool]) -> None:
        self._region = region
        self._knows = knows
        self._cells = region.cells
        self._books: dict[tuple[str, str], _Book] = {}
        self._codes: dict[tuple[str, str, int], int] = {}
        self._routes: dict[str, int] = {}

    def inference(self, request: Request, response: Response | None, answer: Answer | None, total_s: float) -> None:
        """Counts it by model, version and status, and how long it took; of one that was answered also its way through the batch."""
        served = request.served
        if served is not None:
            key = (served.model, served.version)
        else:  # never a name that only a caller knows
            model = request.target.model
            key = (model if self._knows(model) else "", "")
        book = self._books.get(key)
        if book is None:
            book = self._books[key] = _Book()
        status = LEFT if response is None else response.status
        ended = book.ended.get(status)
        if ended is None:
            ended = book.ended[status] = self._open_status(key, status)
        code, start = ended
        cells = self._cells
        cells[code] += 1.0
        cells[start + bisect_left(SECONDS, total_s)] += 1.0
        cells[start + _SECONDS_SUM] += total_s
        if answer is None or status != 200:
            return
        way = book.way
        if way is None:
            way = book.way = self._open_way(key)
        queue, infer, batch, rows = way
        if request.infer is not None:
            cells[rows] += request.infer.rows
        if not answer.batch_rows:  # it was kept: there was no queue and no call
            return
        seconds = answer.queue_s
        cells[queue + bisect_left(SECONDS, seconds)] += 1.0
        cells[queue + _SECONDS_SUM] += seconds
        seconds = answer.call_s
        cells[infer + bisect_left(SECONDS, seconds)] += 1.0
        cells[infer + _SECONDS_SUM] += seconds
        batch_rows = answer.batch_rows
        cells[batch + bisect_left(ROWS, batch_rows)] += 1.0
        cells[batch + _ROWS_SUM] += batch_rows

    def plain(self, plain: Plain) -> None:
        """Counts it by route, method and status, and how long it took."""
        route, method, status = plain.route, plain.method if plain.method in METHODS else "other", plain.status
        code = self._codes.get((route, method, status))
        if code is None:
            code = self._codes[route, method, status] = self._cell(families.HTTP_REQUESTS, route, method, _code(status))
        start = self._routes.get(route)
        if start is None:
            start = self._routes[route] = self._cell(families.HTTP_DURATION, route)
        cells = self._cells
        cells[code] += 1.0
        cells[start + bisect_left(SECONDS, plain.total_s)] += 1.0
        cells[start + _SECONDS_SUM] += plain.total_s

    def _open_status(self, key: tuple[str, str], status: int) -> tuple[int, int]:
        code = _code(status)
        return self._cell(families.REQUESTS, *key, code), self._cell(families.DURATION, *key, _class(code))

    def _open_way(self, key: tuple[str, str]) -> tuple[int, int, int, int]:
        ways = (families.QUEUE, families.INFER, families.BATCH_ROWS, families.ROWS_ANSWERED)
        queue, infer, batch, rows = [self._cell(family, *key) for family in ways]
        return queue, infer, batch, rows

    def _cell(self, family: Family, *labels: str) -> int:
        return self._region.cell((family.name, *labels), family.width)


class _Book:
    """Where one version's numbers are: for each status its cell and the first of the durations of its class, and those of answered
    requests."""

    __slots__ = ("ended", "way")

    def __init__(self) -> None:
        self.ended: dict[int, tuple[int, int]] = {}
        self.way: tuple[int, int, int, int] | None = None


def _code(status: int) -> str:
    return str(status) if 100 <= status <= 599 else "other"


def _class(code: str) -> str:
    return f"{code[0]}xx" if code != "other" else code
