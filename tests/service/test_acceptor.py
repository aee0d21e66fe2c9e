"""Connections are counted, taken up to a limit, left to others but not for long, and none is lost: over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from service.app import create_app
from service.config import Config
from service.connections.acceptor import Counted
from service.connections.lingering import LINGER_S
from service.connections.loop import Loop
from service.context import Service, service_of
from service.processes.board import Board, Phase
from service.processes.place import Place
from service.sections import Limits


class Told(asyncio.Protocol):
    """Says hello to whoever comes, and goodbye to whoever says anything."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # the only kind that comes
        self.transport = transport
        transport.write(b"hello")

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"goodbye")
        self.transport.close()


class Door:
    """A listening socket, its server, and where its worker stands."""

    def __init__(self, service: Service, server: asyncio.AbstractServer, listening: socket.socket) -> None:
        self.line = service.place.board[service.place.slot]
        self.board = service.place.board
        self.server = server
        self.listening = listening
        self.address = listening.getsockname()

    def connect(self) -> socket.socket:
        """A client, connected as far as the kernel is concerned; what comes is read off the loop."""
        return socket.create_connection(self.address, 10)


async def received(client: socket.socket, size: int = 65536) -> bytes:
    return await asyncio.to_thread(client.recv, size)


async def everything(client: socket.socket) -> bytes:
    return await asyncio.to_thread(client.makefile("rb").read)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - shared memory wakes nobody
            await asyncio.sleep(0.001)


def at_a_door(body: Callable[[Door], Coroutine[Any, Any, None]], tmp_path: Path, *, limit: int = 100, slots: int = 1) -> None:
    """Runs ``body`` in a worker's loop."""
    config = Config(repository=tmp_path, limits=Limits(connections=limit))
    service = service_of(create_app(config, Place(0, Board.create(slots))))

    async def main() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        server = await asyncio.get_running_loop().create_server(Told, sock=listening, backlog=100)
        try:
            await body(Door(service, server, listening))
        finally:
            server.close()
            await server.wait_closed()

    with asyncio.Runner(loop_factory=lambda: Loop(service)) as runner:
        runner.run(main())


def test_open_connections_stand_on_the_board_and_closed_ones_do_not(tmp_path: Path) -> None:
    async def body(door: Door) -> None:
        with ExitStack() as stack:
            clients = [stack.enter_context(closing(door.connect())) for _ in range(5)]
            await until(lambda: door.line.connections == 5)
            clients[0].close()  # the client leaves
            clients[1].sendall(b"x")  # the server does
            await until(lambda: door.line.connections == 3)
        await until(lambda: door.line.connections == 0)

    at_a_door(body, tmp_path)


def test_a_connection_over_the_limit_is_told_and_closed_and_the_next_has_its_place_once_one_is_gone(tmp_path: Path) -> None:
    async def body(door: Door) -> None:
        with closing(door.connect()) as first, closing(door.connect()) as second, closing(door.connect()) as third:
            assert await received(first) == await received(second) == b"hello"
            answer = await everything(third)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b'"code":"too_many_connections"' in answer
            first.close()
            await until(lambda: door.line.connections == 1)
            with closing(door.connect()) as fourth:
                assert await received(fourth) == b"hello"

    at_a_door(body, tmp_path, limit=2)


def test_a_client_that_sends_on_still_reads_why_it_was_refused(tmp_path: Path) -> None:
    async def body(door: Door) -> None:
        with closing(door.connect()) as first, closing(door.connect()) as second:
            assert await received(first) == b"hello"
            for _ in range(10):
                second.sendall(b"POST / HTTP/1.1\r\n")
                await asyncio.sleep(LINGER_S / 50)
            assert b"too_many_connections" in await everything(second)

    at_a_door(body, tmp_path, limit=1)


def test_what_waits_when_the_listening_ends_is_served(tmp_path: Path) -> None:
    async def body(door: Door) -> None:
        with ExitStack() as stack:
            clients = [stack.enter_context(closing(door.connect())) for _ in range(50)]  # the loop has not turned since
            door.server.close()
            assert not door.server.is_serving()
            for client in clients:
                assert await received(client) == b"hello"

    at_a_door(body, tmp_path)


def test_a_closed_server_gives_its_socket_back(tmp_path: Path) -> None:
    async def body(door: Door) -> None:
        door.server.close()
        door.server.close()
        assert door.listening.fileno() == -1
        with pytest.raises(RuntimeError, match="closed"):
            await door.server.start_serving()

    at_a_door(body, tmp_path)


def test_another_workers_turn_is_waited_for_but_not_for_long(tmp_path: Path) -> None:
    async def body(door: Door) -> None:
        door.board[1].phase = Phase.SERVING  # it is stuck: it takes nothing
        with ExitStack() as stack:
            clients = [stack.enter_context(closing(door.connect())) for _ in range(20)]
            for client in clients:
                assert await received(client) == b"hello"

    at_a_door(body, tmp_path, slots=2)


@pytest.mark.parametrize("phase", [Phase.NONE, Phase.STARTING, Phase.DRAINING, Phase.GONE])
def test_nothing_is_left_to_a_worker_that_does_not_serve(tmp_path: Path, phase: Phase) -> None:
    async def body(door: Door) -> None:
        door.board[1].phase = phase
        with closing(door.connect()) as first, closing(door.connect()) as second:
            assert await received(first) == await received(second) == b"hello"

    at_a_door(body, tmp_path, slots=2)


def test_a_connection_that_its_protocol_refuses_is_closed(tmp_path: Path) -> None:
    async def body(door: Door) -> None:
        told: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))

        def broken() -> asyncio.Protocol:
            raise ValueError("broken")

        listening = socket.create_server(("127.0.0.1", 0))
        address = listening.getsockname()
        server = await loop.create_server(broken, sock=listening)
        with closing(socket.create_connection(address, 10)) as client:
            assert await everything(client) == b""
        assert [str(one) for one in told] == ["broken"]
        server.close()

    at_a_door(body, tmp_path)


def test_a_counted_socket_tells_of_its_end_once() -> None:
    ends = []
    for end in (Counted.close, Counted.detach):
        one, other = socket.socketpair()
        counted = Counted(fileno=one.detach())
        counted.gone = lambda: ends.append(1)
        descriptor = end(counted)
        counted.close()
        other.close()
        if descriptor is not None:
            socket.close(descriptor)
    assert ends == [1, 1]
