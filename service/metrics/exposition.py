"""From the cells and the board of all workers to one scrape: Prometheus's text format, or OpenMetrics where it is asked for."""

from __future__ import annotations

import math
import platform
import time
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version as version_of
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from service.metrics import families
from service.metrics.cells import Cells, Key
from service.metrics.families import COUNTED, READ, Family
from service.processes.board import Board, Line, Phase

#: A worker whose gauges say something.
ALIVE: Final = frozenset({Phase.STARTING, Phase.SERVING, Phase.DRAINING})
PLAIN: Final = "text/plain"
OPEN: Final = "application/openmetrics-text"

Labelled = dict[tuple[str, ...], list[float]]


class Exposition(Collector):
    """A custom collector of prometheus_client's: what all workers have counted, as it stands when it is collected.

    One collection at a time; it may run in a thread.
    """

    def __init__(self, board: Board, cells: Cells, own: int, server: str) -> None:
        self._board, self._cells, self._own = board, cells, own
        self._build = (version_of("tureen"), platform.python_version(), server)

    def collect(self) -> Iterator[Metric]:
        """Every family, also those of which there is no series yet."""
        now = time.monotonic()
        counted = self._add_up()
        for family in COUNTED.values():
            yield _metric(family, counted[family.name])
        read = self._read(now)
        for family in READ.values():
            yield _metric(family, read[family.name])

    def write(self, accept: str) -> tuple[bytes, str]:
        """The scrape, and its content type."""
        # What the library would make of the caller's own header, it repeats in the answer; and some of them it fails on.
        encode, content_type = choose_encoder(f"{OPEN}; version=1.0.0" if wants_open(accept) else PLAIN)
        return encode(self), content_type

    def _add_up(self) -> dict[str, Labelled]:
        """Counters over all lines ever used, gauges over those whose worker lives. A series of a form that is not ours is left out:
        another version of Tureen may have served from this memory."""
        alive = [line.slot for line in self._board if self._is_alive(line)]
        serving = [slot for slot in alive if self._board[slot].phase is Phase.SERVING] or alive
        sums: dict[str, Labelled] = defaultdict(dict)
        said: dict[Key, int] = defaultdict(int)
        for slot in range(self._cells.slots):
            for key, values in self._cells.read(slot):
                family = COUNTED.get(key[0])
                if family is None or len(values) != family.width or len(key) != 1 + len(family.labels):
                    continue
                if family.kind == "gauge" and (slot not in (serving if family.least else alive) or math.isnan(values[0])):
                    continue
                said[key] += 1
                known = sums[family.name].get(key[1:])
                if known is None:
                    sums[family.name][key[1:]] = values
                elif family.least:
                    known[0] = min(known[0], values[0])
                else:
                    for place, value in enumerate(values):
                        known[place] += value
        for family in COUNTED.values():
            if family.least:  # whoever says nothing has not got it
                for labels, known in sums[family.name].items():
                    if said[family.name, *labels] < len(serving):
                        known[0] = 0.0
        return sums

    def _read(self, now: float) -> dict[str, Labelled]:
        lines = [line for line in self._board if self._is_alive(line)]
        used = [line for line in self._board if line.phase is not Phase.NONE or line.starts]
        phases = [line.phase for line in self._board]
        known = [phase for phase in Phase if phase is not Phase.NONE]
        return {
            families.WORKERS.name: {(phase.name.lower(),): [float(phases.count(phase))] for phase in known},
            families.WORKERS_READY.name: {(): [float(sum([line.ready and line.phase is Phase.SERVING for line in lines]))]},
            families.STARTS.name: {_named(line): [float(line.starts)] for line in used},
            families.CONNECTIONS.name: {_named(line): [float(line.connections)] for line in lines},
            families.SILENCE.name: {_named(line): [max(0.0, now - line.beat)] for line in lines if line.beat},
            families.DROPPED_SERIES.name: {(): [float(self._cells.dropped())]},
            families.BUILD.name: {self._build: [1.0]},
        }

    def _is_alive(self, line: Line) -> bool:
        return line.phase in ALIVE or line.slot == self._own


def wants_open(accept: str) -> bool:
    """Whether OpenMetrics is taken, and no less gladly than the plain format."""
    weights = dict([_weighed(item) for item in accept.lower().split(",")[:32]])
    wanted = weights.get(OPEN, 0.0)
    return wanted > 0 and wanted >= weights.get(PLAIN, 0.0)


def _weighed(item: str) -> tuple[str, float]:
    essence, *parameters = [part.strip() for part in item.split(";")]
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return essence, 0.0
            return essence, weight if 0 <= weight <= 1 else 0.0
    return essence, 1.0


def _named(line: Line) -> tuple[str, ...]:
    return (str(line.slot),)


def _metric(family: Family, series: Labelled) -> Metric:
    """prometheus_client's family of these series, in the order of their labels."""
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        bounds = [*map(str, family.bounds), "+Inf"]
        for labels, (*counts, total) in sorted(series.items()):
            histogram.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for labels, (value,) in sorted(series.items()):
        metric.add_metric(labels, value)
    return metric
