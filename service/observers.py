"""Who is told of the requests that end: what the configuration asks for."""

from __future__ import annotations

from service.account import Observer
from service.config import Config
from service.place import Place


def observers(config: Config, place: Place) -> list[Observer]:
    """The observers of one worker, in the order in which they are told."""
    return []
