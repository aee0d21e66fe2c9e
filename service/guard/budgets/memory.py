"""Budgets in the memory that one machine's workers share: spent at once, on the event loop, with nobody to wait for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from service.errors import OverBudget
from service.guard.budgets.budget import DAY_S, Allowance, Bound, State, after, ahead, allowance, refusal
from service.guard.budgets.quotas import Quotas
from service.guard.budgets.rules import KNOWN, Rules
from service.guard.budgets.tables import Entry, Table
from service.guard.limited import Limited
from service.guard.principal import Principal


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
        self._rules = rules
        self._table = table
        self._limited = limited
        self._quotas = quotas
        self._clock = clock
        self._wall = wall
        self._entries: dict[Bound, Entry] = {}

    async def start(self) -> None:
        """The app is served."""
        if self._quotas is not None:
            self._quotas.start(self._table)

    async def close(self) -> None:
        """The app has done its last."""
        if self._quotas is not None:
            await self._quotas.close()

    def spend_request(self, principal: Principal, model: str | None) -> Allowance | None:
        """Spends one request, of every budget that it falls under or of none. Raises OverBudget; None: no bound."""
        held = self._rules.requests(principal, model)
        entries = held.entries
        if entries is None:
            entries = held.entries = tuple([self._table.entry(bound) for bound in held.bounds])
        return self._spend(entries, 1) if entries else None

    def spend_rows(self, principal: Principal, model: str, rows: int) -> Allowance | None:
        """Spends the rows of a decoded request. Raises OverBudget; None: no bound."""
        held = self._rules.rows(principal, model)
        entries = held.entries
        if entries is None:
            entries = held.entries = tuple([self._table.entry(bound) for bound in held.bounds])
        return self._spend(entries, rows) if entries else None

    def spend(self, bounds: Sequence[Bound], cost: float) -> Allowance | None:
        """Spends of any bounds, of all or of none; a cost of 0 reads them. Raises OverBudget."""
        return self._spend([self._entry(bound) for bound in bounds], cost)

    def _entry(self, bound: Bound) -> Entry:
        entry = self._entries.get(bound)
        if entry is None:
            if len(self._entries) >= KNOWN:
                self._entries.clear()
            entry = self._entries[bound] = self._table.entry(bound)
        return entry

    def _spend(self, entries: Sequence[Entry], cost: float) -> Allowance | None:
        if len(entries) == 1 and entries[0].bound.every_s:  # one rate, which is the usual case
            (entry,) = entries
            bound = entry.bound
            by_s = cost * bound.every_s
            value = self._table.advance(entry, self._clock(), by_s, bound.depth_s, bound.most_s)
            if value > bound.most_s:
                raise self._refused([State(bound, value - by_s)], cost, self._wall())
            left = int((bound.depth_s - value) / bound.every_s + 1e-6)
            return Allowance(bound.limit, left if left > 0 else 0, value, bound.depth_s)
        return self._spend_all(entries, cost)

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
                enough = enough and left >= 0
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
