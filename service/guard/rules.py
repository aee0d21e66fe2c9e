"""Which budgets a caller falls under: its own, what `[limits]` says for all that say nothing themselves, and a model's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from models.manifest import Limits as ModelLimits
from service.guard.budget import Bound, Unit
from service.guard.principal import Budget, Principal
from service.sections import Limits

#: How principals are called that only their address is known of.
ADDRESS: Final = "address:"


class Rules:
    """``models``: what one caller may ask of those models that say so."""

    __slots__ = ("_address", "_defaults", "models")

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
        self.models = models

    def requests(self, principal: Principal, model: str | None) -> tuple[Bound, ...]:
        """What a request falls under."""
        who, own, default = principal.name, principal.budget, self._defaults
        chosen = _chosen((own.requests_per_s, own.requests_burst), (default.requests_per_s, default.requests_burst))
        key = "requests_per_s"
        if who.startswith(ADDRESS) and self._address[0] is not None:
            chosen, key = self._address, "address_requests_per_s"
        found = [_rate(who, "requests", chosen, key), _quota(who, "requests", own.requests_per_day, default.requests_per_day)]
        limits = self.models.get(model) if model is not None else None
        if limits is not None:
            found.append(_rate(who, "requests", (limits.requests_per_s, limits.requests_burst), key, model))
        return tuple([bound for bound in found if bound is not None])

    def rows(self, principal: Principal, model: str) -> tuple[Bound, ...]:
        """What a request's rows fall under."""
        who, own, default = principal.name, principal.budget, self._defaults
        chosen = _chosen((own.rows_per_s, own.rows_burst), (default.rows_per_s, default.rows_burst))
        found = [_rate(who, "rows", chosen, "rows_per_s"), _quota(who, "rows", own.rows_per_day, default.rows_per_day)]
        limits = self.models.get(model)
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
    name = f"{who} {unit}" if model is None else f"{who} {unit} {model}"
    return Bound(name, key, unit, max(1, int(per_s)) if burst is None else burst, 1 / per_s, model)


def _quota(who: str, unit: Unit, own: int | None, default: int | None) -> Bound | None:
    limit = default if own is None else own
    return None if limit is None else Bound(f"{who} {unit} a day", f"{unit}_per_day", unit, limit, 0.0)
