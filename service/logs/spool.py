"""What is to be written, on its way from the event loop to a thread that may wait for a disk or a pipe.

Whoever puts something in never waits: past the bound it is dropped, and counted. The thread sleeps until something comes, lets more
of it gather, and then takes many at a time, since each wake-up and each write costs the event loop its turn at the GIL.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")

#: How long what has come waits for company (seconds), and how much of it is taken at once: some 0.3 ms of the GIL.
GATHER_S, CHUNK = 0.05, 128


class Spool(Generic[Item]):
    """A bounded queue in front of a daemon thread that calls ``take`` with what was put in, in order, ``CHUNK`` items at most."""

    def __init__(self, name: str, take: Callable[[list[Item]], None], capacity: int) -> None:
        self._take = take
        self._capacity = capacity
        self._queue: deque[Item | threading.Event] = deque()
        self._asleep = True
        self._closing = False
        self._wake = threading.Event()
        self._hurry = threading.Lock()  # a lock is waited for in C; an event would take the GIL again and again
        self._hurry.acquire()
        self._counting = threading.RLock()  # a signal's handler may log, and so may what it interrupts
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many items found no room, or were lost with an error of ``take``."""
        return self._dropped

    def put(self, item: Item) -> bool:
        """Whether there was room for it. From any thread; never waits."""
        queue = self._queue
        if len(queue) >= self._capacity:
            self._drop(1)
            return False
        queue.append(item)
        if self._asleep:
            self._asleep = False
            self._wake.set()
        return True

    def flush(self, timeout_s: float) -> bool:
        """Waits until all that was put in before has been taken; whether it was, in that time."""
        if not self._thread.is_alive():
            return not self._queue
        mark = threading.Event()
        self._queue.append(mark)
        self._asleep = False
        with contextlib.suppress(RuntimeError):  # somebody else hurries it too
            self._hurry.release()
        self._wake.set()
        return mark.wait(timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Flushes, then ends the thread; what it waits for is left behind after that time."""
        flushed = self.flush(timeout_s)
        self._closing = True
        self._wake.set()
        if flushed:
            self._thread.join(timeout_s)
        return flushed

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait()
            self._wake.clear()
            self._asleep = False
            self._hurry.acquire(timeout=GATHER_S)
            while self._queue:
                while self._queue:
                    self._take_some()
                self._hurry.acquire(timeout=GATHER_S)
            self._asleep = True
            if self._queue:  # put in before it could be seen that nobody is awake
                self._wake.set()

    def _take_some(self) -> None:
        items: list[Item] = []
        mark = None
        queue = self._queue
        while queue and len(items) < CHUNK:
            item = queue.popleft()
            if isinstance(item, threading.Event):
                mark = item
                break
            items.append(item)
        if items:
            try:
                self._take(items)
            except Exception:  # whatever it was, the next ones are to be written
                self._drop(len(items))
        if mark is not None:
            mark.set()

    def _drop(self, count: int) -> None:
        with self._counting:
            self._dropped += count
