"""From a batcher's counters to the statistics that the protocol gives."""

from __future__ import annotations

from batching import Batcher
from batching.statistics import Calls, Tally
from service.engine import Served
from service.protocol.metadata import BatchTotals, ModelStatistics, Total, Tuning


def of(served: Served) -> ModelStatistics:
    """What one version has done since it was loaded."""
    counted, answers = served.batcher.statistics, served.answers
    given = () if answers is None else (answers.hit, answers.joined)  # all who did not have it computed themselves
    return ModelStatistics(
        served.model,
        served.version,
        last_inference=round(1000 * counted.last_call_at),
        inference_count=counted.rows,
        execution_count=counted.total.call.count,
        success=_total(counted.success, *given),
        fail=_total(counted.fail),
        queue=_total(counted.queue),
        compute_input=_total(counted.total.collate),
        compute_infer=_total(counted.total.call),
        compute_output=_total(counted.total.scatter),
        cache_hit=_total(*given),
        cache_miss=Total() if answers is None else _total(answers.miss),
        batches=tuple(_batches(rows, calls) for rows, calls in sorted(counted.by_rows.items())),
        tuning=_tuning(served.batcher),
    )


def _tuning(batcher: Batcher) -> Tuning | None:
    tuned = batcher.tuned
    if tuned is None:
        return None
    p99_ms = None if tuned.p99_s is None else round(1000 * tuned.p99_s, 3)
    window_ms = round(1000 * tuned.window_s, 3)
    return Tuning(1000 * tuned.target_s, tuned.max_rows, window_ms, p99_ms, batcher.statistics.refused_for_target)


def _batches(rows: int, calls: Calls) -> BatchTotals:
    return BatchTotals(rows, _total(calls.collate), _total(calls.call), _total(calls.scatter))


def _total(*tallies: Tally) -> Total:
    return Total(sum([tally.count for tally in tallies]), sum([tally.ns for tally in tallies]))
