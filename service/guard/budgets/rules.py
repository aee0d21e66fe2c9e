"""Which budgets a caller falls under: its own, what `[limits]` says for all that say nothing themselves, and a model's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from models.manifest import Limits as ModelLimits
from service.guard.budgets.budget import Bound, Spend, Unit
from service.guard.principal import UNBOUNDED, Budget, Principal
from service.sections import Limits

#: How principals are called that only their address is known of.
ADDRESS: Final = "address:"
#: Callers that are not looked up anew each time; past it, all are once more.
KNOWN: Final = 8192


class Purse:
    """What one caller is held to who asks one model: spends of its ``requests``, of its ``rows``, and of ``both`` as much. Good
    while its budget and the model's are the same objects as when it was looked up."""

    __slots__ = ("both", "budget", "limits", "requests", "rows")

    def __init__(self, budget: Budget, limits: ModelLimits | None, requests: Spend, rows: Spend, both: Spend) -> None:
        self.budget = budget
        self.limits = limits
        self.requests = requests
        self.rows = rows
        self.both = both


def unbounded(cost: float) -> None:
    """Spends of no bounds."""


#: That of callers where nobody says anything.
NOTHING: Final = Purse(UNBOUNDED, None, unbounded, unbounded, unbounded)


class Rules:
    """``models``: what one caller may ask of those models that say so."""

    __slots__ = ("_address", "_any", "_defaults", "_purses", "models")

    def __init__(self, limits: Limits, models: Mapping[str, ModelLimits]) -> None:
        self._defaults = Budget(
            limits.requests_per_s,
            limits.requests_burst,
            limits.rows_per_s,
            limits.rows_burst,
            limits.requests_per_day,
            limits.rows_per_day,
        )
        self._address = (limits.address_requests_per_s, limits.address_requests_burst)
        self._any = self._defaults != UNBOUNDED or self._address[0] is not None
        self.models = models
        self._purses: dict[str, Purse] = {}

    def purse(self, open_: Callable[[tuple[Bound, ...]], Spend], principal: Principal, model: str | None) -> Purse:
        """What a request falls under, spent as ``open_`` has it. Names of models are the caller's to invent: only those that say
        something count."""
        if not self._any and principal.budget is UNBOUNDED and not self.models:
            return NOTHING
        limits = None if model is None else self.models.get(model)
        name = principal.name if limits is None else f"{principal.name} {model}"
        purse = self._purses.get(name)
        if purse is None or purse.budget is not principal.budget or purse.limits is not limits:
            if len(self._purses) >= KNOWN:
                self._purses.clear()
            requests, rows = self._of_request(principal, model, limits), self._of_rows(principal, model, limits)
            asks, counts = open_(requests), open_(rows)
            both = open_(requests + rows) if requests and rows else asks if requests else counts
            purse = self._purses[name] = Purse(principal.budget, limits, asks, counts, both)
        return purse

    def _of_request(self, principal: Principal, model: str | None, limits: ModelLimits | None) -> tuple[Bound, ...]:
        who, own, default = principal.name, principal.budget, self._defaults
        chosen = _chosen((own.requests_per_s, own.requests_burst), (default.requests_per_s, default.requests_burst))
        key = "requests_per_s"
        if who.startswith(ADDRESS) and self._address[0] is not None:
            chosen, key = self._address, "address_requests_per_s"
        found = [_rate(who, "requests", chosen, key), _quota(who, "requests", own.requests_per_day, default.requests_per_day)]
        if limits is not None:
            found.append(_rate(who, "requests", (limits.requests_per_s, limits.requests_burst), key, model))
        return tuple([bound for bound in found if bound is not None])

    def _of_rows(self, principal: Principal, model: str | None, limits: ModelLimits | None) -> tuple[Bound, ...]:
        who, own, default = principal.name, principal.budget, self._defaults
        chosen = _chosen((own.rows_per_s, own.rows_burst), (default.rows_per_s, default.rows_burst))
        found = [_rate(who, "rows", chosen, "rows_per_s"), _quota(who, "rows", own.rows_per_day, default.rows_per_day)]
        if limits is not None:
            found.append(_rate(who, "rows", (limits.rows_per_s, limits.rows_burst), "rows_per_s", model))
        return tuple([bound for bound in found if bound is not None])


Rate = tuple[float | None, int | None]


def _chosen(own: Rate, default: Rate) -> Rate:
    """What one's own does not say is the default's, but a rate of one's own has no other's burst."""
    if own[0] is not None:
        return own
    return default[0], default[1] if own[1] is None else own[1]


def _rate(who: str, unit: Unit, chosen: Rate, key: str, model: str | None = None) -> Bound | None:
    per_s, burst = chosen
    if per_s is None:
        return None
    name, of = (f"{unit}_per_s * {who}", "") if model is None else (f"{unit}_per_s {model} {who}", f"model {model!r}")
    return Bound(name, key, unit, max(1, int(per_s)) if burst is None else burst, 1 / per_s, of)


def _quota(who: str, unit: Unit, own: int | None, default: int | None) -> Bound | None:
    limit = default if own is None else own
    return None if limit is None else Bound(f"{unit}_per_day * {who}", f"{unit}_per_day", unit, limit, 0.0)
