"""The process behind `tureen serve`: starts workers, replaces those that die, stops and reloads them without losing a request.

It serves nothing and loads nothing, so nothing that a request does can bring it down. Workers are spawned, never forked: ONNX
Runtime and OpenMP hang after a fork. No library's supervisor does: Hypercorn's ends when one worker dies, uvicorn's neither waits
for a new worker before it stops an old one nor says that it drains, gunicorn's forks, and circus brings a message broker.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.config import Config
from service.errors import ConfigError
from service.exposed import exposed
from service.guard.budgets.budgets import open_tables
from service.processes import restarts
from service.processes.children import Child
from service.processes.chronicle import Chronicle
from service.processes.crew import Crew, lines_for
from service.processes.reloading import settled
from service.processes.restarts import Exit
from service.processes.spawning import SIGNALS, Spawned, has_terminal
from service.processes.specification import Answer
from service.store import ControlStore

log = logging.getLogger("tureen.supervisor")


@dataclass(slots=True)
class Slot:
    """One of the workers that the configuration asks for, whichever process it is now. ``successor``: what is to take its place;
    ``lacks``: what the last one to be that could not take over."""

    child: Child | None = None
    successor: Child | None = None
    lacks: str = ""
    keeper: asyncio.Task[None] | None = None
    exits: deque[Exit] = field(default_factory=lambda: deque(maxlen=64))


class Supervisor:
    """``resolve`` reads the configuration again; ``refuse`` is told, in lines, why no worker can start. ``first``: a process that
    has been spawned already, to be the first worker."""

    def __init__(
        self,
        config: Config,
        doors: Sequence[socket.socket],
        state: Path | None,
        *,
        resolve: Callable[[], Config],
        refuse: Callable[[str], None],
        chronicle: Chronicle,
        begun: float,
        first: Spawned | None = None,
    ) -> None:
        self._config = config
        lasting = ControlStore(state) if state is not None and config.store.state_dir is not None else None
        tables = open_tables(lines_for(config.workers), config.limits.budget_entries, lasting)
        self._crew = Crew(config.workers, doors, state, tables, self._heard, begun=begun, first=first)
        self._resolve = resolve
        self._refuse = refuse
        self._chronicle = chronicle
        self._slots: list[Slot] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._reloading: asyncio.Task[None] | None = None
        self._reload_again = asyncio.Event()
        self._told = asyncio.Event()
        self._hurry = asyncio.Event()
        self._code = 0
        self._served = False
        self._announced = False
        self._terminal = has_terminal()

    @property
    def config(self) -> Config:
        """What the workers serve by now."""
        return self._config

    async def run(self) -> int:
        """Serves until it is told to stop, or cannot; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        loop.add_signal_handler(signal.SIGCHLD, self._crew.reap)
        try:
            self._employ(self._config.workers)
            self._spawn(self._crew.watch())
            await self._told.wait()
            for task in list(self._tasks):
                task.cancel()
            return await self._drain()
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the exit code is settled: no late signal is to change it
            self._crew.kill()

    # -- starting and replacing ------------------------------------------------------------------------------------------

    def _employ(self, workers: int) -> None:
        """Opens the slots that are missing."""
        while len(self._slots) < workers:
            slot = Slot()
            self._slots.append(slot)
            self._look_after(slot, None)

    def _look_after(self, slot: Slot, child: Child | None) -> None:
        """From now on this one is the slot's worker, or a new one."""
        if slot.keeper is not None:
            slot.keeper.cancel()
        slot.child = child
        slot.keeper = self._spawn(self._keep(slot))

    async def _keep(self, slot: Slot) -> None:
        """Sees to it that somebody works in the slot."""
        while True:
            child = slot.child
            if child is None:
                child = slot.child = await self._start_or_wait(slot)
            ended = await asyncio.shield(child.ended)
            slot.exits.append(ended)
            slot.child, slot.successor = slot.successor, None
            if self._served:
                wait = restarts.delay(slot.exits, ended.at)
                then = f"the next starts in {wait:g} s" if wait else "the next starts now"
                then = "its successor takes over" if slot.child is not None else then
                log.error("worker %d (pid %d) %s; %s", child.number, child.pid, restarts.words(ended.code), then)
            else:
                wait = self._judge(slot, child, ended)
            if slot.child is None:
                await asyncio.sleep(wait)

    async def _start_or_wait(self, slot: Slot) -> Child:
        while True:
            try:
                return self._crew.start(self._config)
            except OSError as error:
                slot.exits.append(Exit(time.monotonic(), 1, None))
                wait = max(restarts.FIRST_S, restarts.delay(slot.exits, time.monotonic()))
                log.error("a worker cannot be started (%s); the next try is in %g s", error.strerror, wait)
                await asyncio.sleep(wait)

    def _judge(self, slot: Slot, child: Child, ended: Exit) -> float:
        """What an end means before anybody has served."""
        exits = [each for other in self._slots for each in other.exits]
        code = restarts.verdict(exits)
        wait = restarts.delay(slot.exits, ended.at)
        if code is None:
            then = f"the next try is in {wait:g} s" if wait else "it is tried again"
            log.error("worker %d (pid %d) %s before it could serve; %s", child.number, child.pid, restarts.words(ended.code), then)
        elif not self._told.is_set():
            if code != restarts.REFUSED:
                log.error("worker %d (pid %d) %s before it could serve", child.number, child.pid, restarts.words(ended.code))
                log.error("no worker could be started, %d in a row have ended; the server gives up", len(exits))
            self._give_up(code)
        return wait

    def _heard(self, child: Child, answer: Answer) -> None:
        if answer is Answer.REFUSED:
            if self._served:
                log.error("worker %d cannot serve: %s", child.number, child.refusal)
            elif not self._told.is_set():
                self._refuse(child.refusal)
                self._give_up(restarts.REFUSED)
        elif answer is Answer.LACKS:
            log.error("worker %d cannot take over: %s", child.number, child.lacks)
        elif answer is Answer.ANNOUNCED:
            self._announced = True
        elif answer is Answer.SERVING:
            self._served = True
            log.debug("worker %d (pid %d) serves", child.number, child.pid)
            if not self._announced and all(slot.child is not None and slot.child.serving.is_set() for slot in self._slots):
                self._spawn(self._crew.announce(child))

    # -- reloading -------------------------------------------------------------------------------------------------------

    def _hang_up(self) -> None:
        if self._terminal and not has_terminal():
            self._stop()  # it was closed: nobody wanted a reload
        elif self._reloading is None or self._reloading.done():
            self._reload_again.clear()
            self._reloading = self._spawn(self._reload())
        else:
            self._reload_again.set()

    async def _reload(self) -> None:
        """Reads the configuration again and replaces the workers one by one.

        Where it is wrong, or no worker can work by it, the old one and the old workers stay.
        """
        while True:
            try:
                wanted = await asyncio.to_thread(self._resolve)
                config, said = settled(wanted, self._config, self._crew.most)
            except ConfigError as error:
                log.error("the configuration is not reloaded, and the old one stays: %s", error)
                await asyncio.to_thread(self._chronicle.refused, self._config, error)
            else:
                for line in (*said, *exposed(config)):
                    log.warning(line)
                before = self._config
                if await self._replace_all(config):
                    await asyncio.to_thread(self._chronicle.reloaded, before, config)
                    log.info("the configuration is reloaded: %d worker%s", config.workers, "s" * (config.workers > 1))
            if not self._reload_again.is_set():
                return
            self._reload_again.clear()

    async def _replace_all(self, config: Config) -> bool:
        adopted = False
        for slot in self._slots[: config.workers]:
            while not await self._replace(slot, config):
                if not adopted:
                    log.error("the configuration is not reloaded: no worker starts by it; the old one and the old workers stay")
                    await asyncio.to_thread(self._chronicle.refused, self._config, slot.lacks)
                    return False
                if self._reload_again.is_set():
                    return False
                await asyncio.sleep(max(restarts.FIRST_S, restarts.delay(slot.exits, time.monotonic())))
            adopted = True
        superfluous = self._slots[config.workers :]
        del self._slots[config.workers :]
        await asyncio.gather(*(self._retire(slot) for slot in superfluous))
        self._employ(config.workers)
        return True

    async def _replace(self, slot: Slot, config: Config) -> bool:
        """Starts a successor, and lets the slot's worker leave once it serves all that this one does; whether it came to that."""
        try:
            successor = self._crew.start(config, {} if slot.child is None else slot.child.serves)
        except OSError as error:
            log.error("a worker cannot be started: %s", error.strerror)
            return False
        slot.successor = successor
        serves = await successor.come_to_serve(self._reload_again)
        slot.lacks = successor.lacks
        if serves:
            self._config = config
        if slot.successor is not successor:
            return serves  # the old one died meanwhile, and this one has taken over already
        slot.successor = None
        if serves:
            leaving = slot.child
            self._look_after(slot, successor)
            if leaving is not None:
                await self._crew.see_out(leaving)
        elif successor.alive:
            successor.kill()  # a newer configuration is there
        else:
            slot.exits.append(successor.ended.result())
            log.error("worker %d (pid %d), the new one, %s", successor.number, successor.pid, restarts.words(slot.exits[-1].code))
        return serves

    async def _retire(self, slot: Slot) -> None:
        if slot.keeper is not None:
            slot.keeper.cancel()
        if slot.child is not None and slot.child.alive:
            await self._crew.see_out(slot.child)

    # -- stopping --------------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        if self._told.is_set():
            self._hurry.set()
        self._told.set()

    def _give_up(self, code: int) -> None:
        self._code = code
        self._told.set()
        self._hurry.set()

    async def _drain(self) -> int:
        failed = await self._crew.stop(self._config.drain.delay_s, self._hurry)
        if self._code:
            return self._code
        for child in failed:
            code = child.ended.result().code
            log.error("worker %d (pid %d) %s while the server stopped", child.number, child.pid, restarts.words(code))
        return 1 if failed else 0

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
