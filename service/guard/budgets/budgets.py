"""What budgets are kept in, as the gate sees it. ``memory`` keeps them for one machine's workers, ``redis`` for many machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from models.manifest import Limits as ModelLimits
from service.config import Config
from service.guard.budgets.budget import Bound, Spend
from service.guard.budgets.memory import MemoryBudgets
from service.guard.budgets.quotas import Quotas, restore
from service.guard.budgets.rules import Purse, Rules
from service.guard.budgets.tables import Tables
from service.guard.limited import Limited
from service.guard.principal import Principal
from service.password import password_of
from service.processes.place import Place
from service.store import ControlStore


class Budgets(Protocol):
    """``immediate``: never answers with a future, so that the gate needs nobody to wait. ``models``: what one caller may ask of
    each model that says so."""

    immediate: bool
    models: Mapping[str, ModelLimits]

    def purse(self, principal: Principal, model: str | None, /) -> Purse:
        """What he is held to who asks that model, or none."""

    def open(self, bounds: tuple[Bound, ...]) -> Spend:
        """What spends of any bounds."""

    async def start(self) -> None:
        """The app is served."""

    async def close(self) -> None:
        """The app has done its last."""


def open_budgets(
    config: Config,
    place: Place,
    models: Mapping[str, ModelLimits] = MappingProxyType({}),
    limited: Limited | None = None,
    stood_in: Callable[[], None] | None = None,
) -> Budgets:
    """Those that the configuration asks for. ``models``: what one caller may ask of each model that says so; it may change.
    ``limited`` counts what is refused, and ``stood_in`` is told of each spending that Redis did not answer. Raises ConfigError."""
    limits, limited = config.limits, limited or Limited()
    rules = Rules(limits, models)
    lasting = ControlStore(place.state) if place.state is not None and config.store.state_dir is not None else None
    tables = place.budgets or open_tables(len(place.board), limits.budget_entries, lasting)
    quotas = None if lasting is None or limits.redis_url is not None else Quotas(lasting)
    memory = MemoryBudgets(rules, tables.table(place.slot), limited, quotas)
    if limits.redis_url is None:
        return memory
    # They take a while to import, and most servers have no use for them.
    from service.guard.budgets.redis import RedisBudgets

    password = password_of(limits.redis_password_file, "[limits] redis_password_file")
    timeout_s = limits.redis_timeout_ms / 1000
    return RedisBudgets(rules, memory, limited, limits.redis_url, password, timeout_s, stood_in or (lambda: None))


def open_tables(lines: int, entries: int, lasting: ControlStore | None) -> Tables:
    """New ones for so many lines of a board, with what was spent of the day's quotas before this server was started."""
    tables = Tables.create(lines + 1, entries)
    if lasting is not None:
        restore(tables, lines, lasting, time.time())
    return tables
