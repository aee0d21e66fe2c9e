"""What the load in steps asks, and what it holds the server to."""

from __future__ import annotations

import pytest

from loadtests.steps import REFUSED, Seconds, missed, steps, table
from service.commands.bench.record import Told


def recorded(*seconds: tuple[float, int]) -> Seconds:
    """A hundred answers in each second that took so long (seconds), and so many refusals."""
    record = Seconds(float(len(seconds)))
    record.begin(100.0)
    for number, (latency_s, refused) in enumerate(seconds):
        for request in range(100):
            due = 100 + number + request / 100
            record.answered(due, due + latency_s, 1, Told())
        for _ in range(refused):
            record.failure(REFUSED, 100.5 + number, "")
    return record


def test_each_rate_is_asked_for_its_own_time() -> None:
    due = list(steps([10, 1000, 10], 5))
    assert due == sorted(due)
    assert [sum(5 * step <= at < 5 * step + 5 for at in due) for step in range(3)] == pytest.approx([50, 5000, 50], rel=0.5)


def test_the_first_second_after_a_step_may_be_late_and_no_other() -> None:
    record = recorded((0.05, 0), (0.01, 0), (0.05, 0), (0.05, 0))
    assert [line.partition(":")[0] for line in missed(record.by_second, 2, 20.0)] == ["second 3"]


def test_a_latency_counts_in_the_second_in_which_the_request_was_due() -> None:
    assert [second.latency.count for second in recorded((2.5, 0), (2.5, 0)).by_second] == [100, 100]


def test_what_is_refused_for_the_target_is_told_and_no_fault_but_other_failures_are() -> None:
    record = recorded((0.01, 30), (0.01, 40))
    assert list(missed(record.by_second, 2, 20.0)) == []
    assert [line.split()[3] for line in table(record.by_second, [100], 2)][1:] == ["30", "40"]
    record.failure("500 internal", 101.5, "")
    assert list(missed(record.by_second, 2, 20.0)) == ["second 1: 1 requests: 500 internal"]
