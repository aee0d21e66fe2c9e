"""The workers' processes and what all of them share: started, watched, reaped and stopped here; who replaces whom is not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from service.config import Config
from service.guard.budgets.tables import Tables
from service.metrics.cells import Cells
from service.processes import restarts
from service.processes.board import Board, Phase
from service.processes.children import Child
from service.processes.listening import accepts, turn_away
from service.processes.spawning import Spawned, spawn
from service.processes.specification import Answer, Descriptors, Specification, Word

log = logging.getLogger("tureen.supervisor")

#: How often the workers' beats are looked at (seconds).
WATCH_S: Final = 1.0
#: What a worker may take to stop beyond ``[drain] timeout_s`` before it is killed: to tell clients, close models, flush (seconds).
CLOSING_S: Final = 15.0
#: Lines of the board beyond two a worker, for those that take over while others leave, and for a reload that wants more workers.
SPARE: Final = 8


def lines_for(workers: int) -> int:
    """The lines of the board of a server that begins with so many workers."""
    return 2 * workers + SPARE


class Crew:
    """``doors``: the socket that all may come to, and the admin address's where there is one. ``tables``: what callers have
    spent. ``heard`` is told what a child says. ``first``: a process that has been spawned already, to be the first child."""

    def __init__(
        self,
        workers: int,
        doors: Sequence[socket.socket],
        state: Path | None,
        tables: Tables,
        heard: Callable[[Child, Answer], None],
        *,
        begun: float,
        first: Spawned | None,
    ) -> None:
        lines = lines_for(workers)
        self._board = Board.create(lines)
        self._cells = Cells.create(lines)
        self._budgets = tables
        self._doors = doors
        self._state = state
        self._heard = heard
        self._begun = begun
        self._first = first
        self._children: list[Child] = []

    @property
    def most(self) -> int:
        """The most workers there can be: the lines left over are for those that take over while others leave."""
        return len(self._board) - SPARE // 2

    def start(self, config: Config, owed: Mapping[str, list[int]] = MappingProxyType({})) -> Child:
        """A new worker, which refuses to serve without what is ``owed``. Raises OSError where the system has no room for one."""
        taken = {child.line.slot for child in self._children}
        free = [line for line in self._board if line.slot not in taken]
        line = min(free, key=lambda line: line.phase is not Phase.GONE)  # the place of one that died, before any other
        spawned, self._first = self._first or spawn(), None
        child = Child(spawned, line, self._heard)
        self._children.append(child)
        held = any(other.serving.is_set() and not other.leaving for other in self._children)
        state = None if self._state is None else os.fspath(self._state)
        specification = Specification(
            config=config, slot=line.slot, slots=len(self._board), state=state, begun=self._begun, held=held, owed=dict(owed)
        )
        listening, *admin = (door.fileno() for door in self._doors)
        child.introduce(specification, Descriptors(listening, self._board.memory.fd, self._cells.fd, self._budgets.fd, *admin))
        return child

    async def announce(self, child: Child) -> None:
        """Has the child say that the server is up."""
        for _ in range(1000):  # loaded it has; the server inside it begins to listen a moment later
            if all(map(accepts, self._doors)):
                break
            await asyncio.sleep(0.005)
        child.tell(Word.ANNOUNCE)

    async def watch(self) -> None:
        """Kills who stands still, for ever."""
        since = looked = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_S)
            now = time.monotonic()
            if now - looked > 3 * WATCH_S:
                since = now  # the whole machine stood still, and the workers with it
            looked = now
            self.reap()
            for child in self._children:
                if restarts.stalled(child.line.phase, child.line.beat, since, now):
                    log.error(
                        "worker %d (pid %d): its event loop stands still since %.0f s, so it is killed",
                        child.number, child.pid, now - child.line.beat,
                    )  # fmt: skip
                    child.kill()

    def reap(self) -> None:
        """Sees who has ended."""
        for child in self._children:
            child.reap()
        self._children = [child for child in self._children if child.alive]

    async def see_out(self, child: Child) -> None:
        """One leaves, and the others take what comes."""
        child.leaving = True
        child.line.phase = Phase.DRAINING
        child.tell(Word.LEAVE)
        await _end(child)

    async def stop(self, delay_s: float, hurry: asyncio.Event) -> list[Child]:
        """Stops all: readiness first, then the connections, then the requests in flight. Those that failed at it are returned.

        ``delay_s`` is between the first two, or less where there is ``hurry``.
        """
        children = list(self._children)
        for child in children:
            child.line.phase = Phase.DRAINING
            child.tell(Word.DRAIN)
        if any(child.serving.is_set() for child in children):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(hurry.wait(), delay_s)
        for door in self._doors:
            turn_away(door)
        for child in children:
            child.tell(Word.STOP)
        for door in self._doors:
            door.close()
        in_time = await asyncio.gather(*map(_end, children))
        return [child for child, ended in zip(children, in_time, strict=True) if not ended or child.ended.result().code != 0]

    def kill(self) -> None:
        """Ends all, whatever they do."""
        for child in self._children:
            child.kill()


async def _end(child: Child) -> bool:
    return await child.end_within(child.timeout_s + CLOSING_S)
