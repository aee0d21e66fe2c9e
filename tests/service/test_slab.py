"""Rows to decode into: side by side where that is possible, and never two people's."""

from __future__ import annotations

import gc
import weakref

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from image_files import COLOURS, recipe

from batching.adjacent import side_by_side
from service.slab import LARGEST, Slab


def slab(rows: int = 4) -> Slab:
    return Slab((2, 3), np.dtype(np.float32), rows)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12))
def test_what_one_has_written_nobody_else_overwrites(sizes: list[int]) -> None:
    made = slab()
    taken = [made.take(rows) for rows in sizes]
    for number, rows in enumerate(taken):
        rows[:] = number
    for number, (rows, size) in enumerate(zip(taken, sizes, strict=True)):
        assert rows.shape == (size, 2, 3)
        assert (rows == number).all()


def test_rows_that_are_taken_one_after_the_other_lie_side_by_side() -> None:
    made = slab()
    assert side_by_side([made.take(1), made.take(2), made.take(1)]) is not None
    assert side_by_side([made.take(3), made.take(2)]) is None


def test_more_rows_than_a_slab_has_are_given_all_the_same() -> None:
    assert slab(rows=2).take(7).shape == (7, 2, 3)


def test_a_slab_is_no_larger_than_it_may_be_and_has_a_row_at_least() -> None:
    large = Slab((LARGEST // 8,), np.dtype(np.float32), 64)
    first, second, third = large.take(1), large.take(1), large.take(1)
    assert first.base is second.base is not third.base
    assert Slab((LARGEST,), np.dtype(np.float32), 64).take(1).shape == (1, LARGEST)


def test_a_slab_that_is_used_up_goes_with_its_last_row() -> None:
    made = slab(rows=2)
    first, second = made.take(1), made.take(1)
    memory = weakref.ref(first.base)
    del first
    assert memory() is not None
    del second
    gc.collect()
    assert memory() is None


def test_a_model_has_a_slab_where_all_its_images_are_of_one_size() -> None:
    assert Slab.of(None, 4) is None
    assert Slab.of(recipe(height=None, width=None, crop=False), 4) is None
    made = Slab.of(COLOURS, 4)
    assert made is not None
    assert made.take(2).shape == (2, 3, 224, 224)
