"""Budgets in memory: all or none is spent, by all workers together."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import OverBudget
from service.guard.budgets.budget import DAY_S, Allowance, Bound
from service.guard.budgets.memory import MemoryBudgets
from service.guard.budgets.rules import Rules
from service.guard.budgets.tables import Tables
from service.guard.limited import Limited
from service.guard.principal import Principal, Scope
from service.sections import Limits

KEY = Principal("key:a", frozenset({Scope.INFER}))


class Clock:
    """Both clocks, set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return 20_000 * DAY_S + self.now


def workers(limits: Limits, count: int = 1) -> tuple[Clock, list[MemoryBudgets]]:
    clock, tables, rules = Clock(), Tables.create(count, 1024), Rules(limits, {})
    return clock, [MemoryBudgets(rules, tables.table(slot), Limited(), None, clock, clock.wall) for slot in range(count)]


def admitted(budgets: MemoryBudgets, principal: Principal = KEY) -> bool:
    try:
        budgets.purse(principal, "m").requests(1)
    except OverBudget:
        return False
    return True


def test_two_workers_spend_of_one_budget() -> None:
    clock, (one, two) = workers(Limits(requests_per_s=1.0, requests_burst=4), 2)
    assert [admitted(worker) for worker in (one, two, one, two, one, two)] == [True] * 4 + [False] * 2
    clock.now += 1.0
    assert [admitted(two), admitted(one)] == [True, False]


def test_each_caller_has_a_budget_of_its_own() -> None:
    _, (budgets,) = workers(Limits(requests_per_s=1.0))
    assert admitted(budgets)
    assert not admitted(budgets)
    assert admitted(budgets, Principal("key:b", frozenset()))


def test_what_one_budget_refuses_no_other_is_spent_of() -> None:
    clock, (budgets,) = workers(Limits(requests_per_s=1.0, requests_burst=2, requests_per_day=3))
    assert [admitted(budgets) for _ in range(3)] == [True, True, False]
    clock.now += 10.0
    assert [admitted(budgets) for _ in range(2)] == [True, False]  # of the day one was left, not none
    clock.now += DAY_S
    assert admitted(budgets)


def test_rows_are_spent_as_many_as_come() -> None:
    _, (budgets,) = workers(Limits(rows_per_s=1.0, rows_burst=10))
    rows = budgets.purse(KEY, "m").rows
    left = rows(7)
    assert isinstance(left, Allowance)
    assert (left.bound.limit, left.remaining, left.reset_s) == (10, 3, 7.0)
    with pytest.raises(OverBudget) as refused:
        rows(4)
    assert refused.value.retry_after_s == pytest.approx(1.0)
    assert rows(3) is not None


def test_what_is_given_back_can_be_spent_again() -> None:
    for limits in (
        Limits(rows_per_s=1.0, rows_burst=3),
        Limits(rows_per_day=3),
        Limits(rows_per_s=1.0, rows_burst=3, rows_per_day=3),
    ):
        _, (budgets,) = workers(limits)
        rows = budgets.purse(KEY, "m").rows
        rows(-1)  # of a whole one there is nothing to give back
        rows(3)
        with pytest.raises(OverBudget):
            rows(1)
        rows(-1)
        rows(1)
        with pytest.raises(OverBudget):
            rows(1)


def test_a_request_and_its_row_are_spent_together_or_not_at_all() -> None:
    _, (budgets,) = workers(Limits(requests_per_s=1.0, requests_burst=5, rows_per_s=1.0, rows_burst=2))
    purse = budgets.purse(KEY, "m")
    purse.both(1)
    purse.both(1)
    for _ in range(3):
        with pytest.raises(OverBudget) as refused:
            purse.both(1)
        assert refused.value.key == "rows_per_s"
    left = purse.requests(0)
    assert isinstance(left, Allowance)
    assert left.remaining == 3


def test_who_has_no_bound_is_told_of_none() -> None:
    _, (budgets,) = workers(Limits())
    purse = budgets.purse(KEY, "m")
    assert purse.requests(1) is None
    assert purse.rows(10**9) is None


def test_spending_nothing_reads() -> None:
    _, (budgets,) = workers(Limits())
    bounds = (Bound("route r key:a", "rate_limit", "requests", 3, 1.0),)
    budgets.open(bounds)(1)
    for _ in range(5):
        left = budgets.open(bounds)(0)
        assert isinstance(left, Allowance)
        assert left.remaining == 2


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 8)), max_size=80))
def test_in_any_second_all_workers_together_let_through_no_more_than_rate_and_burst(asked: list[tuple[int, int, int]]) -> None:
    clock, group = workers(Limits(requests_per_s=4.0, requests_burst=6), 3)
    passed: list[tuple[float, str]] = []
    for worker, caller, pause in asked:
        clock.now += pause / 8
        name = f"key:{caller}"
        if admitted(group[worker], Principal(name, frozenset())):
            passed.append((clock.now, name))
    for start, name in passed:
        within = [at for at, who in passed if who == name and start <= at <= start + 1.0]
        assert len(within) <= 6 + 4
