"""What a caller may spend, and what is left of it: pure functions of a budget's state and the time.

A rate with a burst is the generic cell rate algorithm in its virtual scheduling form (ITU-T I.371, annex A): all that is kept of a
budget is the time at which it would be whole again, its *theoretical arrival time*. Each unit moves that by ``every_s``, and what
would move it further than ``limit`` units beyond now does not conform. It admits what a bucket of ``limit`` tokens admits that gets
one back each ``every_s``, and needs no timer. A quota is a count that begins anew with each day of UTC.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from service.errors import OverBudget

DAY_S: Final = 86_400
#: What the binary form of the times may be wrong by (seconds): a double of a machine's uptime is exact to some nanoseconds.
_ERROR_S: Final = 4e-9

Unit = Literal["requests", "rows"]


@dataclass(frozen=True, slots=True)
class Bound:
    """One limit: ``limit`` units at once, one of them back each ``every_s`` seconds; where that is 0, so many a day.

    ``name`` is what its state is kept under: three words, whose it is last. ``key`` is the configuration's word for it, ``of`` says
    what it is for alone.
    """

    name: str
    key: str
    unit: Unit
    limit: int
    every_s: float
    of: str = ""
    #: How far beyond now the theoretical arrival time may be, and with what a sum of doubles may be wrong by (seconds).
    depth_s: float = field(init=False, compare=False)
    most_s: float = field(init=False, compare=False)
    #: The header lines that say what it is.
    lines: bytes = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth_s", self.limit * self.every_s)
        object.__setattr__(self, "most_s", self.depth_s + self.every_s * 1e-6 + _ERROR_S)
        policy = b"ratelimit-limit: %d\r\nratelimit-policy: %d;w=%d\r\n" % (self.limit, self.limit, ceil(self.window_s))
        object.__setattr__(self, "lines", policy)

    @property
    def daily(self) -> bool:
        """Whether it is a quota."""
        return not self.every_s

    @property
    def window_s(self) -> float:
        """In what time ``limit`` units come back (seconds)."""
        return self.depth_s or DAY_S


class Allowance(Struct, gc=False):
    """What is left of the budget that binds most, and when it is whole again (seconds)."""

    bound: Bound
    remaining: int
    reset_s: float
    #: The header lines that say so, once somebody has been told.
    lines: bytes = b""


#: What is left, now or once a store has answered; None where there is no bound. Raises OverBudget, a future too.
Left = Allowance | Future[Allowance | None] | None
#: Spends so much of some bounds, of all or of none; a cost of 0 reads them, one below gives back.
Spend = Callable[[float], Left]
#: The same where nobody has to be waited for.
SpendAtOnce = Callable[[float], Allowance | None]


class State(NamedTuple):
    """A budget as it was found: how far its theoretical arrival time is beyond now (seconds), or how much of the day is spent."""

    bound: Bound
    value: float


# -- the algorithm ---------------------------------------------------------------------------------------------------------


def ahead(bound: Bound, tat: float, now: float) -> float:
    """How far a theoretical arrival time is beyond now (seconds); one of a larger limit, since lowered, counts as a spent one."""
    beyond = tat - now
    return 0.0 if beyond < 0.0 else beyond if beyond < bound.depth_s else bound.depth_s


def conforms(bound: Bound, value: float, cost: float) -> bool:
    """Whether there is enough left to spend ``cost`` units."""
    if bound.every_s:
        return value + cost * bound.every_s <= bound.most_s
    return value + cost <= bound.limit


def after(bound: Bound, value: float, cost: float) -> float:
    """The state once they are spent."""
    return value + cost * (bound.every_s or 1)


def wait_s(bound: Bound, value: float, cost: float, now: float) -> float | None:
    """When there is enough again (seconds); None: it is more than there ever is. ``now``: seconds since the epoch."""
    if cost > bound.limit:
        return None
    if bound.daily:
        return DAY_S - now % DAY_S
    return max(0.0, value + cost * bound.every_s - bound.depth_s)


def allowance(bound: Bound, value: float, now: float) -> Allowance:
    """What is left, ``now`` being in seconds since the epoch."""
    every_s = bound.every_s
    if every_s:
        left = int((bound.depth_s - value) / every_s + 1e-6)
        return Allowance(bound, left if left > 0 else 0, value)
    return Allowance(bound, max(0, bound.limit - int(value)), DAY_S - now % DAY_S)


def tighter(one: Allowance | None, other: Allowance | None) -> Allowance | None:
    """That of which less is left."""
    if one is None or other is None:
        return other if one is None else one
    return other if other.remaining < one.remaining else one


def tightest(states: Iterable[State], now: float) -> Allowance | None:
    """What is left of the one that binds most."""
    found: Allowance | None = None
    for bound, value in states:
        found = tighter(found, allowance(bound, value, now))
    return found


# -- refusing --------------------------------------------------------------------------------------------------------------


def refusal(states: Sequence[State], cost: float, now: float) -> OverBudget:
    """What is said where not all of them conform, of the one that has to be waited for longest."""
    lacking = [(bound, value, wait_s(bound, value, cost, now)) for bound, value in states if not conforms(bound, value, cost)]
    lacking = lacking or [(bound, value, 0.0) for bound, value in states]  # another machine's arithmetic said so
    bound, value, wait = max(lacking, key=lambda lack: inf if lack[2] is None else lack[2])
    left = allowance(bound, value, now)
    return OverBudget(_sentence(bound, int(cost), wait), wait, key=bound.key, allowance=left)


def _sentence(bound: Bound, cost: int, wait: float | None) -> str:
    whose = f"your budget for {bound.of}" if bound.of else "your budget"
    unit, limit = bound.unit, bound.limit
    if wait is None:
        most = f"{limit} a day" if bound.daily else f"{limit} at once"
        return f"the request has {cost} {unit} and {whose} is {most}; send fewer at a time"
    if bound.daily:
        need = "is spent" if cost == 1 else f"has less than the {cost} of this request left"
        return f"{whose} of {limit} {unit} a day {need}; the next day of UTC begins in {_time(wait)}"
    return f"{whose} of {1 / bound.every_s:.4g} {unit} a second, {limit} at once, is spent; there is enough again in {_time(wait)}"


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"


# -- telling ---------------------------------------------------------------------------------------------------------------


def allowance_lines(left: Allowance) -> bytes:
    """The header lines of draft-ietf-httpapi-ratelimit-headers-06, as HTTP/1.1 writes them."""
    if not left.lines:
        told = left.bound.lines, left.remaining, ceil(left.reset_s)
        left.lines = b"%bratelimit-remaining: %d\r\nratelimit-reset: %d\r\n" % told
    return left.lines


def allowance_headers(left: Allowance) -> tuple[tuple[bytes, bytes], ...]:
    """The same as pairs."""
    lines = [line.partition(b": ") for line in allowance_lines(left).split(b"\r\n")[:-1]]
    return tuple((name, value) for name, _, value in lines)
