"""Waking an event loop at a time, to some ten microseconds.

Event loops count in milliseconds: their own timers would make a request that is due at once start up to one too late, which is more
than a fast model takes. Linux's timerfd is a file that can be read once a time has come, and loops wait for files exactly.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable

_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC = 1, os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)


class _Times(ctypes.Structure):
    """`struct itimerspec` of one ring, without a repetition."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Alarm:
    """Calls ``ring`` on the loop when a time that was set has come; the loop's own timers where there is no timerfd."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop, self._ring = loop, ring
        self._handle: asyncio.TimerHandle | None = None
        self._set = _timerfd_settime()
        self._times = _Times()
        self._fd = -1 if self._set is None else _timerfd_create()
        if self._fd >= 0:
            loop.add_reader(self._fd, self._came)

    def set(self, seconds: float) -> None:
        """Rings once after so many seconds, and not when it would have rung before."""
        if self._fd < 0 or self._set is None:
            self.stop()
            self._handle = self._loop.call_later(max(seconds, 0.0), self._ring)
            return
        ns = max(1, int(seconds * 1e9))  # 0 would stop it
        self._times.value_s, self._times.value_ns = divmod(ns, 1_000_000_000)
        self._set(self._fd, 0, ctypes.byref(self._times), None)

    def stop(self) -> None:
        """Does not ring."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._fd >= 0 and self._set is not None:
            self._times.value_s = self._times.value_ns = 0
            self._set(self._fd, 0, ctypes.byref(self._times), None)

    def close(self) -> None:
        """Never rings again."""
        self.stop()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _came(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # it was set anew meanwhile
            return
        self._ring()


def _timerfd_settime() -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    found: Callable[..., int] | None = getattr(ctypes.CDLL(None, use_errno=True), "timerfd_settime", None)
    return found


def _timerfd_create() -> int:
    """A descriptor; -1 where the system gives none."""
    return int(ctypes.CDLL(None, use_errno=True).timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC))
