"""A line of the log for each request that ends.

On the event loop it costs a tuple; the line is made of it in the writer's thread. Since that takes the GIL all the same, the lines
are structs whose encoder is in C: half the time of a format string, a third of a dictionary's.
"""

from __future__ import annotations

import time
from random import random
from typing import Final

import msgspec

from batching import Answer
from service.account import LEFT, Plain
from service.cache.flight import how_of
from service.logs.lines import as_json, timestamp, visible
from service.logs.writer import Fields, LogWriter
from service.protocol import images, oip, tfserving
from service.request import Request
from service.response import Response, code_of
from service.sections import Log

LOGGER: Final = "tureen.request"
EVENT: Final = "request"
PROTOCOLS: Final = {oip: "oip", tfserving: "tfserving", images: "images"}
#: What orchestrators ask every few seconds is told of at level debug alone, and so is a model's own readiness.
PROBES: Final = frozenset({"/", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/metrics"})
#: What strangers may bring about at any rate, without a credential or a budget: so many lines a second tell of it.
REFUSED: Final = frozenset({401, 403, 429})
REFUSALS_PER_S: Final = 10.0
#: So many seconds' worth of lines may come at once before ``most_per_s`` holds.
BURST_S: Final = 5.0
_LEVELS: Final = ("debug", "info", "warning", "error")


class RequestLine(msgspec.Struct, frozen=True, gc=False):
    """What every request tells, first in its line."""

    timestamp: str
    level: str
    logger: str
    event: str
    worker: int | None
    pid: int
    request_id: str
    principal: str | None
    method: str


class InferenceLine(RequestLine, frozen=True, gc=False):
    """An inference. Times are in milliseconds; ``rows`` is the request's, ``batch_rows`` those of the call it was part of."""

    protocol: str
    model: str
    version: str | None
    status: int
    code: str | None
    rows: int | None
    queue_ms: float | None
    batch_rows: int | None
    infer_ms: float | None
    total_ms: float
    cache: str | None
    bytes_in: int
    bytes_out: int


class PlainLine(RequestLine, frozen=True, gc=False):
    """Any other request."""

    route: str
    path: str
    status: int
    code: str | None
    total_ms: float


class Pace:
    """At most ``most_per_s`` lines a second, after a burst of ``BURST_S`` seconds' worth of them.

    The generic cell rate algorithm (ITU-T I.371), so that at full load the lines that stay are spread over each second.
    """

    __slots__ = ("_due", "_every_s", "_furthest_s")

    def __init__(self, most_per_s: float) -> None:
        self._every_s = 1 / most_per_s
        self._furthest_s = BURST_S + 2 * self._every_s
        self._due = 0.0

    def admits(self, now: float) -> bool:
        """Whether one more may come at that time (seconds); if so, it has."""
        due = self._due
        if due > now + BURST_S:
            if due < now + self._furthest_s:
                return False
            due = now  # the clock was set back
        self._due = (due if due > now else now) + self._every_s
        return True


class RequestLog:
    """An observer that writes a line for each request that failed, and for a share of those that did not."""

    def __init__(self, config: Log, writer: LogWriter) -> None:
        self._put = writer.put
        self._form = writer.form
        self._least = _LEVELS.index(config.level)
        self._share = config.sample if self._least <= _LEVELS.index("info") else 0.0
        self._writer = writer
        self._pace = Pace(config.most_per_s)
        self._refusals = Pace(min(REFUSALS_PER_S, config.most_per_s))
        self._encode = msgspec.json.Encoder().encode
        self._millisecond, self._stamp = -1, ""

    # -- on the event loop -------------------------------------------------------------------------------------------------

    def inference(self, request: Request, response: Response | None, answer: Answer | None, total_s: float) -> None:
        """An inference request has ended."""
        status = LEFT if response is None else response.status
        now = time.time()
        if not self._wanted(status, now):
            return
        served, infer = request.served, request.infer
        fields = (
            now,
            request.id,
            request.target,
            None if served is None else served.version,
            status,
            # An answer's body is not kept until it is written, nor is the answer, with its arrays.
            None if response is None else len(response.body) if status < 400 else response.body,
            None if infer is None else infer.rows,
            None if answer is None else (answer.queue_s, answer.batch_rows, answer.call_s, how_of(answer)),
            total_s,
            len(request.body),
            None if request.principal is None else request.principal.name,
        )
        self._put((self._inference_line, fields))

    def plain(self, plain: Plain) -> None:
        """Any other request has ended."""
        route = plain.route
        if route in PROBES or route.endswith("/ready"):
            if self._least == 0:
                self._put((self._plain_line, (time.time(), plain, "debug")))
            return
        now = time.time()
        if self._wanted(plain.status, now):
            self._put((self._plain_line, (now, plain, level_of(plain.status))))

    def _wanted(self, status: int, now: float) -> bool:
        if status in REFUSED:
            if self._least >= 3 or self._refusals.admits(now):
                return self._least < 3
            self._writer.left_out += 1
            return False
        if status >= 400:
            return self._least < 3 or status == 500
        if self._share < 1.0 and random() >= self._share:
            return False
        if self._pace.admits(now):
            return True
        self._writer.left_out += 1
        return False

    # -- in the writer's thread --------------------------------------------------------------------------------------------

    def _inference_line(self, fields: Fields) -> bytes:
        created, name, target, version, status, body, rows, batch, total_s, size, principal = fields
        queue_s, batch_rows, call_s, how = batch or (None, None, None, None)
        line = InferenceLine(
            self._at(created),
            level_of(status),
            LOGGER,
            EVENT,
            self._form.slot,
            self._form.pid,
            name,
            principal,
            "POST",
            PROTOCOLS[target.protocol],
            target.model,
            target.version if version is None else version,
            status,
            code_of(body) if type(body) is bytes else None,
            rows,
            None if queue_s is None else int(1e6 * queue_s) / 1e3,
            batch_rows,
            None if call_s is None else int(1e6 * call_s) / 1e3,
            int(1e6 * total_s) / 1e3,
            how,
            size,
            body if type(body) is int else len(body or b""),
        )
        return self._written(line)

    def _plain_line(self, fields: Fields) -> bytes:
        created, plain, level = fields
        line = PlainLine(
            self._at(created),
            level,
            LOGGER,
            EVENT,
            self._form.slot,
            self._form.pid,
            plain.id,
            plain.principal,
            plain.method,
            plain.route,
            visible(plain.path),
            plain.status,
            plain.code,
            int(1e6 * plain.total_s) / 1e3,
        )
        return self._written(line)

    def _at(self, created: float) -> str:
        """A time as text; at full load many requests end in one millisecond."""
        millisecond = int(created * 1000)
        if millisecond != self._millisecond:
            self._millisecond, self._stamp = millisecond, timestamp(created)
        return self._stamp

    def _written(self, line: RequestLine) -> bytes:
        if not self._form.pretty:
            try:
                return self._encode(line)
            except UnicodeEncodeError:  # surrogates in a path
                return as_json(msgspec.structs.asdict(line)).encode()
        fields = {name: value for name, value in msgspec.structs.asdict(line).items() if value is not None}
        return self._form.of_line(fields)


def level_of(status: int) -> str:
    """A defect is an error; a refusal, and a client that left, a warning."""
    return "info" if status < 400 else "error" if status == 500 else "warning"
