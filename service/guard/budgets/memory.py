"""Budgets in the memory that one machine's workers share: spent at once, on the event loop, with nobody to wait for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial

from service.errors import OverBudget
from service.guard.budgets.budget import DAY_S, Allowance, Bound, SpendAtOnce, State, after, ahead, allowance, refusal
from service.guard.budgets.lease import leased
from service.guard.budgets.quotas import Quotas
from service.guard.budgets.rules import Rules, unbounded
from service.guard.budgets.tables import Entry, Table
from service.guard.limited import Limited


class MemoryBudgets:
    """The budgets of one worker and those beside it, kept in ``table``. ``limited`` counts refusals, ``quotas`` is told of what
    has to last; ``clock`` is one that all processes share, ``wall`` that of the epoch (seconds)."""

    immediate = True

    def __init__(
        self,
        rules: Rules,
        table: Table,
        limited: Limited,
        quotas: Quotas | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.models = rules.models
        self.purse = partial(rules.purse, self.open)
        self._table = table
        self._limited = limited
        self._quotas = quotas
        self._clock = clock
        self._wall = wall

    async def start(self) -> None:
        """The app is served."""
        if self._quotas is not None:
            self._quotas.start(self._table)

    async def close(self) -> None:
        """The app has done its last."""
        if self._quotas is not None:
            await self._quotas.close()

    def open(self, bounds: tuple[Bound, ...]) -> SpendAtOnce:
        """What spends of them. It raises OverBudget."""
        if not bounds:
            return unbounded
        entries = tuple([self._table.entry(bound) for bound in bounds])
        if all(bound.every_s for bound in bounds):
            spend = self._table.spending(entries, self._clock, lambda states, cost: self._refused(states, cost, self._wall()))
            return leased(bounds, spend, self._clock)
        return partial(self._spend_all, entries)

    def _spend_all(self, entries: Sequence[Entry], cost: float) -> Allowance | None:
        table, now, wall = self._table, self._clock(), self._wall()
        day = int(wall // DAY_S)
        values: list[float] = []
        enough, least, tightest = True, math.inf, -1
        for entry in entries:
            bound = entry.bound
            every_s = bound.every_s
            if every_s:
                value = ahead(bound, table.tat(entry, now), now)
                spent = value + cost * every_s
                left = (bound.depth_s - spent) / every_s
                enough = enough and spent <= bound.most_s
            else:
                value = table.count(entry, day, now)
                left = bound.limit - value - cost
                enough = enough and (left >= 0 or cost < 0)
            if left < least:
                least, tightest = left, len(values)
            values.append(value)
        if not enough:
            raise self._refused([State(entry.bound, value) for entry, value in zip(entries, values, strict=True)], cost, wall)
        if cost:
            for entry, value in zip(entries, values, strict=True):
                every_s = entry.bound.every_s
                if every_s:
                    table.put_tat(entry, now + value + cost * every_s)
                else:
                    table.add(entry, day, int(cost))
                    if self._quotas is not None:
                        self._quotas.spent(entry)
        if tightest < 0:
            return None
        bound = entries[tightest].bound
        return allowance(bound, after(bound, values[tightest], cost), wall)

    def _refused(self, states: Sequence[State], cost: float, wall: float) -> OverBudget:
        error = refusal(states, cost, wall)
        self._limited.count(error.key)
        return error
