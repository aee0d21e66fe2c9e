"""What a batcher has done so far: plain counters, read by whoever reports them. Durations in nanoseconds;
``last_call_at`` in seconds since the epoch."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from batching.entry import Batch


@dataclass(slots=True)
class Tally:
    """How often, and how long in all."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float, count: int = 1) -> None:
        """Counts so many more that took so long in all."""
        self.count += count
        self.ns += int(seconds * 1e9)


@dataclass(slots=True)
class Calls:
    """The calls of one size."""

    collate: Tally = field(default_factory=Tally)
    call: Tally = field(default_factory=Tally)
    scatter: Tally = field(default_factory=Tally)

    def add(self, batch: Batch) -> None:
        """Counts one more call."""
        self.collate.add(batch.collate_s)
        self.call.add(batch.call_s)
        self.scatter.add(batch.scatter_s)


@dataclass(slots=True)
class Statistics:
    """Counters of one batcher since it was made."""

    success: Tally = field(default_factory=Tally)
    fail: Tally = field(default_factory=Tally)
    queue: Tally = field(default_factory=Tally)
    rows: int = 0
    refused: int = 0
    refused_for_target: int = 0  # of these
    expired: int = 0
    cancelled: int = 0
    defects: int = 0
    last_call_at: float = 0.0
    total: Calls = field(default_factory=Calls)
    by_rows: dict[int, Calls] = field(default_factory=dict)
    closes: Counter[str] = field(default_factory=Counter)

    def called(self, batch: Batch) -> None:
        """Counts one more batch. Sizes are at most ``max_rows``, so ``by_rows`` is bounded."""
        self.last_call_at = time.time()
        self.total.add(batch)
        sized = self.by_rows.get(batch.rows)
        if sized is None:
            sized = self.by_rows[batch.rows] = Calls()
        sized.add(batch)
        self.closes[batch.reason] += 1
