"""Entries whose rows lie side by side in one array: they are a call's input as they lie, and need no copy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from batching.entry import Array, Entry


def in_order(entries: list[Entry]) -> list[Entry]:
    """The same entries, in the order of their rows in the array that all are views of; as they are where there is none such."""
    ends = entries[0].inputs, entries[-1].inputs
    if len(entries) == 1 or len(ends[0]) != 1:
        return entries
    ((name, first),) = ends[0].items()
    # Two looks tell nearly all entries: their arrays are their own.
    if first.base is None or ends[1][name].base is not first.base:
        return entries
    return sorted(entries, key=lambda entry: _address(entry.inputs[name]))


def side_by_side(arrays: Sequence[Array]) -> Array | None:
    """All as one view of the array that they are views of; None where they are not its rows, each where the last ends."""
    first = arrays[0]
    base = first.base
    if base is None or arrays[-1].base is not base or not isinstance(base, np.ndarray):
        return None
    if not base.ndim or not base.flags.c_contiguous or base.dtype != first.dtype or base.shape[1:] != first.shape[1:]:
        return None
    row = base.strides[0]
    if not base.size:
        return None
    start, off = divmod(_address(first) - _address(base), row)
    if off:
        return None
    end = start
    for array in arrays:
        if array.base is not base or array.dtype != base.dtype or array.shape[1:] != base.shape[1:] or not array.flags.c_contiguous:
            return None
        if _address(array) - _address(base) != end * row:
            return None
        end += len(array)
    return base[start:end]


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
