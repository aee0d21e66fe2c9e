"""What each version of a model has done up to a look at its server, and between two."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from service.commands.exposition import Sample
from service.commands.look import Json, Look
from service.metrics import families

#: A model's name and its version, empty where a request reached none.
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Counted:
    """What one version has done up to a look: requests, those that failed, seconds and buckets of the latency of
    those that were answered, rows and calls."""

    requests: float = 0
    errors: float = 0
    timed: float = 0
    seconds: float = 0
    rows: float = 0
    calls: float = 0
    buckets: tuple[tuple[float, float], ...] = ()

    def since(self, before: Counted) -> Counted:
        """What came after ``before``; all of it where a counter went back, as when a worker was replaced."""
        older = dict(before.buckets)
        later = Counted(
            self.requests - before.requests,
            self.errors - before.errors,
            self.timed - before.timed,
            self.seconds - before.seconds,
            self.rows - before.rows,
            self.calls - before.calls,
            tuple((bound, count - older.get(bound, 0)) for bound, count in self.buckets),
        )
        numbers = (later.requests, later.errors, later.timed, later.rows, later.calls, *(count for _, count in later.buckets))
        return self if min(numbers) < 0 else later


def counted(seen: Look) -> dict[Key, Counted]:
    """Each version's, by what `/metrics` says, or where it is not to be had the statistics."""
    if seen.samples is None:
        return {(str(entry.get("name")), str(entry.get("version"))): _from_statistics(entry) for entry in seen.statistics}
    return _from_metrics(seen.samples)


def _from_statistics(entry: Json) -> Counted:
    inference = entry.get("inference_stats", {})
    success, fail = inference.get("success", {}), inference.get("fail", {})
    done = float(success.get("count", 0))
    return Counted(
        requests=done + fail.get("count", 0),
        errors=float(fail.get("count", 0)),
        timed=done,
        seconds=success.get("ns", 0) / 1e9,
        rows=float(entry.get("inference_count", 0)),
        calls=float(entry.get("execution_count", 0)),
    )


def _from_metrics(seen: Iterable[Sample]) -> dict[Key, Counted]:
    seen = list(seen)
    requests = by_version(seen, families.REQUESTS.exposed)
    errors = by_version(seen, families.REQUESTS.exposed, lambda sample: not sample.labels.get("code", "").startswith("2"))
    latency = families.DURATION.exposed
    timed, seconds = by_version(seen, f"{latency}_count", _answered), by_version(seen, f"{latency}_sum", _answered)
    # Not the histogram of rows: that one counts a batch once for each of its requests.
    rows, calls = by_version(seen, families.ROWS_ANSWERED.exposed), by_version(seen, families.BATCHES.exposed)
    buckets = _buckets(seen)
    return {
        key: Counted(
            requests.get(key, 0),
            errors.get(key, 0),
            timed.get(key, 0),
            seconds.get(key, 0),
            rows.get(key, 0),
            calls.get(key, 0),
            tuple(sorted(buckets.get(key, {}).items())),
        )
        for key in {*requests, *timed, *calls}
    }


def by_version(seen: Iterable[Sample], name: str, wanted: Callable[[Sample], bool] = lambda _: True) -> dict[Key, float]:
    """A name's values, added up by model and version over all its other labels."""
    totals: dict[Key, float] = {}
    for sample in seen:
        if sample.name == name and wanted(sample) and not math.isnan(sample.value):
            key = _key(sample)
            totals[key] = totals.get(key, 0) + sample.value
    return totals


def _answered(sample: Sample) -> bool:
    """Whether a duration is of answered requests: those of refusals, made in no time, are best when a server is at its worst."""
    return sample.labels.get("class", "2xx") == "2xx"  # an older server does not tell them apart


def _buckets(seen: Iterable[Sample]) -> dict[Key, dict[float, float]]:
    found: dict[Key, dict[float, float]] = {}
    for sample in seen:
        if sample.name == f"{families.DURATION.exposed}_bucket" and _answered(sample):
            bounds = found.setdefault(_key(sample), {})
            bound = float(sample.labels.get("le", "inf"))
            bounds[bound] = bounds.get(bound, 0) + sample.value
    return found


def _key(sample: Sample) -> Key:
    return sample.labels.get("model", ""), sample.labels.get("version", "")
