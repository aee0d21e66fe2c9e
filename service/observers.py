"""Who is told of the requests that end: what the configuration asks for."""

from __future__ import annotations

from service import logs
from service.account import Observer
from service.capture import Capture
from service.config import Config
from service.place import Place
from service.request_log import RequestLog


def observers(config: Config, place: Place) -> list[Observer]:
    """The observers of one worker, in the order in which they are told."""
    told: list[Observer] = []
    writer = logs.current()
    if writer is not None and config.log.requests:
        told.append(RequestLog(config.log, writer))
    capture = Capture.of(config.log)
    if capture is not None:
        told.append(capture)
    return told
