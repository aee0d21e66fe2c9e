"""When a peer has taken too long: pure functions of the limits, of what has come, and of when.

Times are those of one clock (seconds), which stands still while it is the server that does not read.
"""

from __future__ import annotations

from typing import NamedTuple

from service.errors import RequestTimeout
from service.sections import Limits


class End(NamedTuple):
    """When a wait ends, and the key of `[limits]` that ends it."""

    at: float
    limit: str


def of_head(limits: Limits, began: float) -> End:
    """For a head whose first byte came at ``began``, or which could be read from then on."""
    return End(began + limits.header_timeout_s, "header_timeout_s")


def of_body(limits: Limits, began: float, moved: float, received: int) -> End:
    """For a body of which so many bytes have come, the last of them at ``moved``; the first ``body_timeout_s`` are free."""
    still = End(moved + limits.body_timeout_s, "body_timeout_s")
    if not limits.body_bytes_per_s:
        return still
    slow = End(began + limits.body_timeout_s + received / limits.body_bytes_per_s, "body_bytes_per_s")
    return min(still, slow, key=lambda end: end.at)


def step(limits: Limits) -> float:
    """How soon to look at a request that has not come whole (seconds)."""
    return min(limits.header_timeout_s, limits.body_timeout_s)


def late(limits: Limits, end: End) -> RequestTimeout:
    """What a client is told whose time is over."""
    match end.limit:
        case "header_timeout_s":
            why = f"the request's headers have not come whole in {limits.header_timeout_s:g} s; send them without a pause"
        case "body_bytes_per_s":
            why = f"the body comes slower than {limits.body_bytes_per_s} bytes a second; send it faster"
        case _:
            why = f"nothing of the body has come for {limits.body_timeout_s:g} s; send it without a pause"
    return RequestTimeout(why, limit=end.limit)
