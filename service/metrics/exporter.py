"""One worker's part in the metrics: its probe while it serves, and the scrape of all workers where it is the one that is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from service import logs
from service.engine import Engine
from service.guard.limited import Limited
from service.metrics import families
from service.metrics.cells import Cells
from service.metrics.exposition import Exposition
from service.metrics.families import Family
from service.metrics.meter import Meter
from service.metrics.probe import Probe, Readings
from service.processes.place import Place
from service.protocol.infer import Encoded


class Exporter:
    """Counts and publishes what a worker knows, and writes what all of them have. ``meter`` is who is told of requests,
    ``limited`` of what goes over a limit."""

    def __init__(self, place: Place, engine: Engine, server: str) -> None:
        cells = place.cells or Cells.create(len(place.board))
        region = cells.region(place.slot)
        self.meter = Meter(region, engine.registry.knows)
        self.limited = Limited(region)
        self._engine, self._region = engine, region
        self._readings: list[Readings] = [_logged]
        self._probe = Probe(engine, region, place.slot, self._read)
        self._exposition = Exposition(place.board, cells, place.slot, server)
        self._turn = asyncio.Lock()

    def start(self) -> None:
        """The app is served."""
        self._probe.start()

    async def stop(self) -> None:
        """The app has done its last."""
        await self._probe.stop()

    def counter(self, family: Family) -> Callable[[], None]:
        """What counts one more of a family without labels. On the event loop alone."""
        cells, cell = self._region.cells, self._region.cell((family.name,))

        def count() -> None:
            cells[cell] += 1.0

        return count

    def watch(self, readings: Readings) -> None:
        """Publishes what they tell of, too."""
        self._readings.append(readings)

    async def scrape(self, accept: str) -> Encoded:
        """All workers' metrics. Written in a thread, one scrape after the other."""
        async with self._turn:
            self._probe.publish()
            writing = asyncio.get_running_loop().run_in_executor(self._engine.threads.calls, self._exposition.write, accept)
            try:
                body, content_type = await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait([writing])  # the next one may not begin before: they share what they have read
                raise
        return Encoded(body, content_type.encode())

    def _read(self) -> Mapping[tuple[Family, tuple[str, ...]], float]:
        return {key: value for readings in self._readings for key, value in readings().items()}


def _logged() -> Mapping[tuple[Family, tuple[str, ...]], float]:
    writer = logs.current()
    if writer is None:
        return {}
    return {
        (families.LOG_LINES, ()): writer.written,
        (families.LOG_DROPPED, ()): writer.dropped,
        (families.LOG_LEFT_OUT, ()): writer.left_out,
    }
