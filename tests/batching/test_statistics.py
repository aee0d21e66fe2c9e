"""Counters: what each batch and each entry add."""

from __future__ import annotations

from batching.entry import Batch
from batching.statistics import Statistics, Tally


def test_a_tally_adds_counts_and_nanoseconds() -> None:
    tally = Tally()
    tally.add(0.5)
    tally.add(0.25, 3)
    assert tally == Tally(4, 750_000_000)


def test_batches_are_counted_in_all_by_their_rows_and_by_why_they_closed() -> None:
    statistics = Statistics()
    for rows, reason in ((4, "full"), (4, "idle"), (1, "idle")):
        batch = Batch("full" if reason == "full" else "idle", rows, [], 0.0, collate_s=1.0, call_s=2.0, scatter_s=3.0)
        statistics.called(batch)
    assert statistics.total.call == Tally(3, 6_000_000_000)
    assert {rows: calls.collate.count for rows, calls in statistics.by_rows.items()} == {4: 2, 1: 1}
    assert statistics.by_rows[4].scatter == Tally(2, 6_000_000_000)
    assert statistics.closes == {"full": 1, "idle": 2}
