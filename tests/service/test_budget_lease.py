"""Units taken in advance: nobody is let through more for it, and near its end a budget is counted unit by unit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import OverBudget
from service.guard.budgets.budget import Allowance, Bound, SpendAtOnce
from service.guard.budgets.lease import MOST, SHARE
from service.guard.budgets.memory import MemoryBudgets
from service.guard.budgets.rules import Rules
from service.guard.budgets.tables import Tables
from service.guard.limited import Limited
from service.sections import Limits

LARGE = MOST * SHARE
#: So slow that nothing comes back in a test.
NEVER_S = 1e6


class Clock:
    """Set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def spends(workers: int, *limits: int, every_s: float = NEVER_S) -> tuple[Clock, list[SpendAtOnce], list[SpendAtOnce]]:
    """Each worker's spending, and beside it one that reads what all have spent."""
    clock, tables = Clock(), Tables.create(workers, 1024)
    bounds = tuple([Bound(f"rate {number} key:a", "rate", "requests", limit, every_s) for number, limit in enumerate(limits)])
    budgets = [MemoryBudgets(Rules(Limits(), {}), tables.table(slot), Limited(), None, clock, clock) for slot in range(workers)]
    return clock, [each.open(bounds) for each in budgets], [each.open(bounds) for each in budgets]


def let_through(spend: SpendAtOnce, cost: float = 1) -> bool:
    try:
        spend(cost)
    except OverBudget:
        return False
    return True


def left(spend: SpendAtOnce) -> int:
    told = spend(0)
    assert isinstance(told, Allowance)
    return told.remaining


def test_who_has_plenty_left_spends_several_with_one_look() -> None:
    _, (spend,), (look,) = spends(1, LARGE)
    spend(1)
    assert left(look) == LARGE - 1 - MOST
    for _ in range(MOST):
        spend(1)
    assert left(look) == LARGE - 1 - MOST


def test_what_was_taken_is_spent_whenever_and_what_is_told_stays_fresh() -> None:
    clock, (spend,), (look,) = spends(1, LARGE, every_s=1.0)
    for _ in range(1 + MOST // 2):
        spend(1)
    clock.now += 10
    told = spend(1)
    assert isinstance(told, Allowance)
    assert told.remaining == left(look) == LARGE - 1 - MOST + 10


@pytest.mark.parametrize("limit", [1, 100, 2 * SHARE - 1])
def test_of_a_small_budget_nothing_is_taken_in_advance(limit: int) -> None:
    _, (spend,), (look,) = spends(1, limit)
    for spent in range(limit):
        spend(1)
        assert left(look) == limit - spent - 1
    assert not let_through(spend)


def test_of_half_a_budget_nothing_is_taken_in_advance() -> None:
    _, (spend,), (look,) = spends(1, LARGE)
    look(LARGE // 2)
    spend(1)
    assert left(look) == LARGE // 2 - 1


def test_the_smallest_of_several_says_how_much_and_the_largest_how_long() -> None:
    _, (spend,), (look,) = spends(1, 2 * SHARE, LARGE)
    spend(1)
    assert left(look) == 2 * SHARE - 1  # which is less than half of the larger one


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 1, 1, 40, 700]), st.integers(0, 3)), max_size=60))
def test_workers_never_let_more_through_than_there_is_and_keep_back_next_to_nothing(asked: list[tuple[int, int, int]]) -> None:
    limit = 4 * SHARE
    clock, workers, _ = spends(3, limit)
    passed = 0
    for worker, cost, pause in asked:
        clock.now += pause / 100
        if cost and let_through(workers[worker], cost):
            passed += cost
    for spend in workers:
        while let_through(spend):
            passed += 1
    assert limit - 3 * (limit // SHARE) <= passed <= limit
