"""What is tried: settings of `[batching]`, and how many threads the runtime computes with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from models.manifest import Batching, Manifest

Close = Literal["early", "full"]

#: Windows are halved down to that, and then to 0 (ms); nothing waits so exactly.
_SHORTEST_MS = 0.25


@dataclass(frozen=True, slots=True)
class Settings:
    """One way to batch a model, named as in `model.toml`; ``threads`` are the runtime's."""

    max_rows: int
    window_ms: float
    close: Close
    instances: int
    threads: int

    @classmethod
    def of(cls, manifest: Manifest) -> Settings:
        """Those of a model as it lies in its repository."""
        batching = manifest.batching
        return cls(batching.max_rows, batching.window_ms, batching.close, batching.instances, manifest.runtime.threads)

    def sections(self) -> dict[str, dict[str, Any]]:
        """As sections of `model.toml`."""
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "threads"}
        return {"batching": named, "runtime": {"threads": self.threads}}

    def __str__(self) -> str:
        said = f"{self.max_rows} rows, {self.window_ms:g} ms, {self.close}"
        for count, what in ((self.instances, "instance"), (self.threads, "thread")):
            said += f", {count} {what}s" if count > 1 else ""
        return said

    def differences(self, other: Settings) -> int:
        """In how many ways the two differ; a window and how it closes are one."""
        return sum(
            (
                self.max_rows != other.max_rows,
                (self.window_ms, self.close) != (other.window_ms, other.close),
                self.instances != other.instances,
                self.threads != other.threads,
            )
        )


@dataclass(frozen=True, slots=True)
class Space:
    """Which settings are worth a try: at most so many rows, milliseconds of window, instances and threads.

    ``batched``: whether rows are stacked at all; where they are not, a window changes nothing.
    """

    max_rows: int
    window_ms: float
    instances: int
    threads: int
    batched: bool = True

    def coarse(self, current: Settings) -> list[Settings]:
        """A grid around the current settings, first those and the defaults, then what differs from them least."""
        default = Batching()
        rows = [current.max_rows, *self._rows(current.max_rows, 4)]
        if self.batched and default.max_rows <= self.max_rows:
            rows.insert(1, default.max_rows)
        windows: list[tuple[float, Close]] = [(current.window_ms, current.close)]
        if self.batched:
            windows += [(0.0, "early"), (min(5.0, self.window_ms), "early"), (min(2.0, self.window_ms), "full")]
        instances, threads = _distinct(current.instances, self.instances), _distinct(current.threads, self.threads)
        grid = [
            Settings(most, window, close, calls, many)
            for most, (window, close), calls, many in itertools.product(rows, windows, instances, threads)
        ]
        grid.sort(key=current.differences)  # stable
        defaults = replace(current, max_rows=default.max_rows, window_ms=default.window_ms, close=default.close, instances=1)
        return list(dict.fromkeys([current, *([defaults] if self.batched else []), *grid]))

    def neighbours(self, settings: Settings) -> list[Settings]:
        """Those one small step away."""
        return [one for one in dict.fromkeys(self._steps(settings)) if one != settings]

    def _steps(self, settings: Settings) -> Iterator[Settings]:
        if self.batched:
            for rows in self._rows(settings.max_rows, 2):
                yield replace(settings, max_rows=rows)
            shorter = settings.window_ms / 2
            yield replace(settings, window_ms=shorter if shorter >= _SHORTEST_MS else 0.0)
            longer = max(2 * settings.window_ms, 2 * _SHORTEST_MS)
            if longer <= self.window_ms:
                yield replace(settings, window_ms=longer)
            yield replace(settings, close="full" if settings.close == "early" else "early")
        for step in (1, -1):
            if 1 <= settings.instances + step <= self.instances:
                yield replace(settings, instances=settings.instances + step)
            if 1 <= settings.threads + step <= self.threads:
                yield replace(settings, threads=settings.threads + step)

    def _rows(self, rows: int, factor: int) -> list[int]:
        if not self.batched:
            return []
        return [many for many in (rows * factor, rows // factor) if 1 <= many <= self.max_rows]


def _distinct(current: int, most: int) -> list[int]:
    return [current, *([most] if most > current else [])]
