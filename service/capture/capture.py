"""Requests and their answers, written down for `tureen replay`: NDJSON, an inference a line.

The file is its owner's alone to read. The workers of one server append to it together, each line in one write.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import stat
import time
from pathlib import Path
from random import random
from typing import Final

from batching import Answer
from service.account import Plain
from service.capture.captured import ASKED, Captured, entry
from service.capture.redaction import Redaction
from service.logs.lines import as_json
from service.logs.spool import Spool
from service.request import Request
from service.response import Response
from service.sections import Log

log = logging.getLogger("tureen.capture")

#: Who was not let in.
REFUSED: Final = frozenset({401, 403})
#: How many inferences may wait to be written, and how much of them (bytes).
CAPACITY: Final = 1024
HELD: Final = 64 * 1024 * 1024
#: How long what is still to be written at the end may take (seconds).
PATIENCE_S: Final = 2.0


class Capture:
    """An observer that appends a share of the inferences to a file, until that cannot be written: the log then says so."""

    def __init__(self, path: Path, share: float, redaction: Redaction) -> None:
        self._share, self._redaction = share, redaction
        self._put = self._taken = 0  # bytes; the one is the loop's, the other the thread's
        self._lost = 0
        self.written = 0
        self._spool: Spool[Captured] | None = None
        self._fd: int | None = None
        try:
            self._fd = _open(path)
        except OSError as error:
            log.error("nothing is captured: the file that [log] capture names cannot be opened: %s", error.strerror)
        else:
            self._spool = Spool("tureen-capture", self._take, CAPACITY)
            atexit.register(self.close)

    @classmethod
    def of(cls, config: Log) -> Capture | None:
        """What the configuration asks for."""
        if config.capture is None or config.capture_sample == 0:
            return None
        return cls(config.capture, config.capture_sample, Redaction(config.capture_redact))

    @property
    def dropped(self) -> int:
        """Inferences that should have been captured: there was no room for them, or they could not be written."""
        return self._lost + (0 if self._spool is None else self._spool.dropped)

    def inference(self, request: Request, response: Response | None, answer: Answer | None, total_s: float) -> None:
        """An inference request has ended."""
        if response is not None and response.status in REFUSED:
            return  # strangers' bodies are nobody's to keep
        if self._fd is None or self._spool is None or (self._share < 1.0 and random() >= self._share):
            return
        served, infer = request.served, request.infer
        captured = Captured(
            time.time(),
            request.id,
            request.target,
            None if served is None else served.version,
            {name: request.headers[name] for name in ASKED if name in request.headers},
            request.body,
            response,
            None if infer is None else (tuple(infer.inputs), infer.outputs),
            total_s,
            request.query,
        )
        size = _size(captured)
        if self._put - self._taken + size > HELD:
            self._lost += 1
        elif self._spool.put(captured):
            self._put += size

    def plain(self, plain: Plain) -> None:
        """Other requests are not captured."""

    async def finish(self) -> None:
        """The server stops."""
        await asyncio.to_thread(self.close)

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        """Writes what is still to be written, within that time."""
        atexit.unregister(self.close)
        if self._spool is not None and self._spool.close(timeout_s) and self._fd is not None:
            os.close(self._fd)
            self._fd = None

    # -- in the spool's thread -----------------------------------------------------------------------------------------------

    def _take(self, ended: list[Captured]) -> None:
        for captured in ended:
            self._taken += _size(captured)
            if self._fd is None:
                self._lost += 1
                continue
            line = as_json(entry(captured, self._redaction)).encode() + b"\n"
            try:
                done = os.write(self._fd, line)
                if done < len(line):  # the disk became full under it: this tells, or completes the line
                    os.write(self._fd, line[done:])
            except OSError as error:
                self._lost += 1
                os.close(self._fd)
                self._fd = None
                log.error("nothing is captured any more: the file cannot be written: %s; mend it and restart", error.strerror)
            else:
                self.written += 1


def _size(captured: Captured) -> int:
    return len(captured.body) + (0 if captured.response is None else len(captured.response.body))


def _open(path: Path) -> int:
    # A pipe without a reader would be waited for, and a link may lead anywhere.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.fchmod(fd, 0o600)  # it may have been there before
        os.set_blocking(fd, True)
    except OSError:
        os.close(fd)
        raise
    return fd
