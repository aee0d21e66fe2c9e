"""Waiting for what another process does: as long as it takes, and not for ever."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Longer than anything here takes on a busy machine (seconds).
PATIENCE_S = 30.0


def until(condition: Callable[[], bool], what: str) -> None:
    """Returns once the condition holds. Raises AssertionError, naming what was waited for."""
    last = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > last:
            raise AssertionError(f"waited {PATIENCE_S:g} s in vain until {what}")
        time.sleep(0.005)
