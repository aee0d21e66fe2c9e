"""What a trainer of the demo tells: how far it is, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Report = Callable[[str, float], None]
"""Called by a trainer with what it does now and the share, 0 to 1, of its work that is done."""


@dataclass(frozen=True, slots=True)
class Progress:
    """``model`` is being trained, ``done`` (0 to 1) of the whole demo is behind us."""

    model: str
    step: str
    done: float


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure measured on held-out data, beside that of the obvious simpler way where there is one."""

    name: str
    value: float
    baseline_name: str = ""
    baseline: float | None = None

    def __str__(self) -> str:
        beside = f" ({self.baseline_name} {self.baseline:.3f})" if self.baseline is not None else ""
        return f"{self.name} {self.value:.3f}{beside}"


@dataclass(frozen=True, slots=True)
class Trained:
    """A model of the demo: its versions, its held-out metrics, and an instance to send it in TensorFlow Serving's row form."""

    name: str
    summary: str
    versions: tuple[int, ...]
    metrics: tuple[Metric, ...]
    example: Mapping[str, object]
    seconds: float = 0.0
