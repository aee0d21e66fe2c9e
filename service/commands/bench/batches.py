"""The batches that a server formed between two looks at its statistics.

`/v2/models/M/stats` counts calls by their rows, exactly, and speaks for the worker that answers. Where others serve beside it,
`/metrics` has the calls of all of them, and each answer says how many rows shared its call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import msgspec

from service.commands.exposition import Sample
from service.metrics import families

#: Who says how many rows the calls had: the statistics, or the answers themselves, from which calls can be estimated.
Source = Literal["statistics", "answers"]

_BATCHES, _ROWS, _WORKERS = families.BATCHES.exposed, families.ROWS_ANSWERED.exposed, families.WORKERS.exposed
_Key = TypeVar("_Key")


class _Total(msgspec.Struct):
    count: int = 0


class _Inference(msgspec.Struct):
    success: _Total = msgspec.field(default_factory=_Total)
    fail: _Total = msgspec.field(default_factory=_Total)


class _Batch(msgspec.Struct):
    batch_size: int
    compute_infer: _Total


class _Version(msgspec.Struct):
    inference_count: int = 0
    execution_count: int = 0
    inference_stats: _Inference = msgspec.field(default_factory=_Inference)
    batch_stats: list[_Batch] = msgspec.field(default_factory=list)


class _Statistics(msgspec.Struct):
    """Of the protocol's statistics what is of use here."""

    model_stats: list[_Version]


@dataclass(frozen=True, slots=True)
class Counted:
    """What a server has counted of a model up to a look; ``by_rows``: calls. ``reasons``: calls of all workers by why their batch
    closed, None where there were no metrics; ``workers``: how many serve, likewise."""

    requests: int = 0
    failed: int = 0
    rows: int = 0
    calls: int = 0
    by_rows: Mapping[int, int] = field(default_factory=dict)
    reasons: Mapping[str, int] | None = None
    rows_of_all: int | None = None
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class Batches:
    """``calls`` of the model with ``rows`` rows in all; ``by_rows``: how many had so many. ``reasons``: why they closed."""

    calls: int
    rows: int
    by_rows: Mapping[int, int]
    source: Source
    reasons: Mapping[str, int] | None = None

    @property
    def mean_rows(self) -> float | None:
        """Rows a call; None where none was made."""
        return self.rows / self.calls if self.calls else None


def counted(stats: object, scraped: Iterable[Sample] | None, model: str, version: str | None) -> Counted:
    """The counters, by what `/v2/models/M[/versions/V]/stats` and `/metrics` say. Raises ValueError for what are no statistics."""
    entries = msgspec.convert(stats, _Statistics).model_stats
    by_rows: Counter[int] = Counter()
    for batch in (batch for entry in entries for batch in entry.batch_stats):
        by_rows[batch.batch_size] += batch.compute_infer.count
    reasons, rows_of_all, workers = _of_all(scraped, model, version)
    return Counted(
        sum(entry.inference_stats.success.count for entry in entries),
        sum(entry.inference_stats.fail.count for entry in entries),
        sum(entry.inference_count for entry in entries),
        sum(entry.execution_count for entry in entries),
        dict(by_rows),
        reasons,
        rows_of_all,
        workers,
    )


def since(before: Counted, now: Counted) -> Counted | None:
    """What was counted between the looks; None where a counter went back, as when a model is loaded again."""
    by_rows = _less(now.by_rows, before.by_rows)
    reasons = None if now.reasons is None or before.reasons is None else _less(now.reasons, before.reasons)
    rows_of_all = None if now.rows_of_all is None or before.rows_of_all is None else now.rows_of_all - before.rows_of_all
    found = Counted(
        now.requests - before.requests,
        now.failed - before.failed,
        now.rows - before.rows,
        now.calls - before.calls,
        by_rows,
        reasons,
        rows_of_all,
        now.workers,
    )
    numbers = (found.requests, found.failed, found.rows, found.calls, *by_rows.values(), *(reasons or {}).values())
    return found if min((*numbers, rows_of_all or 0)) >= 0 else None


def formed(told: Counted | None, shared: Mapping[int, int], answered: int) -> Batches | None:
    """The batches behind ``answered`` answers; ``shared``: rows of answers by the rows of the call that they shared.

    The statistics count where they are of all there is: one worker serves, or they know of as many requests as were answered. None
    where nothing is known.
    """
    reasons = None if told is None or told.reasons is None else {name: count for name, count in told.reasons.items() if count}
    if told is not None and told.calls and told.requests >= answered and told.workers in (None, 1):
        by_rows = {rows: calls for rows, calls in sorted(told.by_rows.items()) if calls}
        return Batches(told.calls, told.rows, by_rows, "statistics", reasons)
    estimated = {rows: max(1, round(total / rows)) for rows, total in sorted(shared.items()) if rows}
    if not estimated:
        return None
    if told is not None and told.reasons and told.rows_of_all:
        return Batches(sum(told.reasons.values()), told.rows_of_all, estimated, "answers", reasons)
    return Batches(sum(estimated.values()), sum(shared.values()), estimated, "answers", reasons)


def _of_all(
    scraped: Iterable[Sample] | None, model: str, version: str | None
) -> tuple[dict[str, int] | None, int | None, int | None]:
    """Calls by why their batch closed, rows, and workers that serve."""
    if scraped is None:
        return None, None, None
    reasons: Counter[str] = Counter()
    rows = workers = 0
    for sample in scraped:
        labels = sample.labels
        if sample.name == _WORKERS and labels.get("phase") == "serving":
            workers += int(sample.value)
        elif labels.get("model") == model and version in (None, labels.get("version")):
            if sample.name == _BATCHES:
                reasons[labels.get("reason", "")] += int(sample.value)
            elif sample.name == _ROWS:
                rows += int(sample.value)
    return dict(reasons), rows, workers or None


def _less(now: Mapping[_Key, int], before: Mapping[_Key, int]) -> dict[_Key, int]:
    return {key: now.get(key, 0) - before.get(key, 0) for key in {*now, *before}}
