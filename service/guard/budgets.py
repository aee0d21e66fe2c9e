"""What budgets are kept in, as the gate sees it. ``memory`` keeps them for one machine's workers, ``redis`` for many machines."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

from service.guard.principal import Principal


class Allowance(NamedTuple):
    """What is left of the budget that binds most: ``limit`` is its burst or quota, ``reset_s`` when it is whole again (seconds)."""

    limit: int
    remaining: int
    reset_s: float
    window_s: float


class Budgets(Protocol):
    """``immediate``: never answers with a future, so that the gate needs nobody to wait."""

    immediate: bool

    def spend_request(self, principal: Principal, model: str | None) -> Allowance | asyncio.Future[Allowance | None] | None:
        """Spends one request, of every budget that it falls under or of none. Raises OverBudget, a future too; None: no bound."""

    def spend_rows(self, principal: Principal, model: str, rows: int) -> Allowance | asyncio.Future[Allowance | None] | None:
        """Spends the rows of a decoded request. Raises OverBudget, a future too; None: no bound."""
