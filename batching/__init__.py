"""A dynamic micro-batcher for asyncio: entries that wait together share one vectorized call. Knows nothing of HTTP or models."""

from batching.batcher import Batcher
from batching.cut import together
from batching.decorator import batched
from batching.entry import Answer, Arrays, Call
from batching.errors import (
    BatchingError,
    Closed,
    DeadlineExceeded,
    Defect,
    PastTarget,
    QueueFull,
    Refused,
    RowsMismatch,
    TooManyRows,
)
from batching.policy import Policy
from batching.priority import Priority
from batching.statistics import Statistics
from batching.target import Tuned

__all__ = [
    "Answer",
    "Arrays",
    "Batcher",
    "BatchingError",
    "Call",
    "Closed",
    "DeadlineExceeded",
    "Defect",
    "PastTarget",
    "Policy",
    "Priority",
    "QueueFull",
    "Refused",
    "RowsMismatch",
    "Statistics",
    "TooManyRows",
    "Tuned",
    "batched",
    "together",
]
