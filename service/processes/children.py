"""A worker's process as its supervisor knows it: spoken to over a socket pair, and reaped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable
from typing import Any

from service.processes.board import Line, Phase
from service.processes.restarts import Exit
from service.processes.spawning import Spawned
from service.processes.specification import Answer, Descriptors, Specification, Word, send

log = logging.getLogger("tureen.supervisor")


class Child:
    """One worker. ``serving`` is set once all that will load has loaded and connections are accepted; ``ended`` is its end.

    ``serves``: its ready versions by model, as it told last; ``refusal``: why it cannot serve, where it said so; ``lacks``: why
    it cannot take over, which names models and no path.
    """

    def __init__(self, spawned: Spawned, line: Line, heard: Callable[[Child, Answer], None]) -> None:
        loop = asyncio.get_running_loop()
        self.line = line
        self.serving = asyncio.Event()
        self.ended: asyncio.Future[Exit] = loop.create_future()
        self.leaving = False
        self.serves: dict[str, list[int]] = {}
        self.refusal = self.lacks = ""
        self.timeout_s = 0.0
        self._heard = heard
        self._unread = b""
        self._served_at: float | None = None
        _begin(line)
        self._process, self._channel = spawned.process, spawned.channel
        self._channel.setblocking(False)
        line.pid = self._process.pid
        loop.add_reader(self._channel, self._read)

    @property
    def number(self) -> int:
        """What it is called in its own log lines, in the metrics and in what readiness says."""
        return self.line.slot

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not been seen to end."""
        return not self.ended.done()

    def introduce(self, specification: Specification, descriptors: Descriptors) -> None:
        """Tells it what to be. ``timeout_s`` is how long it has, when it stops, to finish what is in flight."""
        self.timeout_s = specification.config.drain.timeout_s
        with contextlib.suppress(OSError):  # it is gone, which is seen when it is reaped
            send(self._channel, specification, descriptors)

    def tell(self, word: Word) -> None:
        """Tells it what to do."""
        with contextlib.suppress(OSError):
            self._channel.sendall(f"{word}\n".encode())

    def kill(self) -> None:
        """Ends it, whatever it does."""
        self._process.kill()

    def reap(self) -> None:
        """Sees whether it has ended."""
        code = self._process.poll()
        if code is None or self.ended.done():
            return
        self._read()  # its last words
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        gone = Phase.NONE if self.leaving else Phase.GONE  # nobody has to take the place of one that left as it was told
        self.line.phase, self.line.ready, self.line.connections = gone, False, 0
        now = time.monotonic()
        self.ended.set_result(Exit(now, code, None if self._served_at is None else now - self._served_at))

    async def come_to_serve(self, enough: asyncio.Event) -> bool:
        """Waits until it serves or has ended, or that is ``enough``; whether it serves."""
        waits = [asyncio.create_task(event.wait()) for event in (self.serving, enough)]
        either: list[asyncio.Future[Any]] = [*waits, self.ended]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return self.serving.is_set() and self.alive

    async def end_within(self, seconds: float) -> bool:
        """Waits for its end, and kills it when it takes longer; whether that was not needed."""
        done, _ = await asyncio.wait([self.ended], timeout=seconds)
        if done:
            return True
        log.error("worker %d (pid %d) did not stop within %g s and is killed", self.number, self.pid, seconds)
        self.kill()
        await asyncio.wait([self.ended])
        return False

    def _read(self) -> None:
        try:
            data = self._channel.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._channel)  # it ends, or has ended
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            name, _, text = line.decode("utf-8", "replace").partition(" ")
            try:
                answer = Answer(name)
            except ValueError:
                continue  # a worker of a newer release, installed since the supervisor was started
            if answer is Answer.SERVING:
                self._served_at = time.monotonic()
                self.serving.set()
            elif answer is Answer.SERVES:
                self.serves = json.loads(text)
            elif answer is Answer.REFUSED:
                self.refusal = json.loads(text)
            elif answer is Answer.LACKS:
                self.lacks = json.loads(text)
            self._heard(self, answer)


def _begin(line: Line) -> None:
    """The line of a worker that is about to start."""
    line.ready, line.followed, line.connections, line.text = False, 0, 0, ""
    line.beat = time.monotonic()
    line.starts += 1
    line.phase = Phase.STARTING
