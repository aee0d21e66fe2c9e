"""Units taken in advance: who has plenty left spends most of it without a look at what all workers share.

That look costs a request several microseconds, most of them cache misses. So a worker takes a few units at once and spends them
one by one. It does so only for whom at least half is left, and takes so little that what lies with the workers is lost in the
budget: near its end each unit is counted as it comes. They are not given back, for only the latest of the workers could.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from service.guard.budgets.budget import Allowance, Bound, SpendAtOnce

#: How many are taken at most, and of which share of the limit.
MOST: Final = 32
SHARE: Final = 1024
#: How old what callers are told is left may be (seconds).
STALE_S: Final = 0.02


def leased(bounds: Sequence[Bound], spend: Callable[[float], Allowance], clock: Callable[[], float]) -> SpendAtOnce:
    """The same spending, with units taken in advance where the limits are large enough for that."""
    largest = max(bound.limit for bound in bounds)
    size = min(MOST, min(bound.limit for bound in bounds) // SHARE)
    if size < 2:
        return spend
    units, fresh_until = 0, 0.0
    told: Allowance | None = None

    def spend_leased(cost: float) -> Allowance | None:
        nonlocal units, fresh_until, told
        if cost != 1:
            return spend(cost)
        now = clock()
        if units:
            units -= 1
            if now > fresh_until:
                told, fresh_until = spend(0), now + STALE_S
            return told
        told = spend(1)
        if told.remaining - size >= largest / 2:
            told = spend(size)
            units, fresh_until = size, now + STALE_S
        return told

    return spend_leased
