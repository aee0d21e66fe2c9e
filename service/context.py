"""What an app's routes work with, kept where Flask's extensions keep theirs."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from quart import Quart, current_app

from service.config import Config
from service.engine import Engine
from service.guard.gate import Gate
from service.health import Ailment, ailments
from service.inference import Inference
from service.jobs.desk import Desk
from service.metrics.exporter import Exporter
from service.processes.place import Place
from service.store.follower import Follower

EXTENSION = "tureen"


@dataclass(slots=True)
class Service:
    """One app's configuration, engine and way of answering. ``exporter``: None where nothing is counted; ``jobs``: where none are
    taken. ``started``: the app is served, and ``loading`` its models. ``express``: whether the express lane may take requests;
    ``first``: whether nothing of the user's stands in front of it either, so that a server may take them before the app sees them.
    ``parting``: the worker is about to stop, so answers close their connections."""

    config: Config
    engine: Engine
    inference: Inference
    place: Place
    follower: Follower
    gate: Gate
    exporter: Exporter | None = None
    jobs: Desk | None = None
    loading: asyncio.Task[None] | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    express: bool = True
    first: bool = False
    parting: bool = False

    def ailments(self) -> list[Ailment]:
        """Why the server is not ready, by what all its workers say of themselves; empty when it is."""
        self.follower.tell()
        board = self.place.board
        return ailments(board, min(self.config.workers, len(board)), time.monotonic())


def service_of(app: Quart | None = None) -> Service:
    """The service of an app that ``create_app`` made, of the current one by default. Raises TypeError for any other app."""
    service = (current_app if app is None else app).extensions.get(EXTENSION)
    if not isinstance(service, Service):
        raise TypeError("the app was not made by service.create_app")
    return service
