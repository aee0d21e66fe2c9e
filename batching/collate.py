"""Many entries' rows into one call, and its rows back to each: the part of a batch that runs in a thread.

No frame here keeps entries or failures in its own variables, but in the batch alone, which is emptied when it has been answered.
A failure's traceback leads to these frames: if they led to the entries, whose futures hold the failure, every failure would be a
cycle that keeps a whole batch's arrays until the garbage collector comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from time import perf_counter

import numpy as np

from batching.adjacent import in_order, side_by_side
from batching.entry import Array, Arrays, Batch, Call, Entry
from batching.errors import BatchingError, RowsMismatch


def stack(entries: Sequence[Entry]) -> Arrays:
    """The entries' inputs, one after the other; each tensor is copied once, and not at all for a single entry, or where they lie
    one after the other already."""
    if len(entries) == 1:
        return entries[0].inputs
    return {name: _stacked([entry.inputs[name] for entry in entries]) for name in entries[0].inputs}


def _stacked(arrays: Sequence[Array]) -> Array:
    whole = side_by_side(arrays)
    return np.concatenate(arrays) if whole is None else whole


def scatter(outputs: Arrays, entries: Sequence[Entry]) -> Sequence[Arrays]:
    """Each entry's rows of the outputs, as views. The outputs' rows must be the entries' rows."""
    if len(entries) == 1:
        return [outputs]
    ends = list(accumulate([entry.rows for entry in entries]))
    if len(outputs) == 1:  # most models: worth its own line, since this is paid for each entry
        ((name, array),) = outputs.items()
        return [{name: array[start:end]} for start, end in zip([0, *ends], ends, strict=False)]
    return [{name: array[start:end] for name, array in outputs.items()} for start, end in zip([0, *ends], ends, strict=False)]


def compute(batch: Batch, call: Call, *, stacked: bool, pure: bool) -> None:
    """Runs a batch and writes into it what became of each entry, and its times; never raises."""
    try:
        if stacked:
            # Another list: whoever looks at the old one meanwhile, for those whose time is over, sees them all.
            batch.entries = in_order(batch.entries)
        _compute(batch, 0, len(batch.entries), call, stacked, pure)
    except BaseException as error:  # a thread of the pool must outlive it, and every entry must hear of it
        batch.outcomes[:] = [error] * len(batch.entries)


def _compute(batch: Batch, start: int, end: int, call: Call, stacked: bool, pure: bool) -> None:
    if all(entry.future.done() for entry in batch.entries[start:end]):
        batch.outcomes.extend([BatchingError("nobody waits for it any more")] * (end - start))
        return
    begun = ready = perf_counter()
    try:
        inputs = stack(batch.entries[start:end])
        ready = perf_counter()
        outputs = call(inputs, batch.entries[start].outputs)
    except BaseException as error:  # whatever a model raises, SystemExit too
        _count(batch, begun, ready)
        if end - start == 1 or not pure:
            batch.outcomes.extend([error] * (end - start))
            return
    else:
        done = _count(batch, begun, ready)
        try:
            _check(outputs, sum([entry.rows for entry in batch.entries[start:end]]) if stacked else None)
            batch.outcomes.extend(scatter(outputs, batch.entries[start:end]))
        except RowsMismatch as mismatch:  # the call ran to its end: another would do no better
            batch.outcomes.extend([mismatch] * (end - start))
        batch.scatter_s += perf_counter() - done
        return
    # One bad entry must not fail its neighbours: halve until the guilty are alone.
    middle = (start + end) // 2
    _compute(batch, start, middle, call, stacked, pure)
    _compute(batch, middle, end, call, stacked, pure)


def _count(batch: Batch, begun: float, ready: float) -> float:
    done = perf_counter()
    batch.calls += 1
    batch.collate_s += ready - begun
    batch.call_s += done - ready
    return done


def _check(outputs: Arrays, rows: int | None) -> None:
    if not isinstance(outputs, Mapping):
        raise RowsMismatch(f"the call gave a {type(outputs).__name__}; expected a mapping of output names to arrays")
    if rows is None:
        return
    for name, array in outputs.items():
        found = array.shape[0] if isinstance(array, np.ndarray) and array.ndim else None
        if found != rows:
            raise RowsMismatch(f"the call gave {'no' if found is None else found} rows in output {name!r} for {rows} rows of input")


def join(parts: Sequence[Arrays]) -> dict[str, Array]:
    """The outputs of an entry that was cut into several calls, put together again."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
