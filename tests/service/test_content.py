from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BadRequest, TensorTooLarge, TooManyRows
from service.guard.input.content import Content, is_deeper

TEXTS = st.text(st.sampled_from('[]{}",\\ab:'), max_size=8)
SCALARS = st.none() | st.integers(-9, 9) | TEXTS
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=40
)


def depth(document: Any) -> int:
    if isinstance(document, dict):
        return 1 + max(map(depth, document.values()), default=0)
    return 1 + max(map(depth, document), default=0) if isinstance(document, list) else 0


@given(DOCUMENTS, st.integers(0, 8), st.booleans())
def test_depth_is_that_of_lists_and_objects_whatever_stands_in_strings(document: Any, most: int, spaced: bool) -> None:
    text = json.dumps(document, indent=1 if spaced else None).encode()
    assert is_deeper(text, most) == (depth(document) > most)


@given(DOCUMENTS, st.integers(1, 8))
def test_json_is_refused_exactly_past_its_limit(document: Any, most: int) -> None:
    text = json.dumps(document).encode()
    try:
        Content(depth=most).check_json(text)
    except BadRequest:
        assert depth(document) > most
    else:
        assert depth(document) <= most


@pytest.mark.parametrize("nest", [b"[", b'{"a":', b'[{"a":', b'["[",', b'[1,[],{},"\\"",'])
def test_two_hundred_thousand_levels_are_too_many(nest: bytes) -> None:
    with pytest.raises(BadRequest, match="nested too deep"):
        Content().check_json(nest * 200_000)


@given(st.lists(SCALARS | st.lists(SCALARS, max_size=3), max_size=12), st.integers(1, 8))
def test_a_list_may_have_its_limit_of_rows_and_not_one_more(rows: list[Any], most: int) -> None:
    text = json.dumps(rows).encode()
    try:
        Content(rows=most).check_list(text)
    except TooManyRows:
        assert len(rows) > most
    else:
        assert len(rows) <= most


@given(st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=2), max_size=8), st.integers(1, 8))
def test_data_may_have_its_limit_of_elements_and_not_one_more(rows: list[list[int]], most: int) -> None:
    text = json.dumps(rows, separators=(",", ":")).encode()
    try:
        Content(elements=most).check_data(text, "x")
    except TensorTooLarge:
        assert 2 * len(rows) > most
    else:
        assert 2 * len(rows) <= most or not rows


@pytest.mark.parametrize("shape", [[10**9], [2**62, 4], [2**62] * 64, [1, 101]])
def test_a_shape_of_too_many_elements_is_refused_before_there_are_any(shape: list[int]) -> None:
    with pytest.raises(TensorTooLarge) as caught:
        Content(elements=100).check_shape(shape, "x", batched=False)
    assert caught.value.limit == "tensor_elements"


def test_dims_of_zero_hide_no_rows() -> None:
    Content(elements=100, rows=100).check_shape([0, 2**62], "x", batched=True)
    with pytest.raises(TooManyRows):
        Content(elements=100, rows=100).check_shape([2**62, 0], "x", batched=True)
