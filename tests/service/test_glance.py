"""What a body says of its rows, seen without reading it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.protocol.glance import FAR, claimed_rows


def body(shape: list[int], separators: tuple[str, str] = (", ", ": "), before: str = "") -> bytes:
    tensor = {"name": before + "x", "shape": shape, "datatype": "FP32", "data": [0.5] * 8}
    return json.dumps({"inputs": [tensor]}, separators=separators).encode()


@given(st.integers(1, 1000), st.lists(st.integers(0, 99), max_size=3), st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : ")]))
def test_the_first_dim_of_the_first_tensor_is_seen(rows: int, trailing: list[int], separators: tuple[str, str]) -> None:
    assert claimed_rows(body([rows, *trailing], separators), 1000) == rows


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b'{"instances": [[1, 2], [3, 4]]}',
        b'"shape": []',
        b'"shape": [-5, 2]',
        b'"shape": [0, 2]',
        b'"shape": [2.5]',
        b'"shape": [99999999999999999999999]',
        body([7, 2], before="x" * FAR),
        body([65, 2]),
    ],
)
def test_one_row_is_taken_for_granted_where_that_is_not_to_be_seen(text: bytes) -> None:
    assert claimed_rows(text, 64) == 1


@given(st.binary(max_size=400))
def test_whatever_a_body_is_it_is_one_row_to_as_many_as_may_be(text: bytes) -> None:
    assert 1 <= claimed_rows(text, 64) <= 64
