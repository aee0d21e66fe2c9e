"""One of the processes that serve: told by its supervisor what to be, and when to stop.

Run as ``python -m service.processes.worker FD``.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from service.errors import ConfigError, in_lines
from service.guard.budgets.tables import Tables
from service.metrics.cells import Cells
from service.processes.board import Board, Phase
from service.processes.channel import Channel
from service.processes.listening import reachable
from service.processes.owed import lost, served
from service.processes.place import Place
from service.processes.privileges import give_up_privileges
from service.processes.restarts import REFUSED
from service.processes.slack import keep_giving_back, malloc_trim
from service.processes.specification import Answer, Specification, Word, receive

if TYPE_CHECKING:
    from quart import Quart

    from service.connections.loop import Loop
    from service.connections.servers import Server
    from service.context import Service

#: How often a worker writes that its event loop turns (seconds).
BEAT_S: Final = 0.25
#: How long handshakes that had begun when the server turned new ones away may take to end (seconds).
HANDSHAKE_S: Final = 0.1
#: How long an idle connection is kept when the worker stops: a request that is under way on it is still answered (seconds).
LINGER_S: Final = 1.0
#: How long a worker that was told to stop by somebody else waits for its supervisor, which may have been told so too (seconds).
CONSULT_S: Final = 1.0


class Worker:
    """An app that is served: its line on the board, what it was told, and the steps in which it stops."""

    def __init__(
        self, app: Quart, server: Server, loop: Loop, specification: Specification, channel: Channel, address: str
    ) -> None:
        from service.context import service_of

        self._service = service_of(app)
        self._server, self._loop = server, loop
        self._specification = specification
        self._channel = channel
        self._address = address
        self._line = self._service.place.board[self._service.place.slot]
        self._tasks: list[asyncio.Task[None]] = []
        self._serves: dict[str, list[int]] = {}
        self._loaded = self._stopping = False
        self._alone: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Serves until it is told to stop, and has finished."""
        self._loop.add_signal_handler(signal.SIGTERM, self._terminate)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        self._channel.listen(self._heard)
        for work in (self._beat(), self._tell_when_loaded(), keep_giving_back(malloc_trim())):
            self._tasks.append(self._loop.create_task(work))
        try:
            await self._server.run()
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))  # too late to be told
            for task in self._tasks:
                task.cancel()

    async def _tell_when_loaded(self) -> None:
        service = self._service
        await service.started.wait()
        if service.loading is not None:
            await asyncio.wait([service.loading])
        self._loaded = True
        if self._line.phase is Phase.STARTING:  # what loads ended in an error, and did not say it
            self._line.phase = Phase.SERVING
        self._say_what_is_served()
        self._channel.say(Answer.SERVING)

    async def _beat(self) -> None:
        while True:
            self._line.beat = time.monotonic()
            self._say_what_is_served()
            await asyncio.sleep(BEAT_S)

    def _say_what_is_served(self) -> None:
        serves = served(self._service.engine.registry.ready_versions())
        if serves != self._serves:
            self._serves = serves
            self._channel.say(Answer.SERVES, json.dumps(serves))

    # -- what it is told -------------------------------------------------------------------------------------------------

    def _heard(self, word: Word | None) -> None:
        if word is Word.ANNOUNCE:
            self._announce()
            return
        if self._alone is not None:
            self._alone.cancel()  # the supervisor knows better when
        if self._specification.held and not self._loaded:
            leave(0)  # it has not accepted anybody
        if word is not Word.LEAVE:
            self._service.engine.draining = True  # readiness says so at once; a balancer needs time to see it
        self._line.phase = Phase.DRAINING
        self._server.part()
        if word is not Word.DRAIN and not self._stopping:
            self._stopping = True
            self._tasks.append(self._loop.create_task(self._stop(handshakes=word is Word.STOP)))
            self._tasks.append(self._loop.create_task(self._give_up()))

    def _terminate(self) -> None:
        """SIGTERM, which a supervisor never sends: it was meant for this worker alone, or for all processes of the server."""
        if self._alone is None and not self._service.parting:
            self._alone = self._loop.call_later(CONSULT_S, self._heard, Word.LEAVE)

    def _announce(self) -> None:
        from models.shelf import State
        from service.summary import Standing, summary

        engine, config = self._service.engine, self._specification.config
        failed = [entry for entry in engine.registry.index() if entry.state is not State.READY]
        standing = Standing(engine.versions(), failed)
        seconds = time.monotonic() - self._specification.begun
        admin, port = config.admin.bind, self._service.place.admin_port
        aside = None if admin is None or port is None else reachable(admin, port)
        told = summary(standing, self._address, config.server, seconds, config.workers, aside, keyed=config.auth.enabled)
        print(told, flush=True)
        self._channel.say(Answer.ANNOUNCED)

    # -- stopping --------------------------------------------------------------------------------------------------------

    async def _stop(self, *, handshakes: bool) -> None:
        if handshakes:
            await asyncio.sleep(HANDSHAKE_S)
        self._loop.refuse()
        last = self._loop.time() + min(LINGER_S, self._specification.config.drain.timeout_s)
        self._close_when_idle(last)

    def _close_when_idle(self, last: float) -> None:
        if self._line.connections and self._loop.time() < last:
            self._loop.call_later(0.01, self._close_when_idle, last)
        else:
            self._server.close()

    async def _give_up(self) -> None:
        await asyncio.sleep(self._specification.config.drain.timeout_s)
        self._service.engine.give_up()


