"""The settings of a batcher."""

from __future__ import annotations

import math
from typing import Any

import pytest

from batching import Policy


def test_the_defaults_are_those_of_the_interface() -> None:
    assert Policy() == Policy(max_rows=64, window_ms=2.0, close="early", instances=1, queue_rows=1024, timeout_ms=1000.0)


def test_milliseconds_become_seconds() -> None:
    policy = Policy(window_ms=5, timeout_ms=250, target_p99_ms=20)
    assert (policy.window_s, policy.timeout_s, policy.target_s) == (0.005, 0.25, 0.02)
    assert Policy().target_s is None


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"max_rows": 0}, "max_rows is 0; expected at least 1"),
        ({"instances": 0}, "instances is 0; expected at least 1"),
        ({"queue_rows": -1}, "queue_rows is -1; expected at least 1"),
        ({"window_ms": -0.1}, "window_ms is -0.1; expected 0 or more"),
        ({"window_ms": math.inf}, "window_ms is inf; expected 0 or more"),
        ({"window_ms": math.nan}, "window_ms is nan; expected 0 or more"),
        ({"timeout_ms": 0}, "timeout_ms is 0; expected more than 0"),
        ({"timeout_ms": math.nan}, "timeout_ms is nan; expected more than 0"),
        ({"target_p99_ms": 0}, "target_p99_ms is 0; expected more than 0"),
        ({"target_p99_ms": math.nan}, "target_p99_ms is nan; expected more than 0"),
        ({"target_p99_ms": 250, "timeout_ms": 250}, "target_p99_ms is 250; .* less than timeout_ms, which is 250"),
        ({"close": "late"}, "close is 'late'; expected 'early' or 'full'"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named_with_what_was_expected(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Policy(**settings)
