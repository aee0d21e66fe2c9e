"""Whose span a request belongs to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.tracing.trace_context import Parent, parent_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_the_example_of_the_specification_is_read() -> None:
    parent = parent_of(f"00-{TRACE}-{SPAN}-01".encode(), b"rojo=00f067aa0ba902b7")
    assert parent == Parent(int(TRACE, 16), int(SPAN, 16), 1, "rojo=00f067aa0ba902b7")
    assert parent.sampled


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)])
def test_the_callers_decision_is_its_last_bit(flags: str, sampled: bool) -> None:
    parent = parent_of(f"00-{TRACE}-{SPAN}-{flags}".encode())
    assert parent is not None
    assert parent.sampled is sampled


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_the_specification_calls_invalid_is_no_parent(header: str) -> None:
    assert parent_of(header.encode()) is None


def test_a_later_version_may_say_more() -> None:
    assert parent_of(f"01-{TRACE}-{SPAN}-01-what-comes".encode()) == parent_of(f"00-{TRACE}-{SPAN}-01".encode())


HEADERS = st.one_of(
    st.from_regex(r"\A[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[a-z]{0,3})?\Z"),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80),
)


@given(HEADERS)
def test_it_reads_what_opentelemetry_reads(header: str) -> None:
    parent = parent_of(header.encode())
    theirs = get_current_span(TraceContextTextMapPropagator().extract({"traceparent": header})).get_span_context()
    assert (parent is not None) == theirs.is_valid
    if parent is not None:
        assert (parent.trace_id, parent.span_id, parent.sampled) == (theirs.trace_id, theirs.span_id, theirs.trace_flags.sampled)


@given(st.binary(max_size=100), st.none() | st.binary(max_size=100))
def test_no_bytes_make_it_fail(traceparent: bytes, tracestate: bytes | None) -> None:
    assert parent_of(traceparent, tracestate) is None or traceparent[2:3] == b"-"
