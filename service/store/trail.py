"""Admin acts that changed nothing, on their way to the audit: refused, or failed before anything was written.

Who may do nothing must not be able to fill the disk by trying, so these lines have a pace; how many were left out is in the next.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

from service.errors import StoreUnavailable
from service.store.audit import Asked, Entry
from service.store.control import ControlStore

log = logging.getLogger("tureen.audit")

#: So many lines at once, and then one each so many seconds, a worker: at most some 3 MB a day.
BURST: Final = 20
EVERY_S: Final = 10.0


class Trail:
    """One worker's way to tell of them. Called on the event loop; written in ``threads``."""

    def __init__(self, store: ControlStore | None, threads: Executor, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._threads = threads
        self._clock = clock
        self._due = float("-inf")
        self._left_out = 0

    def refused(self, asked: Asked, action: str, target: str, why: str) -> None:
        """Somebody was not let do something that asks for the scope admin."""
        self._tell(asked, action, target, "refused", why)

    def failed(self, asked: Asked, action: str, target: str, why: str) -> None:
        """Somebody asked for what cannot be had, and nothing was changed."""
        self._tell(asked, action, target, "failed", why)

    def _tell(self, asked: Asked, action: str, target: str, outcome: str, why: str) -> None:
        """Writes a line where its turn has come; returns at once."""
        now = self._clock()
        if self._store is None:
            return
        if self._due > now + (BURST - 1) * EVERY_S:
            self._left_out += 1
            return
        self._due = max(self._due, now) + EVERY_S
        left_out, self._left_out = self._left_out, 0
        detail: dict[str, object] = {"why": why} | ({"left_out": left_out} if left_out else {})
        entry = Entry(asked.actor, action, target, outcome, detail, source=asked.source, request_id=asked.request_id)
        try:
            self._threads.submit(_write, self._store, entry)
        except RuntimeError:  # the worker ends: its threads take nothing more
            log.warning("the audit was not told of the %s %s of %s by %s: the worker ends", outcome, action, target, asked.actor)


def _write(store: ControlStore, entry: Entry) -> None:
    try:
        store.append(entry)
    except StoreUnavailable as error:
        what = f"{entry.action} of {entry.target} by {entry.actor}"
        log.warning("the audit was not told of the %s %s: %s", entry.outcome, what, error)
