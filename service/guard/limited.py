"""Counts what goes over a limit, by the key of `[limits]` that it is over, in this worker's own cells."""

from __future__ import annotations

from service.metrics import families
from service.metrics.cells import Region


class Limited:
    """What one worker has refused; without a ``region`` nothing is counted. Call it on the event loop alone, once a refusal."""

    __slots__ = ("_cells", "_region")

    def __init__(self, region: Region | None = None) -> None:
        self._region = region
        self._cells: dict[str, int] = {}

    def count(self, limit: str) -> None:
        """One more was over ``limit``, a key of `[limits]`: never a word of the caller's."""
        if self._region is None:
            return
        cell = self._cells.get(limit)
        if cell is None:
            cell = self._cells[limit] = self._region.cell((families.LIMITED.name, limit))
        self._region.cells[cell] += 1.0
