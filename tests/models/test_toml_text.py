from __future__ import annotations

import re

import pytest

from models.toml_text import MOST_PARTS, toml


def test_it_reads_what_the_standard_library_reads() -> None:
    assert toml('a.b = 1\n[c]\nd = "x.y"\n') == {"a": {"b": 1}, "c": {"d": "x.y"}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = " + "[" * 2000, "nested too deeply"),
        ("a = " + "9" * 5000, "a number has too many digits"),
        ("a = ", "Invalid value (at end of document)"),
        ("\n" + "a." * MOST_PARTS + "a = 1", "more than 16 parts joined by dots (at line 2)"),
        ("\"a\" . 'b' ." * MOST_PARTS + "a = 1", "more than 16 parts joined by dots (at line 1)"),
    ],
)
def test_what_cannot_be_read_in_bounded_time_is_refused_in_a_few_words(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told) + r"\Z"):
        toml(text)


def test_a_key_of_as_many_parts_as_may_be_is_read() -> None:
    assert toml(".".join("a" * MOST_PARTS) + " = 1")


def test_looking_for_dotted_keys_costs_no_more_than_the_text_is_long() -> None:
    for text in ("a" * 200_000, '"' * 200_001, "a . " * 7 + "a " * 100_000):
        with pytest.raises(ValueError, match=r"at end of document|at line 1"):
            toml(text)
