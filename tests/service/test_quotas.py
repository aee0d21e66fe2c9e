"""What is spent of a day's quota, kept over restarts."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from service.guard.budgets.budget import DAY_S, Bound
from service.guard.budgets.quotas import Quotas, restore
from service.guard.budgets.tables import Table, Tables
from service.store import ControlStore, prepare

DAY = 20_000
NOW = DAY * DAY_S + 100.0


def quota(who: str) -> Bound:
    return Bound(f"requests_per_day * {who}", "requests_per_day", "requests", 10, 0.0)


@pytest.fixture
def store(tmp_path: Path) -> ControlStore:
    prepare(tmp_path)
    return ControlStore(tmp_path)


async def spend(table: Table, store: ControlStore, **units: int) -> None:
    """Spends, and closes as a worker does."""
    quotas = Quotas(store, lambda: NOW)
    quotas.start(table)
    for who, number in units.items():
        count(table, quotas, who.replace("_", ":"), number)
    await quotas.close()


def count(table: Table, quotas: Quotas, who: str, number: int) -> None:
    """What a worker does where somebody spends."""
    entry = table.entry(quota(who))
    table.add(entry, DAY, number)
    quotas.spent(entry)


def restored(store: ControlStore, who: str, now: float = NOW) -> int:
    """What a server that starts then knows to be spent."""
    tables = Tables.create(3, 64)
    restore(tables, 2, store, now)
    table = tables.table(0)
    return table.count(table.entry(quota(who)), int(now // DAY_S), 1.0)


async def test_what_was_spent_is_known_after_a_restart_until_the_day_is_over(store: ControlStore) -> None:
    await spend(Tables.create(1, 64).table(0), store, key_a=3, jwt_b=4)
    assert [restored(store, who) for who in ("key:a", "jwt:b", "key:c")] == [3, 4, 0]
    assert restored(store, "key:a", NOW + DAY_S) == 0


async def test_each_worker_tells_the_whole_and_the_largest_is_kept(store: ControlStore) -> None:
    tables = Tables.create(2, 64)
    one, two = tables.table(0), tables.table(1)
    await spend(one, store, key_a=3)
    await spend(two, store, key_a=2)
    assert store.spent(DAY, 10) == {"requests_per_day * key:a": 5}
    store.keep_spent(DAY, {"requests_per_day * key:a": 4})  # a worker that read before the other wrote
    assert restored(store, "key:a") == 5


async def test_a_restarted_server_goes_on_counting(store: ControlStore) -> None:
    await spend(Tables.create(1, 64).table(0), store, key_a=3)
    tables = Tables.create(2, 64)
    restore(tables, 1, store, NOW)
    await spend(tables.table(0), store, key_a=2)
    assert restored(store, "key:a") == 5


async def test_addresses_are_not_written_down(store: ControlStore) -> None:
    await spend(Tables.create(1, 64).table(0), store, **{"address:192.0.2.1": 1})
    assert store.spent(DAY, 10) == {}


async def test_a_day_gone_by_leaves_nothing_behind(store: ControlStore) -> None:
    store.keep_spent(DAY - 1, {"requests_per_day * key:old": 9, "requests_per_day * key:a": 9})
    await spend(Tables.create(1, 64).table(0), store, key_a=3)
    with sqlite3.connect(store.path) as connection:
        rows = connection.execute("SELECT name, day, units FROM spent").fetchall()
    connection.close()
    assert rows == [("requests_per_day * key:a", DAY, 3)]


async def test_what_could_not_be_written_is_written_the_next_time(store: ControlStore) -> None:
    table = Tables.create(1, 64).table(0)
    quotas = Quotas(store, lambda: NOW)
    quotas.start(table)
    count(table, quotas, "key:a", 1)
    hidden = store.path.rename(store.path.with_suffix(".away"))
    await quotas.keep()
    hidden.rename(store.path)
    await quotas.close()
    assert store.spent(DAY, 10) == {"requests_per_day * key:a": 1}


async def test_without_its_store_a_server_begins_anew(tmp_path: Path) -> None:
    tables = Tables.create(2, 64)
    await asyncio.to_thread(restore, tables, 1, ControlStore(tmp_path / "nowhere"), NOW)
    table = tables.table(0)
    assert table.count(table.entry(quota("key:a")), DAY, 1.0) == 0
