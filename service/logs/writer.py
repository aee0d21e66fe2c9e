"""The log: everything that ``logging`` and structlog are told, and a line a request, written to stderr by a thread of its own.

Nothing that logs ever waits, or fails. A reader that is slow or gone, or a full disk, costs lines: they are counted, and the next
line that can be written says how many.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import logging
import os
import select
import stat
import time
from collections.abc import Callable, Iterator
from logging import LogRecord
from typing import Any

import structlog

from service.logs.lines import TRACE, Form, clipped, configure_structlog, trace_of
from service.logs.spool import Spool
from service.sections import Log

#: Lines that may wait to be written.
CAPACITY = 16384
#: Writes up to this size do not mix with those of other processes on one pipe (POSIX's PIPE_BUF, bytes).
ATOMIC = select.PIPE_BUF
#: How long nothing is tried after a write failed, and how often lost lines are spoken of at most (seconds).
PAUSE_S = 1.0
#: How long what is still to be written at the end may take (seconds).
PATIENCE_S = 2.0

Fields = tuple[Any, ...]
#: A record, or fields with what makes a line of them in the writer's thread.
Entry = LogRecord | tuple[Callable[[Fields], bytes], Fields]

_current: LogWriter | None = None


def start(config: Log, slot: int | None = 0, fd: int = 2) -> LogWriter:
    """Sends everything that is logged in this process to ``fd``. ``slot``: the worker's, None in the supervisor.

    A second call ends what the first began. Nothing is lost at the interpreter's end, or at ``logging.shutdown()``, unless the
    reader takes longer than ``PATIENCE_S``.
    """
    global _current
    stop()
    terminal = _is_terminal(fd)
    pretty = config.format == "pretty" or (config.format == "auto" and terminal)
    writer = LogWriter(fd, Form(slot, pretty=pretty, colors=pretty and terminal and "NO_COLOR" not in os.environ))
    root = logging.getLogger()
    root.addHandler(LogHandler(writer))
    root.setLevel(config.level.upper())
    logging.captureWarnings(True)
    configure_structlog()
    _current = writer
    return writer


def stop(timeout_s: float = PATIENCE_S) -> None:
    """Writes what is still to be written, within that time, and lets go of ``logging``."""
    global _current
    writer, _current = _current, None
    if writer is None:
        return
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, LogHandler):
            root.removeHandler(handler)
    writer.close(timeout_s)


def current() -> LogWriter | None:
    """This process's log; None where ``start`` was not called, because somebody else serves the app and logs in their own way."""
    return _current


class LogWriter:
    """Lines on their way to ``fd``, of which it keeps a duplicate; a descriptor that is not open swallows them."""

    def __init__(self, fd: int, form: Form, capacity: int = CAPACITY) -> None:
        self.form = form
        try:
            self._fd = os.dup(fd)
        except OSError:  # or the next socket would get that number, and the log
            self._fd = os.open(os.devnull, os.O_WRONLY)
        mode = os.fstat(self._fd).st_mode
        self._shared = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        self.left_out = 0  #: lines that nobody made, since there were too many
        self._written = self._lost = self._told = self._done = 0
        self._not_before = self._tell_at = 0.0
        self._torn = False
        self._reason = "it was read too slowly"
        self._spool: Spool[Entry] = Spool("tureen-log", self._take, capacity)
        self.put = self._spool.put

    @property
    def written(self) -> int:
        """Lines written so far."""
        return self._written

    @property
    def dropped(self) -> int:
        """Lines lost so far: there was no room for them, or they could not be written."""
        return self._spool.dropped + self._lost

    def flush(self, timeout_s: float = PATIENCE_S) -> bool:
        """Whether everything was written, or given up, within that time."""
        return self._spool.flush(timeout_s)

    def close(self, timeout_s: float = PATIENCE_S) -> None:
        """Flushes and ends. What cannot be written in that time is left."""
        if self._spool.close(timeout_s):
            os.close(self._fd)

    # -- in the writer's thread ------------------------------------------------------------------------------------------------

    def _take(self, entries: list[Entry]) -> None:
        now = time.monotonic()
        if now < self._not_before:
            self._lost += len(entries)
            return
        lines = list(map(self._line, entries))
        dropped = self.dropped
        if dropped > self._told and now >= self._tell_at:
            told = dropped - self._told
            lines.insert(
                0, self.form.of_event(time.time(), "warning", "lines of the log were lost", lost=told, reason=self._reason)
            )
        else:
            dropped = self._told
        data = b"\n".join([*([b""] if self._torn else []), *lines, b""])
        self._done = 0
        try:
            with self._turn(len(data)):
                self._write(data)
        except OSError as error:
            done = self._done
            whole = max(0, data.count(b"\n", 0, done) - self._torn - (len(lines) - len(entries)))
            self._lost += len(entries) - whole
            self._written += whole
            self._torn = (done > 0 and data[done - 1] != 0x0A) or (done == 0 and self._torn)
            self._reason = f"they could not be written: {error.strerror}"
            self._not_before = now + PAUSE_S
            return
        self._written += len(lines)
        self._torn = False
        if dropped > self._told:
            self._told, self._tell_at, self._reason = dropped, now + PAUSE_S, "it was read too slowly"

    def _line(self, entry: Entry) -> bytes:
        try:
            if isinstance(entry, LogRecord):
                return self.form.of_record(entry)
            render, fields = entry
            return render(fields)
        except Exception as error:  # what was logged has a `__str__` that fails, say
            return self.form.of_event(time.time(), "error", "a line could not be formatted", problem=type(error).__name__)

    def _write(self, data: bytes) -> None:
        while self._done < len(data):
            try:
                self._done += os.write(self._fd, data[self._done :] if self._done else data)
            except BlockingIOError:  # whoever shares the pipe has made it non-blocking
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll(1000 * PAUSE_S)

    @contextlib.contextmanager
    def _turn(self, size: int) -> Iterator[None]:
        """Alone among the processes on a pipe, where a write is so large that it could be torn by another's."""
        locked = False
        if self._shared and size > ATOMIC:
            with contextlib.suppress(OSError):  # not every kind of pipe can be locked
                fcntl.lockf(self._fd, fcntl.LOCK_EX)
                locked = True
        try:
            yield
        finally:
            if locked:
                with contextlib.suppress(OSError):
                    fcntl.lockf(self._fd, fcntl.LOCK_UN)


class LogHandler(logging.Handler):
    """Gives ``logging``'s records to the writer."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: LogRecord) -> None:
        """Puts the record into the queue, with its message made here: its arguments may change before it is written."""
        self._writer.put(detached(record))

    def flush(self) -> None:
        """Waits for what was logged before, not for long: ``logging.shutdown()`` calls it, and so the interpreter's end."""
        self._writer.flush()


def detached(record: LogRecord) -> LogRecord:
    """The record without anything that changes, or that a frame holds."""
    made = copy.copy(record)
    if not isinstance(record.msg, dict):  # structlog's
        try:
            made.msg = clipped(record.getMessage())
        except Exception:  # whoever logs is not to fail with what it logs
            told = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
            made.msg = clipped(f"{told} (its arguments do not fit)")
        for name, value in structlog.contextvars.get_contextvars().items():
            vars(made).setdefault(name, value)
    made.args = None
    if record.exc_info and record.exc_info[1] is not None:
        setattr(made, TRACE, trace_of(record.exc_info[1]))
    made.exc_info = made.exc_text = None
    return made


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
