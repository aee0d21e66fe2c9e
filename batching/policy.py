"""How a batcher behaves: the settings of one model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

#: Lanes that an entry may gain by waiting while its default time runs: from low to high in the first half of it, so that the other
#: half is left for what goes before it then.
GAINS = 4
#: A longer head start would be no priority but an exclusion (seconds).
LONGEST_S = 15.0


@dataclass(frozen=True, slots=True)
class Policy:
    """Rows in one call; how long the oldest entry may wait for company; calls in flight; rows that may queue.

    ``target_p99_ms``: what 99 of 100 accepted entries are to be answered within, by fewer rows and less wait: see ``target``.
    """

    max_rows: int = 64
    window_ms: float = 2.0
    close: Literal["early", "full"] = "early"
    instances: int = 1
    queue_rows: int = 1024
    timeout_ms: float = 1000.0
    target_p99_ms: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_rows", "instances", "queue_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
        if not (math.isfinite(self.window_ms) and self.window_ms >= 0):
            raise ValueError(f"window_ms is {self.window_ms}; expected 0 or more milliseconds")
        if not self.timeout_ms > 0:
            raise ValueError(f"timeout_ms is {self.timeout_ms}; expected more than 0 milliseconds")
        if self.close not in ("early", "full"):
            raise ValueError(f"close is {self.close!r}; expected 'early' or 'full'")
        if self.target_p99_ms is not None and not 0 < self.target_p99_ms < self.timeout_ms:
            below = f"less than timeout_ms, which is {self.timeout_ms:g}"
            raise ValueError(f"target_p99_ms is {self.target_p99_ms}; expected more than 0 milliseconds and {below}")

    @property
    def window_s(self) -> float:
        """The window in seconds."""
        return self.window_ms / 1000

    @property
    def timeout_s(self) -> float:
        """The default time that an entry has, in seconds."""
        return self.timeout_ms / 1000

    @property
    def target_s(self) -> float | None:
        """The target in seconds; None where there is none."""
        return None if self.target_p99_ms is None else self.target_p99_ms / 1000

    @property
    def ageing_s(self) -> float:
        """The wait for which an entry counts as one lane higher, in seconds: see ``priority``."""
        return min(self.timeout_s / GAINS, LONGEST_S)
