"""What budgets are kept in, as the gate sees it. ``memory`` keeps them for one machine's workers, ``redis`` for many machines."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from models.manifest import Limits as ModelLimits
from service.config import Config
from service.guard.budget import Allowance, Bound, allowance_headers, allowance_lines, tighter
from service.guard.memory import MemoryBudgets
from service.guard.principal import Principal
from service.guard.rules import Rules
from service.guard.tables import Tables
from service.processes.place import Place

__all__ = ["Allowance", "Bound", "Budgets", "allowance_headers", "allowance_lines", "open_budgets", "tighter"]

#: What is left, now or once a store has answered; None where there is no bound. Raises OverBudget, a future too.
Left = Allowance | asyncio.Future[Allowance | None] | None


class Budgets(Protocol):
    """``immediate``: never answers with a future, so that the gate needs nobody to wait."""

    immediate: bool

    def spend_request(self, principal: Principal, model: str | None) -> Left:
        """Spends one request, of every budget that it falls under or of none."""

    def spend_rows(self, principal: Principal, model: str, rows: int) -> Left:
        """Spends the rows of a decoded request."""

    def spend(self, bounds: Sequence[Bound], cost: float) -> Left:
        """Spends of any bounds, of all or of none; a cost of 0 reads them."""

    async def start(self) -> None:
        """The app is served."""

    async def close(self) -> None:
        """The app has done its last."""


def open_budgets(config: Config, place: Place, models: Mapping[str, ModelLimits] = MappingProxyType({})) -> Budgets:
    """Those that the configuration asks for. ``models``: what one caller may ask of each model that says so; it may change."""
    tables = place.budgets or Tables.create(len(place.board), config.limits.budget_entries)
    return MemoryBudgets(Rules(config.limits, models), tables.table(place.slot))
