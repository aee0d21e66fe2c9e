"""Who calls: what a credential says of its bearer, or what is known of one who brings none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a route asks for, and a credential gives. ``ADMIN`` includes the others."""

    INFER = "infer"
    ADMIN = "admin"
    METRICS = "metrics"

    __hash__ = str.__hash__  # an enum's own is Python, and each request asks a set for its scope


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be asked; None is no bound. A burst of None is one second's worth, and at least 1; a day is UTC's."""

    requests_per_s: float | None = None
    requests_burst: int | None = None
    rows_per_s: float | None = None
    rows_burst: int | None = None
    requests_per_day: int | None = None
    rows_per_day: int | None = None


#: No bound at all.
UNBOUNDED = Budget()


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. ``name`` is what logs and the audit call it and its budgets are kept under: ``key:ID``, ``jwt:SUBJECT``, or
    ``address:ADDRESS`` where nobody asked who it is. ``models``: None for all. ``expires``: seconds since the epoch."""

    name: str
    scopes: frozenset[Scope]
    models: frozenset[str] | None = None
    budget: Budget = UNBOUNDED
    expires: float = math.inf

    def may(self, need: Scope, model: str | None = None) -> bool:
        """Whether it may do what asks for that scope, with that model."""
        if need not in self.scopes and Scope.ADMIN not in self.scopes:
            return False
        return model is None or self.models is None or model in self.models
