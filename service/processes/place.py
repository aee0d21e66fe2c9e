"""Where a worker stands among those of its server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from service.guard.budgets.tables import Tables
from service.metrics.cells import Cells
from service.processes.board import Board


@dataclass(frozen=True, slots=True)
class Place:
    """The worker's slot, the board of all workers, the directory of what they keep together, None where nothing is kept, the
    cells that they count in, as many regions as the board has lines, and the tables of what callers have spent.

    ``admin_port``: of the address that admin routes have to themselves; None where they are at the one that all others are at.

    An app that runs without a supervisor is alone on a board of its own, and makes its own cells and tables.
    """

    slot: int = 0
    board: Board = field(default_factory=lambda: Board.create(1))
    state: Path | None = None
    cells: Cells | None = None
    budgets: Tables | None = None
    admin_port: int | None = None
