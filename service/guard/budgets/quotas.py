"""Keeps what is spent of quotas where a restart does not lose it: every few seconds, by a thread, and at the end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from service.errors import StoreUnavailable
from service.guard.budgets.budget import DAY_S, Bound
from service.guard.budgets.rules import ADDRESS
from service.guard.budgets.tables import Entry, Table, Tables
from service.store import ControlStore

log = logging.getLogger("tureen.budgets")

#: How often (seconds). A server that is killed loses what was spent since.
KEEP_S: Final = 5.0
#: So many are remembered between two writings; who is forgotten here is written when it next spends.
MOST: Final = 65_536


class Quotas:
    """One worker's part: what it has spent of since it last wrote. Callers that only their address is known of are not kept."""

    def __init__(self, store: ControlStore, wall: Callable[[], float] = time.time) -> None:
        self._store = store
        self._wall = wall
        self._entries: dict[str, Entry] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tureen-quotas")
        self._table: Table | None = None
        self._task: asyncio.Task[None] | None = None
        self._troubled = False

    def spent(self, entry: Entry) -> None:
        """There was spent of that one."""
        name = entry.bound.name
        if len(self._entries) < MOST and not name.split(" ", 2)[2].startswith(ADDRESS):
            self._entries[name] = entry

    def start(self, table: Table) -> None:
        """Writes what ``table`` says from now on."""
        self._table = table
        self._task = asyncio.get_running_loop().create_task(self._keep_on())

    async def close(self) -> None:
        """Writes a last time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.keep()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def keep(self) -> None:
        """Writes what was spent of since the last time; where that fails, the next writing has it too."""
        table, entries = self._table, self._entries
        if table is None or not entries:
            return
        self._entries = {}
        day = int(self._wall() // DAY_S)
        counts = {name: table.count(entry, day, time.monotonic()) for name, entry in entries.items()}
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._store.keep_spent, day, counts)
        except StoreUnavailable as error:
            self._entries = {**entries, **self._entries}
            if not self._troubled:
                log.warning("%s; what is spent of quotas would not outlive the server, and it is tried again", error)
            self._troubled = True
        else:
            self._troubled = False

    async def _keep_on(self) -> None:
        while True:
            await asyncio.sleep(KEEP_S)
            await self.keep()


def restore(tables: Tables, slot: int, store: ControlStore, now: float) -> None:
    """Puts what was spent today into a line that has no worker; where it cannot be read, that is said and the day begins anew."""
    day = int(now // DAY_S)
    try:
        spent = store.spent(day, tables.entries)
    except StoreUnavailable as error:
        log.warning("%s; what was spent of today's quotas is forgotten", error)
        return
    table = tables.table(slot, rates=False)
    for name, units in spent.items():
        table.add(table.entry(Bound(name, "", "requests", 0, 0.0)), day, units)
