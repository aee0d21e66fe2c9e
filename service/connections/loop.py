"""A worker's event loop, from which both servers take their connections.

Hypercorn and uvicorn both call ``loop.create_server``, so a loop of our own is the one place where both are told how to accept.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

import uvloop

from service.connections.acceptor import Acceptor
from service.connections.addresses import Addresses
from service.connections.refusals import Refusals
from service.context import Service

#: What may wait in the kernel for a client to read on (bytes).
UNSENT: Final = 256 * 1024

_Factory = Callable[[], asyncio.BaseProtocol]


class Loop(uvloop.Loop):
    """uvloop's, with servers that share their socket evenly with the other workers."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._servers: list[asyncio.AbstractServer] = []
        self._handshakes: set[asyncio.Task[None]] = set()
        self._refusals: list[Refusals] = []
        self._addresses: Addresses | None = None
        limits = service.config.limits
        if limits.address_connections is not None:
            self._addresses = Addresses(limits.address_connections, limits.trusted_proxies)

    def refuse(self) -> None:
        """Accepts who waits, and from then on nobody."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    def close(self) -> None:
        """Closes the loop, and the refused connections with it."""
        for refusals in self._refusals:
            refusals.close()
        super().close()

    async def create_server(  # type: ignore[override]  # host and port are not for us
        self,
        protocol_factory: _Factory,
        host: Any = None,
        port: Any = None,
        *,
        sock: socket.socket | None = None,
        backlog: int = 100,
        ssl: ssl.SSLContext | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
        **other: Any,
    ) -> asyncio.AbstractServer:
        """A server of a socket that others listen on too; any other is uvloop's."""
        tls: dict[str, Any] = {}
        if ssl is not None:
            tls = {"ssl": ssl, "ssl_handshake_timeout": ssl_handshake_timeout, "ssl_shutdown_timeout": ssl_shutdown_timeout}
        server: asyncio.AbstractServer
        if sock is None:
            other |= tls | {"backlog": backlog, "start_serving": start_serving}
            server = await super().create_server(protocol_factory, host, port, **other)
        else:
            server = self._acceptor(protocol_factory, sock, backlog, tls)
            if start_serving:
                await server.start_serving()
        self._servers.append(server)
        return server

    def _acceptor(self, protocol_factory: _Factory, listening: socket.socket, backlog: int, tls: dict[str, Any]) -> Acceptor:
        listening.setblocking(False)
        bound_unsent(listening)
        listening.listen(backlog)

        def connect(connection: socket.socket) -> None:
            if tls:
                task = self.create_task(self._handshake(self.connect_accepted_socket(protocol_factory, connection, **tls)))
                self._handshakes.add(task)
                task.add_done_callback(self._handshakes.discard)
            else:
                _drive(self.connect_accepted_socket(protocol_factory, connection))

        place, limits = self._service.place, self._service.config.limits
        refusals = Refusals(self, self._service.inference)
        self._refusals.append(refusals)
        return Acceptor(self, listening, connect, place, limits.connections, self._addresses, refusals, secure=bool(tls))

    async def _handshake(self, connecting: Coroutine[Any, Any, object]) -> None:
        try:
            await connecting
        except OSError:
            pass  # the client's fault, or it has left: its connection is closed
        except Exception as error:
            self.call_exception_handler({"message": "a TLS handshake failed", "exception": error})


def bound_unsent(listening: socket.socket) -> None:
    """Bounds what the kernel keeps for a client that does not read, in each connection that comes to the socket. By default it
    takes several MiB, and such a client's next requests are answered into it. What is under way to one that reads has no bound."""
    if sys.platform == "linux" and listening.family in (socket.AF_INET, socket.AF_INET6):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)


def _drive(connecting: Coroutine[Any, Any, object]) -> None:
    """Runs a coroutine that waits for one future; a task for each connection would cost more than all else here."""
    future = connecting.send(None)

    def proceed(_: object) -> None:
        try:
            connecting.send(None)
        except StopIteration:
            return
        except OSError:
            return  # the client has left
        raise RuntimeError("a connection waits for more than its being made")

    future.add_done_callback(proceed)
