"""Why a batcher does not answer an entry.

BatchingError
├── Refused               said at the door; nothing was queued
│   ├── QueueFull         the queue holds all the rows that it may
│   │   └── PastTarget    it holds all that can be answered within the model's target
│   └── Closed            the batcher closes, or restarts after a defect
├── TooManyRows           more rows than the queue could ever hold; trying again does not help
├── DeadlineExceeded      the entry's time is over, or would be before its turn
├── RowsMismatch          the call gave another number of rows than it was given, or no arrays at all
└── Defect                the batcher itself failed; it starts again
"""

from __future__ import annotations

from typing import Literal

Stage = Literal["admission", "queue", "call"]


class BatchingError(Exception):
    """An entry gets no answer, for a reason of the batcher's."""


class Refused(BatchingError):
    """Said at the door; ``retry_after_s`` is when a new try may have better luck."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFull(Refused):
    """The queue holds all the rows that it may: ``queued`` of ``limit``."""

    def __init__(self, rows: int, queued: int, limit: int, retry_after_s: float) -> None:
        super().__init__(
            f"the queue holds {queued} of at most {limit} rows, so that the request's do not fit; retry in {retry_after_s:.3g} s",
            retry_after_s,
        )
        self.rows, self.queued, self.limit = rows, queued, limit


class PastTarget(QueueFull):
    """More rows than ``limit`` would be answered later than the model's target for the latency allows."""

    def __init__(self, rows: int, queued: int, limit: int, predicted_s: float, target_s: float, retry_after_s: float) -> None:
        Refused.__init__(
            self,
            f"{queued} rows wait before the request, which would be answered in about {1000 * predicted_s:.3g} ms; "
            f"the model keeps to {1000 * target_s:g} ms; retry in {retry_after_s:.3g} s",
            retry_after_s,
        )
        self.rows, self.queued, self.limit = rows, queued, limit


class TooManyRows(BatchingError):
    """One entry has more rows than the queue could ever hold."""

    def __init__(self, rows: int, limit: int) -> None:
        super().__init__(f"the request has {rows} rows; send at most {limit} in one request")
        self.rows, self.limit = rows, limit


class Closed(Refused):
    """The batcher closes, or restarts after a defect."""


class DeadlineExceeded(BatchingError):
    """The entry's time was over at ``stage``, or its turn would come too late (``admission``)."""

    def __init__(self, message: str, stage: Stage) -> None:
        super().__init__(message)
        self.stage = stage


class RowsMismatch(BatchingError):
    """The call gave another number of rows than it was given, or no arrays; whose rows they are cannot be told."""


class Defect(BatchingError):
    """The batcher itself failed while it held the entry."""
