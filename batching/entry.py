"""What waits in a window, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy.typing as npt

from batching.window import Reason

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
#: Computes the named outputs of stacked inputs, rows first. Called in a thread.
Call = Callable[[Arrays, tuple[str, ...]], Arrays]
#: What became of one entry: its own rows of the outputs, or why there are none.
Outcome = Arrays | BaseException

_number = count(1).__next__


@dataclass(slots=True, eq=False)
class Batch:
    """One call: why it was closed, how many rows and entries it held, and how long it took (seconds).

    ``outcomes`` are the entries', in their order, once it has been computed. ``calls`` is 1, or more where the call failed and
    was tried again in halves. ``number`` is the process's own for this batch.
    """

    reason: Reason
    rows: int
    entries: list[Entry]
    started: float
    arrivals_before: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    calls: int = 0
    collate_s: float = 0.0
    call_s: float = 0.0
    scatter_s: float = 0.0
    number: int = field(default_factory=_number)


@dataclass(slots=True)
class Answer:
    """An entry's own rows of the outputs, how long it waited (seconds), and the batch it was computed in, by number."""

    outputs: Arrays
    queue_s: float
    call_s: float
    batch_rows: int
    reason: Reason
    batch: int = 0

    @property
    def nbytes(self) -> int:
        """The size of the outputs in memory."""
        size = 0
        for array in self.outputs.values():
            size += array.nbytes
        return size


@dataclass(slots=True, eq=False)
class Entry:
    """One request's rows. ``enqueued``, ``deadline`` and ``place`` are of the event loop's clock; the earliest place goes first."""

    inputs: Arrays
    rows: int
    outputs: tuple[str, ...]
    group: Hashable
    enqueued: float
    deadline: float
    place: float
    future: asyncio.Future[Answer] = field(repr=False)