def main() -> None:
    """Serves until told to stop. Exit code 2: the configuration, the repository or the app is refused."""
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to all; the supervisor says what is to be done
        signal.signal(number, signal.SIG_IGN)
    pair = socket.socket(fileno=int(sys.argv[1]))
    pair.set_inheritable(False)
    gc.disable()  # importing makes no garbage to speak of
    importlib.import_module("service.app")
    importlib.import_module("service.connections.servers")
    gc.enable()
    told = receive(pair)
    if told is None:
        sys.exit(1)
    give_up_privileges()
    specification, descriptors = told
    channel = Channel(pair)
    doors = [socket.socket(fileno=one) for one in (descriptors.listening, descriptors.admin) if one is not None]
    board = Board.attach(descriptors.board, specification.slots)
    cells = Cells.attach(descriptors.cells, specification.slots)
    state = None if specification.state is None else Path(specification.state)
    admin_port = None if descriptors.admin is None else int(doors[-1].getsockname()[1])
    budgets = Tables.attach(descriptors.budgets)
    _serve(specification, channel, doors, Place(specification.slot, board, state, cells, budgets, admin_port))


def _serve(specification: Specification, channel: Channel, doors: Sequence[socket.socket], place: Place) -> None:
    from models.errors import LoadError
    from service import logs
    from service.app import create_app
    from service.connections.loop import Loop
    from service.connections.servers import server_of
    from service.context import service_of

    config = specification.config
    address = reachable(config.bind, doors[0].getsockname()[1])
    logs.start(config.log, place.slot)
    try:
        app = create_app(config, place)
        extend(app, config.app)
        service = service_of(app)
        if specification.held:
            app.before_serving(_when_loaded(service, specification, channel))
        server = server_of(app, doors, patient=specification.held)
    except (ConfigError, LoadError) as error:
        channel.say(Answer.REFUSED, json.dumps(in_lines(error)))
        sys.exit(REFUSED)
    loop = Loop(service)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(Worker(app, server, loop, specification, channel, address).run())
    if service.engine.stuck:  # the interpreter would wait for a thread that cannot be stopped
        leave(0)


def _when_loaded(service: Service, specification: Specification, channel: Channel) -> Callable[[], Awaitable[None]]:
    async def wait() -> None:
        """Others serve meanwhile: nobody is to be sent to a worker that has yet to load, or that cannot load what is served."""
        if service.loading is not None:
            await asyncio.wait([service.loading])
        missing = lost(specification.owed, service.engine.registry)
        if missing:
            told = f"{'; '.join(missing)}; the worker that it was to replace serves that: mend it, or unload it, and reload again"
            channel.say(Answer.LACKS, json.dumps(told))
            leave(REFUSED)

    return wait


def extend(app: Quart, name: str | None) -> None:
    """Calls the user's ``module:function`` with the app. Raises ConfigError where there is none."""
    if name is None:
        return
    module_name, _, function_name = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and what it imports is not
        raise ConfigError(f"--app {name}: there is no module {error.name!r}; it is looked for in the working directory") from error
    extension = getattr(module, function_name, None)
    if not callable(extension) or inspect.iscoroutinefunction(extension):
        kind = "async" if callable(extension) else "no function" if extension is None else "not callable"
        raise ConfigError(f"--app {name}: {function_name} is {kind} in {module_name}; expected a plain function that takes the app")
    extension(app)


def leave(code: int) -> NoReturn:
    """Ends the process now, whatever its threads do."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
