from __future__ import annotations

import pytest

from service.commands.duration import seconds


@pytest.mark.parametrize(
    ("text", "expected"), [("90d", 7_776_000), ("24h", 86_400), ("1h30m", 5400), ("0s", 0), ("2w", 1_209_600), ("45s", 45)]
)
def test_a_time_is_numbers_with_units(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1.5h", "1 d", "1y", "90D", "1d\n", "٣d", "9999999999d"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="as in 90d, 24h or 1h30m"):
        seconds(text)


def test_more_than_a_thousand_years_is_refused() -> None:
    with pytest.raises(ValueError, match="more than a thousand years"):
        seconds("999999999d")
