"""A server that is a formula, on a clock of its own: for searches that have to find what is known to be there."""

from __future__ import annotations

import math
import random

from service.commands.tune.measured import Point
from service.commands.tune.settings import Settings


class Machine:
    """A call takes 5 ms + 0.05 ms a row, as many at once as there are instances up to 2, so that larger batches go further.

    Latency is that of a queue with a window in front; measured with ``noise``, the standard deviation of its logarithm.
    """

    def __init__(self, noise: float = 0.0, seed: int = 1, interrupt_after: int | None = None) -> None:
        self.clock = 0.0
        self.turns: list[tuple[Settings, float | None]] = []
        self._noise, self._random, self._last = noise, random.Random(seed), interrupt_after

    def now(self) -> float:
        return self.clock

    def capacity(self, settings: Settings) -> float:
        """Requests a second."""
        rows = min(settings.max_rows, 64)
        return rows / (0.005 + 0.00005 * rows) * min(settings.instances, 2)

    def p99_ms(self, settings: Settings, rate: float) -> float:
        """Without noise."""
        load = rate / self.capacity(settings)
        wait = settings.window_ms if settings.close == "full" else settings.window_ms / 10
        return math.inf if load >= 1 else 8 + wait + 5 * load / (1 - load)

    def measure(self, settings: Settings, rate: float | None, seconds: float, seed: int) -> Point:
        if self._last is not None and len(self.turns) >= self._last:
            raise KeyboardInterrupt
        self.turns.append((settings, rate))
        self.clock += seconds + 0.1
        asked = 0.98 * self.capacity(settings) if rate is None else rate
        slowness = math.exp(self._random.gauss(0, self._noise))
        p99 = self.p99_ms(settings, asked) * slowness
        lost = 0 if math.isfinite(p99) else 100
        return Point(rate, min(asked, self.capacity(settings)), p99 / 3, p99, 1000, lost)
