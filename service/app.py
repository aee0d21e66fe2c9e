"""The Quart app: blueprints around an engine, with the express lane in front.

    app = create_app(Config(repository=Path("repository")))

It is an ordinary Quart app: register blueprints, error handlers and hooks on it, mount a Flask app under a path of it
(``service.mounts``), and serve it with any ASGI server. Models load in the background once it is served; until they are ready,
``/v2/health/ready`` says 503.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from quart import Quart

from models.registry import Registry
from models.repository import Repository
from service.account import Account
from service.blueprints import BLUEPRINTS
from service.blueprints.accounts import keep_accounts
from service.blueprints.browsers import answer_browsers
from service.blueprints.faults import answer_faults
from service.blueprints.gatekeeping import keep_gate
from service.blueprints.jobs import STREAMED
from service.blueprints.streaming import stream_bodies
from service.bounds import keep_bounds
from service.cache.shelf import open_shelf
from service.config import Config
from service.context import EXTENSION, Service
from service.converters import CONVERTERS
from service.engine import Engine
from service.guard.budgets.budgets import open_budgets
from service.guard.credentials.keyring import Keyring
from service.guard.gate import Gate
from service.guard.limited import Limited
from service.hooks import request_hooks
from service.inference import Inference
from service.jobs.callback import Callbacks
from service.jobs.desk import Desk
from service.lane.express import ExpressLane
from service.lane.probes import Probes
from service.metrics import families
from service.metrics.exporter import Exporter
from service.mounts import beneath_mounts
from service.observers import finish, observers
from service.password import password_of
from service.processes.place import Place
from service.rate_limits import limit_routes
from service.sections import Auth
from service.spelling import SpelledOnce
from service.store import prepare
from service.store.follower import Follower

if TYPE_CHECKING:
    from service.guard.credentials.tokens import Tokens

log = logging.getLogger("tureen.app")


def create_app(config: Config, place: Place | None = None) -> Quart:
    """The service for one repository, by default as a server's only worker. Nothing is loaded before the app is served."""
    place = place or alone(config)
    shelf = partial(open_shelf, config.cache, password_of(config.cache.password_file, "[cache] password_file"))
    engine = Engine(Registry(open_repository(config)), shelf)
    exporter = Exporter(place, engine, config.server) if config.metrics.enabled else None
    told = [*([] if exporter is None else [exporter.meter]), *observers(config, place)]
    account = Account(told)
    keyring = Keyring()
    tokens = _tokens(config.auth)
    limited = Limited() if exporter is None else exporter.limited
    stood_in = None if exporter is None else exporter.counter(families.STOOD_IN)
    budgets = open_budgets(config, place, engine.limits, limited, stood_in)
    gate = Gate(config.auth, config.limits, keyring, tokens, budgets)
    follower = Follower(engine, place, config.workers, keyring=keyring if config.auth.api_keys else None, tokens=tokens)
    inference = Inference(engine, config.limits, account, limited, gate)
    jobs = Desk(config, place, engine, gate) if config.jobs.enabled else None
    if jobs is not None and exporter is not None:
        exporter.watch(jobs.readings)
    callbacks = None if jobs is None else Callbacks(jobs, config.jobs)
    service = Service(config, engine, inference, place, follower, gate, exporter, jobs)
    app = SpelledOnce("tureen", static_folder=None, template_folder=None)
    app.config["RESPONSE_TIMEOUT"] = None  # each request has its own deadline, and streams have none
    app.extensions[EXTENSION] = service
    app.url_map.converters.update(CONVERTERS)
    app.url_map.merge_slashes = False  # as `spelling` has it
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    answer_faults(app)
    keep_bounds(app, config.limits, limited)
    stream_bodies(app, STREAMED)
    keep_accounts(app, account)
    keep_gate(app, service)
    limit_routes(app, budgets)
    answer_browsers(app, config.cors.allow_origins)
    blueprints = [blueprint.name for blueprint in BLUEPRINTS]
    ours = request_hooks(app, blueprints)
    probes = Probes(service.ailments, account)
    lane = ExpressLane(app.asgi_app, service.inference, probes, lambda: service.express)

    @app.before_serving
    async def start() -> None:
        service.express = request_hooks(app, blueprints) <= ours
        service.first = service.express and beneath_mounts(app.asgi_app) is lane
        if not service.express:
            log.warning("the app has request hooks of its own, so inference requests go through Quart, which is slower")
        if exporter is not None:
            exporter.start()
        await budgets.start()
        follower.open()
        await follower.learn()  # nobody who has a key is turned away at the start
        service.loading = asyncio.get_running_loop().create_task(follower.start())
        if jobs is not None and callbacks is not None:
            await jobs.start()
            callbacks.start()
        service.started.set()

    @app.after_serving
    async def stop() -> None:
        if service.loading is not None:
            service.loading.cancel()  # what loads now is waited for as long as what computes
        if jobs is not None and callbacks is not None:
            await callbacks.close()
            await jobs.close()
        await follower.close()
        await engine.close()
        await budgets.close()
        if exporter is not None:
            await exporter.stop()
        await finish(told)

    app.asgi_app = lane  # type: ignore[method-assign]  # as Quart documents middleware
    return app


def _tokens(auth: Auth) -> Tokens | None:
    if auth.jwt_keys is None:
        return None
    from service.guard.credentials.tokens import (
        Tokens,  # what signatures are checked with is large, and most servers have no use for it
    )

    return Tokens.open(auth)


def alone(config: Config) -> Place:
    """Where an app stands that no supervisor runs: what outlives it, keys among it, is in its own state directory.

    Raises ConfigError, StoreUnavailable, OSError where that cannot be used.
    """
    state = config.store.state_dir
    if state is None:
        return Place()
    state.mkdir(0o700, parents=True, exist_ok=True)
    prepare(state)
    return Place(state=state.resolve())


def open_repository(config: Config) -> Repository:
    """A directory of models, or one model's directory or file. Raises LoadError where it is none of these."""
    path = config.repository
    return Repository.single_file(path, config.name) if path.is_file() else Repository(path, config.name)
