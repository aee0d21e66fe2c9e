"""The two servers that the app runs on. Nothing in the app knows which.

Both run on uvloop, are told to stop by the same event, and then finish what is in flight for up to ``[drain] timeout_s``; what is
left then is answered with 503.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import hypercorn.asyncio
import uvicorn
import uvloop
from hypercorn.config import Config as HypercornConfig
from quart import Quart

from service.config import Config
from service.context import service_of
from service.errors import ConfigError
from service.express_hypercorn import use_express_connections
from service.express_uvicorn import express_protocol
from service.hypercorn_settings import DEFAULTS, read_hypercorn

#: After the time to finish requests in: for telling their clients that it is over (seconds).
TELLING_S = 1.0


def listen(config: Config) -> socket.socket:
    """The listening socket. Raises ConfigError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in config.bind.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((config.bind.host, config.bind.port))
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen on {config.bind}: {error.strerror}; give another --bind") from error
    listening.setblocking(False)
    return listening


def run(app: Quart, config: Config, listening: socket.socket, announce: Callable[[], None]) -> None:
    """Serves until SIGTERM or SIGINT. ``announce`` is called once, when all that will load has loaded."""
    uvloop.run(_run(app, config, listening, announce))
    if service_of(app).engine.stuck:  # the interpreter would wait for a thread that cannot be stopped
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)


async def _run(app: Quart, config: Config, listening: socket.socket, announce: Callable[[], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    service = service_of(app)

    async def drain() -> None:
        service.engine.draining = True  # readiness says so at once; a balancer needs time to see it
        await asyncio.sleep(config.drain.delay_s)
        stop.set()

    async def give_up() -> None:
        await stop.wait()
        await asyncio.sleep(config.drain.timeout_s)
        service.engine.give_up()

    async def announce_when_loaded() -> None:
        await service.started.wait()
        if service.loading is not None:
            await service.loading
        announce()

    side: list[asyncio.Task[None]] = []

    def on_signal() -> None:
        if service.engine.draining:
            stop.set()  # the second signal: no more patience
        else:
            side.append(loop.create_task(drain()))

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, on_signal)
    side += [loop.create_task(announce_when_loaded()), loop.create_task(give_up())]
    serve = _uvicorn if config.server == "uvicorn" else _hypercorn
    try:
        await serve(app, config, listening, stop)
    finally:
        for task in side:
            task.cancel()


def hypercorn_settings() -> Mapping[str, object]:
    """What `hypercorn.toml` in the working directory says, or what is built in. Raises ConfigError."""
    file = Path("hypercorn.toml")
    return read_hypercorn(file) if file.is_file() else DEFAULTS


async def _hypercorn(app: Quart, config: Config, listening: socket.socket, stop: asyncio.Event) -> None:
    settings = HypercornConfig.from_mapping(hypercorn_settings())
    settings.bind = [f"fd://{listening.detach()}"]
    settings.graceful_timeout = config.drain.timeout_s + TELLING_S
    settings.loglevel = config.log.level
    settings.errorlog = logging.getLogger("hypercorn.error")
    use_express_connections(service_of(app))
    await hypercorn.asyncio.serve(app, settings, shutdown_trigger=stop.wait)


class _Server(uvicorn.Server):
    """uvicorn's server, without its own signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """The signals are ours."""
        yield


async def _uvicorn(app: Quart, config: Config, listening: socket.socket, stop: asyncio.Event) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            http=express_protocol(service_of(app)),
            ws="wsproto",
            lifespan="on",
            backlog=2048,
            proxy_headers=False,  # the client's address is the socket's
            server_header=False,
            date_header=True,
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=math.ceil(config.drain.timeout_s + TELLING_S),
        )
    )

    async def stop_when_told() -> None:
        await stop.wait()
        server.should_exit = True

    stopping = asyncio.get_running_loop().create_task(stop_when_told())
    try:
        await server.serve(sockets=[listening])
    finally:
        stopping.cancel()
