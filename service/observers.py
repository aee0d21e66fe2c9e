"""Who is told of the requests that end: what the configuration asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from service import logs
from service.account import Observer
from service.capture.capture import Capture
from service.config import Config
from service.errors import ConfigError
from service.logs.request_log import RequestLog
from service.processes.place import Place
from service.sections import Tracing


def observers(config: Config, place: Place) -> list[Observer]:
    """The observers of one worker, in the order in which they are told."""
    told: list[Observer] = []
    writer = logs.current()
    if writer is not None and config.log.requests:
        told.append(RequestLog(config.log, writer))
    capture = Capture.of(config.log)
    if capture is not None:
        told.append(capture)
    if config.tracing.endpoint is not None:
        told.append(_tracer(config.tracing, place))
    return told


@runtime_checkable
class Keeping(Protocol):
    """An observer that keeps something, to be brought home when the server stops."""

    async def finish(self) -> None:
        """Does so, and does not take long."""


async def finish(told: Iterable[Observer]) -> None:
    """Nothing more will be told: lets each observer bring home what it keeps."""
    for observer in told:
        if isinstance(observer, Keeping):
            await observer.finish()


def _tracer(config: Tracing, place: Place) -> Observer:
    try:
        from service.tracing.tracer import tracer
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("opentelemetry"):
            raise
        raise ConfigError(
            "[tracing] endpoint is set and OpenTelemetry is not installed; pip install 'tureen[tracing]', or leave it out"
        ) from error
    return tracer(config, place)
