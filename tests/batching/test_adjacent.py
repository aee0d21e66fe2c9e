"""Rows that lie side by side go into a call as they lie; all others are copied, and nothing is ever mixed up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.adjacent import in_order, side_by_side
from batching.collate import stack
from batching.entry import Array, Entry

SLAB = 12
#: Cuts of a slab: from a row to another, in any order, and perhaps again.
CUTS = st.lists(
    st.tuples(st.integers(0, SLAB - 1), st.integers(1, SLAB)).filter(lambda cut: cut[0] < cut[1]), min_size=1, max_size=6
)


def slab(*shape: int) -> Array:
    return np.arange(SLAB * int(np.prod(shape)), dtype=np.float32).reshape(SLAB, *shape).copy()


def entries(*arrays: Array) -> list[Entry]:
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        return [Entry({"x": array}, len(array), ("y",), None, 0.0, 1.0, 0.0, loop.create_future()) for array in arrays]


@given(CUTS, st.sampled_from([(), (3,), (2, 3)]))
def test_whatever_is_stacked_holds_the_rows_in_their_order(cuts: list[tuple[int, int]], shape: tuple[int, ...]) -> None:
    base = slab(*shape)
    parts = [base[start:end] for start, end in cuts]
    assert np.array_equal(stack(entries(*parts))["x"], np.concatenate(parts))


@given(CUTS)
def test_a_view_is_given_only_where_each_part_begins_at_the_end_of_the_last(cuts: list[tuple[int, int]]) -> None:
    base = slab(3)
    found = side_by_side([base[start:end] for start, end in cuts])
    adjacent = all(end == start for (_, end), (start, _) in pairwise(cuts))
    assert (found is not None) == adjacent
    assert found is None or found.base is base


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_entries_that_came_in_another_order_than_their_rows_lie_are_put_in_order(rows: list[int], random: Random) -> None:
    base, ends = slab(2), np.cumsum([0, *rows])
    parts = [base[start:end] for start, end in pairwise(ends)]
    shuffled = entries(*parts)
    random.shuffle(shuffled)
    found = stack(in_order(shuffled))["x"]
    assert np.array_equal(found, base[: ends[-1]])
    assert np.shares_memory(found, base)


@pytest.mark.parametrize(
    "parts",
    [
        [slab(3)[:2], slab(3)[2:4]],
        [slab(3)[:2].copy(), slab(3)[2:4].copy()],
        [np.asfortranarray(slab(3))[:2], np.asfortranarray(slab(3))[2:4]],
        [np.frombuffer(bytes(24), np.float32).reshape(-1, 3)[:1], np.frombuffer(bytes(24), np.float32).reshape(-1, 3)[1:]],
    ],
    ids=["of two slabs", "of their own", "in columns", "of bytes"],
)
def test_rows_of_different_arrays_are_copied(parts: list[Array]) -> None:
    assert side_by_side(parts) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda base: [base[:2, :2], base[2:4, :2]],
        lambda base: [base[:4:2], base[4:8:2]],
        lambda base: [base[2:4], base[:2]],
        lambda base: [base[:2], base[3:4]],
        lambda base: [base[:2], base[2:4].view(np.int32)],
        lambda base: [base[:2].view(np.int32), base[2:4].view(np.int32)],
        lambda base: [base.reshape(6, 8)[:2], base.reshape(6, 8)[2:4]],
        lambda base: [base[1::-1], base[3:1:-1]],
    ],
    ids=["columns", "steps", "backwards", "a gap", "another dtype", "both of another", "another shape", "reversed"],
)
def test_views_that_are_not_rows_one_after_the_other_are_copied(make: Callable[[Array], list[Array]]) -> None:
    assert side_by_side(make(slab(4))) is None
