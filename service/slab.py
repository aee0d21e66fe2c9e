"""Where images are decoded to: rows side by side in memory, so that those that end up in one call need no copying together.

A slab is used once, from its first row to its last, and then another is made. A batch of rows that lie one after the other takes
them as they lie (``batching.adjacent``). Whoever holds rows keeps the slab; its memory is free when nobody does.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from models.tensor import Array
from models.vision.recipe import Recipe

#: A slab takes no more than this (bytes), unless a single request needs it.
LARGEST: Final = 32 * 1024 * 1024
#: A slab holds the rows of so many large calls: one call in as many has rows of two, and is copied.
CALLS: Final = 4


class Slab:
    """Rows of one shape and dtype, ``rows`` of them at a time. May be asked from any thread."""

    def __init__(self, shape: Sequence[int], dtype: np.dtype[Any], rows: int) -> None:
        self._shape, self._dtype = tuple(shape), dtype
        size = max(1, int(np.prod(self._shape)) * dtype.itemsize)
        self._rows = max(1, min(rows, LARGEST // size))
        self._lock = threading.Lock()
        self._current: Array | None = None
        self._taken = 0

    @classmethod
    def of(cls, recipe: Recipe | None, rows: int) -> Slab | None:
        """For a model's images, in calls of up to ``rows``; None where it takes none, or each in a size of its own."""
        shape = None if recipe is None else recipe.shape
        return None if recipe is None or shape is None else cls(shape, recipe.spec.dtype, CALLS * rows)

    def take(self, rows: int) -> Array:
        """So many rows that are nobody else's: [rows, *shape], with whatever they hold."""
        with self._lock:
            current, start = self._current, self._taken
            if current is None or start + rows > len(current):
                current, start = np.empty((max(rows, self._rows), *self._shape), self._dtype), 0
            end = start + rows
            # One that is used up is its rows' alone.
            self._current, self._taken = (current, end) if end < len(current) else (None, 0)
        return current[start:end]
