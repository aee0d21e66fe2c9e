"""Whose span a request belongs to: the headers of W3C Trace Context, https://www.w3.org/TR/trace-context/."""

from __future__ import annotations

import re
from typing import NamedTuple

SAMPLED = 0x01
#: What of the caller's flags goes on: sampled, and that the trace's id is random.
FLAGS = 0x03

_TRACEPARENT = re.compile(rb"[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?[ \t]*")


class Parent(NamedTuple):
    """The caller's span. ``state`` is its `tracestate` as it came, empty where none did."""

    trace_id: int
    span_id: int
    flags: int
    state: str = ""

    @property
    def sampled(self) -> bool:
        """The caller's decision."""
        return bool(self.flags & SAMPLED)


def parent_of(traceparent: bytes | None, tracestate: bytes | None = None) -> Parent | None:
    """The caller's span; None where there is none, or where the header does not say it: a trace then begins here."""
    if traceparent is None:
        return None
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    trace_id, span_id = int(trace, 16), int(span, 16)
    if not trace_id or not span_id:
        return None
    state = "" if tracestate is None else tracestate.decode("latin-1")
    return Parent(trace_id, span_id, int(flags, 16) & FLAGS, state)
