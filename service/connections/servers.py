"""The two servers that the app runs on. Nothing in the app knows which.

Both take their connections from one kind of loop (``loop``), and stop in the same steps: answers close their connections, no more
are taken, and what is in flight is finished for up to ``[drain] timeout_s``; what is left then is answered with 503.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import Generator, Sequence
from typing import Final, Protocol

import hypercorn.asyncio
import uvicorn
from hypercorn.asyncio.tcp_server import MAX_RECV
from hypercorn.config import Config as HypercornConfig
from quart import Quart

from service.connections import websockets
from service.connections.hypercorn_settings import hypercorn_settings
from service.connections.uvicorn_unread import websocket_protocol
from service.context import service_of
from service.lane.express_hypercorn import use_express_connections
from service.lane.express_uvicorn import express_protocol

#: After the time to finish requests in: for telling their clients that it is over (seconds).
TELLING_S: Final = 1.0

_CLOSE = (b"connection", b"close")
# Hypercorn wants a limit; this one is longer than any model loads.
_PATIENT_S: Final = 7 * 86400.0


class Server(Protocol):
    """A server of an app."""

    async def run(self) -> None:
        """Serves until ``close`` has been called and what was in flight has been finished."""

    def part(self) -> None:
        """From now on each HTTP/1.1 answer closes its connection."""

    def close(self) -> None:
        """Closes idle connections, and each other one after its answer."""


def server_of(app: Quart, doors: Sequence[socket.socket], *, patient: bool) -> Server:
    """The server that the app's configuration wants, on those sockets. ``patient``: starting may take as long as it takes."""
    kind = _Uvicorn if service_of(app).config.server == "uvicorn" else _Hypercorn
    return kind(app, doors, patient)


class _Settings(HypercornConfig):
    """Hypercorn's settings, and the headers that it adds to every answer."""

    parting = False

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """Date and the like."""
        headers = super().response_headers(protocol)
        return [*headers, _CLOSE] if self.parting and protocol == "h11" else headers


class _Hypercorn:
    def __init__(self, app: Quart, doors: Sequence[socket.socket], patient: bool) -> None:
        self._app = app
        self._service = service_of(app)
        config = self._service.config
        self._stop = asyncio.Event()
        self._settings = _Settings()
        for name, value in hypercorn_settings().items():
            setattr(self._settings, name, value)
        self._settings.h11_max_incomplete_size = config.limits.header_bytes + MAX_RECV  # the limit itself is judged before
        self._settings.h2_max_header_list_size = config.limits.header_bytes
        self._settings.websocket_max_message_size = config.limits.websocket_message_bytes
        self._settings.bind = [f"fd://{door.detach()}" for door in doors]
        self._settings.keep_alive_timeout = config.limits.idle_timeout_s
        self._settings.graceful_timeout = config.drain.timeout_s + TELLING_S
        self._settings.loglevel = config.log.level
        self._settings.errorlog = logging.getLogger("hypercorn.error")
        if patient:
            self._settings.startup_timeout = _PATIENT_S

    async def run(self) -> None:
        use_express_connections(self._service)
        await hypercorn.asyncio.serve(self._app, self._settings, shutdown_trigger=self._stop.wait)

    def part(self) -> None:
        self._service.parting = self._settings.parting = True

    def close(self) -> None:
        websockets.dismiss(self._app)
        self._stop.set()


class _UvicornServer(uvicorn.Server):
    """uvicorn's server, without its own signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """The signals are ours."""
        yield


class _Uvicorn:
    def __init__(self, app: Quart, doors: Sequence[socket.socket], patient: bool) -> None:
        self._app = app
        self._service = service_of(app)
        self._doors = list(doors)
        self._server = _UvicornServer(
            uvicorn.Config(
                app,
                http=express_protocol(self._service),
                ws=websocket_protocol(self._service),
                ws_max_size=self._service.config.limits.websocket_message_bytes,
                ws_per_message_deflate=False,  # a message may inflate to a thousand times what came
                lifespan="on",
                backlog=2048,
                proxy_headers=False,  # the client's address is the socket's
                server_header=False,
                date_header=True,
                access_log=False,
                timeout_keep_alive=math.ceil(self._service.config.limits.idle_timeout_s),  # looked at by our connections
                log_config=None,
                timeout_graceful_shutdown=math.ceil(self._service.config.drain.timeout_s + TELLING_S),
            )
        )

    async def run(self) -> None:
        await self._server.serve(sockets=self._doors)

    def part(self) -> None:
        self._service.parting = True
        # The one is what uvicorn makes the other of, once a second.
        self._server.config.encoded_headers.append(_CLOSE)
        self._server.server_state.default_headers = [*self._server.server_state.default_headers, _CLOSE]

    def close(self) -> None:
        websockets.dismiss(self._app)
        self._server.should_exit = True
