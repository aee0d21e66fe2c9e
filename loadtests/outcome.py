"""What a run came to: written by Locust's process, read by the one that makes the report."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.looks import Told
from loadtests.verdict import Check
from service.commands.bench.histogram import Histogram
from service.commands.bench.result import Result


@dataclass(slots=True)
class Kind:
    """Requests that are counted together; ``beside``: they are no part of the load."""

    latency: Histogram = field(default_factory=Histogram)
    failed: int = 0
    beside: bool = False


@dataclass(slots=True)
class Outcome:
    """A scenario's run: ``result`` as `tureen bench` has it, what the server told, and the verdict."""

    scenario: str
    server: str
    result: Result
    kinds: dict[str, Kind]
    told: Told
    checks: tuple[Check, ...]

    @property
    def requests(self) -> int:
        """How many were answered or failed."""
        return sum(kind.latency.count + kind.failed for kind in self.kinds.values() if not kind.beside)

    @property
    def cpu_us(self) -> float | None:
        """The server's CPU time a request, in microseconds; None where it does not tell."""
        cpu_s, requests = self.told.cpu_s, self.requests
        return None if cpu_s is None or not requests else 1e6 * cpu_s / requests

    def save(self, file: Path) -> None:
        """For ``load``, by another process of the same run."""
        file.write_bytes(pickle.dumps(self))


def load(file: Path) -> Outcome:
    """What was saved. Raises OSError where nothing was. Of files that a run of one's own made, and no others."""
    found = pickle.loads(file.read_bytes())
    if not isinstance(found, Outcome):
        raise TypeError(f"expected an outcome, got {type(found).__name__}")
    return found
