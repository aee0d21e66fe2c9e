"""Which budgets a caller falls under."""

from __future__ import annotations

from dataclasses import replace

from models.manifest import Limits as ModelLimits
from service.guard.budgets.budget import Bound, Spend
from service.guard.budgets.rules import KNOWN, NOTHING, Rules
from service.guard.principal import Budget, Principal, Scope
from service.sections import Limits

KEY = Principal("key:a", frozenset({Scope.INFER}))
ADDRESS = Principal("address:192.0.2.1", frozenset())
DEFAULTS = Limits(requests_per_s=10.0, requests_burst=30, rows_per_s=0.5, requests_per_day=1000)


class Opened:
    """Bounds that nobody spends of."""

    def __init__(self, bounds: tuple[Bound, ...]) -> None:
        self.bounds = bounds

    def __call__(self, cost: float) -> None:
        return None


def bounds(spend: Spend) -> tuple[Bound, ...]:
    assert isinstance(spend, Opened)
    return spend.bounds


def told(spend: Spend) -> dict[str, tuple[int, float]]:
    return {bound.name: (bound.limit, bound.every_s) for bound in bounds(spend)}


def test_nobody_is_bound_where_nothing_is_said() -> None:
    assert Rules(Limits(), {}).purse(Opened, KEY, "m") is NOTHING


def test_what_a_key_does_not_say_is_said_by_the_limits() -> None:
    rules = Rules(DEFAULTS, {})
    assert told(rules.purse(Opened, KEY, "m").requests) == {
        "requests_per_s * key:a": (30, 0.1),
        "requests_per_day * key:a": (1000, 0.0),
    }
    assert told(rules.purse(Opened, KEY, "m").rows) == {"rows_per_s * key:a": (1, 2.0)}  # one second's worth, and at least one


def test_a_rate_of_ones_own_has_nobody_elses_burst() -> None:
    own = replace(KEY, budget=Budget(requests_per_s=4.0))
    assert told(Rules(DEFAULTS, {}).purse(Opened, own, None).requests)["requests_per_s * key:a"] == (4, 0.25)
    burst = replace(KEY, budget=Budget(requests_burst=7))
    assert told(Rules(DEFAULTS, {}).purse(Opened, burst, None).requests)["requests_per_s * key:a"] == (7, 0.1)


def test_an_address_has_the_address_budget_in_place_of_a_callers() -> None:
    limits = DEFAULTS.model_copy(update={"address_requests_per_s": 2.0, "address_requests_burst": 5})
    found = bounds(Rules(limits, {}).purse(Opened, ADDRESS, None).requests)
    assert [(bound.key, bound.limit) for bound in found] == [("address_requests_per_s", 5), ("requests_per_day", 1000)]
    assert next(iter(bounds(Rules(DEFAULTS, {}).purse(Opened, ADDRESS, None).requests))).key == "requests_per_s"


def test_a_models_limits_are_each_callers_own_and_come_on_top() -> None:
    models = {"m": ModelLimits(requests_per_s=1.0, rows_per_s=8.0, rows_burst=80)}
    rules = Rules(DEFAULTS, models)
    assert told(rules.purse(Opened, KEY, "m").requests)["requests_per_s m key:a"] == (1, 1.0)
    assert told(rules.purse(Opened, KEY, "m").rows)["rows_per_s m key:a"] == (80, 0.125)
    assert len(bounds(rules.purse(Opened, KEY, "other").requests)) == 2


def test_a_budget_or_a_model_that_changes_counts_from_the_next_request_on() -> None:
    models = {"m": ModelLimits(requests_per_s=1.0)}
    rules = Rules(Limits(), models)
    first = rules.purse(Opened, KEY, "m")
    assert rules.purse(Opened, KEY, "m") is first
    models["m"] = ModelLimits(requests_per_s=2.0)
    assert told(rules.purse(Opened, KEY, "m").requests)["requests_per_s m key:a"] == (2, 0.5)
    assert told(rules.purse(Opened, replace(KEY, budget=Budget(requests_per_s=9.0)), "m").requests).keys() == {
        "requests_per_s * key:a",
        "requests_per_s m key:a",
    }


def test_names_of_models_that_nobody_has_take_no_place() -> None:
    rules = Rules(DEFAULTS, {})
    assert rules.purse(Opened, KEY, "one") is rules.purse(Opened, KEY, "other")


def test_callers_that_are_remembered_are_bounded() -> None:
    rules = Rules(DEFAULTS, {})
    first = rules.purse(Opened, KEY, None)
    for number in range(KNOWN):
        rules.purse(Opened, Principal(f"address:{number}", frozenset()), None)
    assert rules.purse(Opened, KEY, None) is not first
