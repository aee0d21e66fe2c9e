"""Every parser, by Hypothesis: good inputs with pieces cut out, doubled, or swapped, and the parser's own words put in."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.target import Target, judge
from tests.fuzz.targets import TARGETS

#: Inputs of one parser; of those that turn an event loop fewer.
EXAMPLES, SLOW_EXAMPLES = 70, 10


@st.composite
def inputs(draw: st.DrawFn, target: Target) -> bytes:
    """A kept input, changed in up to six places."""
    kept = target.kept()
    data = draw(st.sampled_from(kept))
    words = st.sampled_from(target.words()) | st.binary(max_size=8)
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        piece = draw(st.sampled_from(("cut", "word", "instead", "double", "splice", "flip")))
        if piece == "cut":
            data = data[:start] + data[end:]
        elif piece == "word":
            data = data[:start] + draw(words) + data[start:]
        elif piece == "instead":
            data = data[:start] + draw(words) + data[end:]
        elif piece == "double":
            data = data[:end] + data[start:end] * draw(st.integers(1, 20)) + data[end:]
        elif piece == "splice":
            data = data[:start] + draw(st.sampled_from(kept))[start:]
        elif start < len(data):
            data = data[:start] + bytes([data[start] ^ 1 << draw(st.integers(0, 7))]) + data[start + 1 :]
    return data[: target.longest]


@pytest.mark.parametrize("name", TARGETS)
def test_a_mutated_input_is_taken_or_refused(name: str) -> None:
    target = TARGETS[name]
    slow = name == "request" or name.startswith("stream_")

    @settings(
        max_examples=SLOW_EXAMPLES if slow else EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs(target))
    def holds(data: bytes) -> None:
        judge(target, data)

    holds()


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_taken_or_refused(name: str) -> None:
    target = TARGETS[name]
    slow = name == "request" or name.startswith("stream_")

    @settings(max_examples=5 if slow else 30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=200))
    def holds(data: bytes) -> None:
        judge(target, data)

    holds()
