"""The rule itself is held to what it should catch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InferenceError, InvalidInput, Problem
from service.errors import BadRequest
from tests.fuzz import target as rule
from tests.fuzz.shrinking import shrink
from tests.fuzz.target import Broken, Target, judge


def raising(error: Exception) -> Target:
    def parse(data: bytes) -> object:
        raise error

    return Target("raising", parse, (BadRequest, InvalidInput, InferenceError))


def test_an_error_that_is_not_a_parsers_own_is_not_taken_for_a_refusal() -> None:
    with pytest.raises(KeyError):
        judge(raising(KeyError("x")), b"")


def test_inputs_that_are_refused_alike_end_alike() -> None:
    assert judge(raising(BadRequest("'a' is not 1")), b"") == judge(raising(BadRequest("'bc' is not 23")), b"")


def test_a_refusal_that_blames_the_server_breaks_the_rule() -> None:
    with pytest.raises(Broken, match="is answered with 500"):
        judge(raising(InferenceError("no")), b"")


def test_a_refusal_that_repeats_all_that_came_breaks_the_rule() -> None:
    with pytest.raises(Broken, match="the answer to a refusal has"):
        judge(raising(InvalidInput(Problem("x", "y" * 20_000))), b"")


def test_memory_out_of_proportion_breaks_the_rule() -> None:
    with pytest.raises(Broken, match="allocated"):
        judge(Target("large", lambda data: len(bytes(10_000_000))), b"", memory=True)


def test_time_out_of_proportion_breaks_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule, "MOST_S", 0.0)
    with pytest.raises(Broken, match="of CPU time"):
        judge(Target("slow", lambda data: sum(range(100_000))), b"")


@given(st.binary(max_size=60), st.binary(min_size=1, max_size=3), st.binary(max_size=60))
def test_what_is_shrunk_is_the_least_that_still_holds(before: bytes, needle: bytes, after: bytes) -> None:
    assert shrink(before + needle + after, lambda data: needle in data) == needle
