"""quart-rate-limiter's store over our budgets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from service.guard.budgets.memory import MemoryBudgets
from service.guard.budgets.rules import Rules
from service.guard.budgets.tables import Tables
from service.guard.limited import Limited
from service.rate_limits import Store
from service.sections import Limits


def stores() -> list[Store]:
    """Those of two workers."""
    tables, rules = Tables.create(2, 1024), Rules(Limits(), {})
    return [Store(MemoryBudgets(rules, tables.table(slot), Limited())) for slot in range(2)]


async def test_a_key_that_nobody_has_set_has_the_default() -> None:
    default = datetime(2020, 1, 1, tzinfo=UTC)
    assert await stores()[0].get("a key", default) == default


async def test_every_worker_reads_the_latest_time_that_any_has_set() -> None:
    one, two = stores()
    now = datetime.now(UTC)
    await one.set("a key", now + timedelta(hours=1))
    await two.set("a key", now + timedelta(hours=2))
    await one.set("a key", now + timedelta(minutes=5))
    for store in (one, two):
        assert abs(await store.get("a key", now) - now - timedelta(hours=2)) < timedelta(seconds=5)


async def test_a_time_that_has_passed_is_none() -> None:
    one, _ = stores()
    now = datetime.now(UTC)
    await one.set("a key", now - timedelta(seconds=1))
    assert await one.get("a key", now) == now
