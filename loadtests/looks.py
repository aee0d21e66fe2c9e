"""What a server tells of itself, before and after: the batches it formed, its CPU time, what its cache was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from service.commands.bench.batches import Batches, Counted, counted, since
from service.commands.client import Client, Unreachable
from service.commands.exposition import Sample, samples
from service.metrics import families


@dataclass(frozen=True, slots=True)
class Look:
    """Counters of one moment, at most half a second old. ``cpu_s``: of all workers, None where it is not told."""

    models: Mapping[str, Counted] = field(default_factory=dict)
    cpu_s: float | None = None
    cache: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """What was counted between two looks. ``batches`` by model, of those whose counters went on."""

    batches: Mapping[str, Batches] = field(default_factory=dict)
    cpu_s: float | None = None
    cache: Mapping[str, int] = field(default_factory=dict)

    @property
    def all(self) -> Batches | None:
        """The batches of all models together; None where none are known."""
        if not self.batches:
            return None
        by_rows: Counter[int] = Counter()
        for each in self.batches.values():
            by_rows.update(each.by_rows)
        many = self.batches.values()
        return Batches(
            sum(each.calls for each in many), sum(each.rows for each in many), dict(sorted(by_rows.items())), "statistics"
        )


def look(url: str, models: Sequence[str]) -> Look:
    """What the server says now; what it does not say is left out."""
    found: dict[str, Counted] = {}
    with Client(url) as client:
        try:
            scrape = client.get("/metrics")
            scraped = list(samples(scrape.body.decode("utf-8", "replace"))) if scrape.status == 200 else []
            for model in models:
                stats = client.get(f"/v2/models/{quote(model, safe='')}/stats")
                if stats.status == 200:
                    found[model] = counted(stats.json(), scraped, model, None)
        except (Unreachable, ValueError):
            return Look()
    return Look(found, cpu_s(scraped), cache(scraped))


def between(before: Look, after: Look) -> Told:
    """What was counted meanwhile."""
    batches = {}
    for model in before.models.keys() & after.models.keys():
        told = since(before.models[model], after.models[model])
        if told is not None and told.calls and told.workers in (None, 1):
            by_rows = {rows: calls for rows, calls in sorted(told.by_rows.items()) if calls}
            batches[model] = Batches(told.calls, told.rows, by_rows, "statistics", told.reasons)
    cpu = None if before.cpu_s is None or after.cpu_s is None else after.cpu_s - before.cpu_s
    answered = {result: count - before.cache.get(result, 0) for result, count in after.cache.items()}
    return Told(dict(sorted(batches.items())), cpu, {result: count for result, count in answered.items() if count})


def cpu_s(scraped: Iterable[Sample]) -> float | None:
    """User and system time of all workers; None where it is not among the samples."""
    found = [sample.value for sample in scraped if sample.name == families.CPU.exposed]
    return sum(found) if found else None


def cache(scraped: Iterable[Sample]) -> dict[str, int]:
    """Lookups by their result."""
    found: Counter[str] = Counter()
    for sample in scraped:
        if sample.name == families.CACHE.exposed:
            found[sample.labels.get("result", "")] += int(sample.value)
    return dict(found)
