"""What goes over a limit is counted under its key, over workers' lives."""

from __future__ import annotations

from service.guard.limited import Limited
from service.metrics.cells import Cells


def counted(cells: Cells) -> dict[tuple[str, ...], list[float]]:
    return dict(cells.read(0))


def test_each_limit_is_counted_for_itself_and_a_successor_counts_on() -> None:
    cells = Cells.create(1)
    limited = Limited(cells.region(0))
    for limit in ("connections", "body_bytes", "connections"):
        limited.count(limit)
    Limited(Cells.attach(cells.fd, 1).region(0)).count("connections")
    assert counted(cells) == {("tureen_limited", "connections"): [3.0], ("tureen_limited", "body_bytes"): [1.0]}


def test_without_metrics_nothing_is_counted() -> None:
    Limited().count("connections")
