"""Many entries' rows into one call, and its rows back to each: the part of a batch that runs in a thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter

import numpy as np

from batching.entry import Array, Arrays, Batch, Call, Entry
from batching.errors import BatchingError, RowsMismatch

#: What became of one entry: its own rows of the outputs, or why there are none.
Outcome = Arrays | BaseException


def stack(entries: Sequence[Entry]) -> Arrays:
    """The entries' inputs, one after the other; each tensor is copied once, and not at all for a single entry."""
    if len(entries) == 1:
        return entries[0].inputs
    return {name: np.concatenate([entry.inputs[name] for entry in entries]) for name in entries[0].inputs}


def scatter(outputs: Arrays, entries: Sequence[Entry]) -> list[Outcome]:
    """Each entry's rows of the outputs, as views. The outputs' rows must be the entries' rows."""
    if len(entries) == 1:
        return [outputs]
    shares: list[Outcome] = []
    start = 0
    for entry in entries:
        end = start + entry.rows
        shares.append({name: array[start:end] for name, array in outputs.items()})
        start = end
    return shares


def compute(batch: Batch, call: Call, *, stacked: bool, pure: bool) -> list[Outcome]:
    """Runs a batch and says what became of each entry; never raises. Writes its times into the batch."""
    try:
        return _compute(batch, batch.entries, call, stacked, pure)
    except BaseException as error:  # a thread of the pool must outlive it, and every entry must hear of it
        return [error] * len(batch.entries)


def _compute(batch: Batch, entries: Sequence[Entry], call: Call, stacked: bool, pure: bool) -> list[Outcome]:
    if all(entry.future.done() for entry in entries):
        return [BatchingError("nobody waits for it any more")] * len(entries)
    failure: BaseException | None = None
    outputs: Arrays = {}
    begun = ready = perf_counter()
    try:
        inputs = stack(entries)
        ready = perf_counter()
        outputs = call(inputs, entries[0].outputs)
    except BaseException as error:  # whatever a model raises, SystemExit too
        failure = error
    done = perf_counter()
    batch.calls += 1
    batch.collate_s += ready - begun
    batch.call_s += done - ready
    if failure is not None:
        if len(entries) == 1 or not pure:
            return [failure] * len(entries)
        # One bad entry must not fail its neighbours: halve until the guilty are alone.
        middle = len(entries) // 2
        return [outcome for half in (entries[:middle], entries[middle:]) for outcome in _compute(batch, half, call, stacked, pure)]
    try:
        _check(outputs, sum([entry.rows for entry in entries]) if stacked else None)
    except RowsMismatch as mismatch:  # the call ran to its end: another would do no better
        return [mismatch] * len(entries)
    shares = scatter(outputs, entries)
    batch.scatter_s += perf_counter() - done
    return shares


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
