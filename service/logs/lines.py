"""What a line of the log looks like: JSON for machines, columns for people. structlog's processors, run in the writer's thread.

Much of what is logged was sent by callers, so no line can be ended, coloured or forged by what stands in it: JSON escapes control
characters, and for people they are written as Python writes them.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from logging import LogRecord
from typing import Any, Final

import orjson
import structlog
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, WrappedLogger

#: The longest text of a line, and the longest traceback, of which the end tells most (characters).
LONGEST, LONGEST_TRACE = 8192, 32768
#: Where the handler leaves a traceback, to be written out in the writer's thread.
TRACE: Final = "_tureen_trace"

_STANDARD = frozenset([*LogRecord("", 0, "", 0, "", (), None).__dict__, "message", "asctime", "taskName", "color_message", TRACE])
# Control characters, what reverses or breaks lines in editors, and surrogates, which cannot be written at all.
_UNSEEN = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF]
_VISIBLE = {code: ascii(chr(code))[1:-1] for code in [*_UNSEEN, *range(0xD800, 0xE000)]}
_VISIBLE_LINES = {code: shown for code, shown in _VISIBLE.items() if chr(code) not in "\n\t"}


class Form:
    """One process's lines. ``slot``: the worker's, None in the supervisor."""

    def __init__(self, slot: int | None, *, pretty: bool = False, colors: bool = False) -> None:
        self.slot, self.pid, self.pretty = slot, os.getpid(), pretty
        self._console = ConsoleRenderer(colors=colors, exception_formatter=plain_traceback, pad_event_to=0, sort_keys=False)
        self._formatter = ProcessorFormatter(processors=[self._collect, self._render])

    def of_record(self, record: LogRecord) -> bytes:
        """A record of ``logging``, or of structlog through it."""
        return self._formatter.format(record).encode("utf-8", "backslashreplace")

    def of_line(self, line: Mapping[str, Any]) -> bytes:
        """A line that has all its fields."""
        return self._render(None, str(line.get("level")), dict(line)).encode("utf-8", "backslashreplace")

    def of_event(self, created: float, level: str, event: str, **fields: object) -> bytes:
        """The log's own word; ``created`` is a Unix time in seconds."""
        return self.of_line({**self._head(created, level, "tureen.logs", event), **fields})

    def _head(self, created: float, level: str, logger: str, event: str) -> dict[str, Any]:
        return {
            "timestamp": timestamp(created),
            "level": level,
            "logger": logger,
            "event": event,
            "worker": self.slot,
            "pid": self.pid,
        }

    def _collect(self, logger: WrappedLogger, level: str, event_dict: EventDict) -> EventDict:
        """structlog's processor: the fields that every line has, and then what came with the record."""
        record: LogRecord = event_dict.pop("_record")
        del event_dict["_from_structlog"]
        line = self._head(record.created, record.levelname.lower(), record.name, clipped(str(event_dict.pop("event", "")).rstrip()))
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD and name not in ("_logger", "_name")}
        trace = vars(record).get(TRACE)
        for name, value in {**extra, **event_dict}.items():
            if name == "exception" and isinstance(value, traceback.TracebackException):
                trace = value
            elif name not in line:
                line[name] = clipped(value) if isinstance(value, str) else value
        if trace is not None:
            line["exception"] = "".join(trace.format()).rstrip()[-LONGEST_TRACE:]
        return line

    def _render(self, logger: WrappedLogger, level: str, event_dict: EventDict) -> str:
        """structlog's last processor."""
        if not self.pretty:
            return as_json(event_dict)
        shown = {visible(str(name)): visible(value) if isinstance(value, str) else value for name, value in event_dict.items()}
        for name in ("exception", "stack_info", "stack"):
            if isinstance(event_dict.get(name), str):
                shown[name] = event_dict[name].translate(_VISIBLE_LINES)
        return str(self._console(None, level, shown))


def as_json(fields: Mapping[str, object]) -> str:
    """One line of JSON, whatever the values are."""
    try:
        return orjson.dumps(fields, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except (TypeError, ValueError, RecursionError):  # surrogates, integers past 64 bits, and cycles
        return json.dumps({str(name): value if isinstance(value, int | None) else str(value) for name, value in fields.items()})


def timestamp(created: float) -> str:
    """A Unix time as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(created * 1000) % 1000:03d}Z"


def visible(text: str) -> str:
    """The text with control characters as escapes."""
    return text if text.isascii() and text.isprintable() else text.translate(_VISIBLE)


def clipped(text: str) -> str:
    """The text, or its beginning."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"


def keep_trace(logger: WrappedLogger, level: str, event_dict: EventDict) -> EventDict:
    """structlog's processor, at the place of logging: the exception as it is now, without its frames, to be written out later."""
    found = event_dict.pop("exc_info", None)
    if found:
        error = found if isinstance(found, BaseException) else found[1] if isinstance(found, tuple) else sys.exc_info()[1]
        if error is not None:
            event_dict["exception"] = trace_of(error)
    return event_dict


def trace_of(error: BaseException) -> traceback.TracebackException:
    """A traceback that holds no frame, and so nothing that they hold; its source is read when it is written out."""
    return traceback.TracebackException(type(error), error, error.__traceback__, lookup_lines=False, compact=True)


def configure_structlog() -> None:
    """What is logged with structlog goes the way of everything logged with ``logging``."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            keep_trace,
            ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
