"""The spans of a request and of a batch, made afterwards from what is known of them, in the exporter's thread.

Five spans of OpenTelemetry's SDK cost the event loop as much as several inferences. So what is queued for the exporter is one small
record a request, which passes for a span there, and unfolds into spans when it is its turn to be sent.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import getrandbits
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from batching import Answer
from service.account import Plain
from service.cache.flight import how_of
from service.request import Request
from service.response import Response, code_of
from service.tracing.trace_context import FLAGS, SAMPLED, Parent

Attributes = Mapping[str, str | int | float | bool]

#: A batch of more sampled requests is linked to so many of them.
LINKS: Final = 128
#: Longer ones are cut (characters); specifications name no limit.
AGENT: Final = 256
#: A longer tracestate may be left out, says its specification (characters).
STATE: Final = 512

_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_SCOPE: Final = InstrumentationScope("tureen")
_SAMPLED: Final = SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(SAMPLED))


class Identity:
    """A span's ids, made when it is first spoken of."""

    __slots__ = ("flags", "parent", "span_id", "trace_id")

    def __init__(self, parent: Parent | None = None) -> None:
        self.parent = parent
        self.trace_id = (getrandbits(128) or 1) if parent is None else parent.trace_id
        self.flags = FLAGS if parent is None else parent.flags
        self.span_id = getrandbits(64) or 1

    def context(self, state: TraceState | None = None) -> SpanContext:
        """As OpenTelemetry has it."""
        return SpanContext(self.trace_id, self.span_id, is_remote=False, trace_flags=TraceFlags(self.flags), trace_state=state)


@dataclass(frozen=True, slots=True)
class Maker:
    """What all spans of a process have in common, and the wall clock at zero of ``perf_counter`` (nanoseconds)."""

    resource: Resource
    zero_ns: int

    @classmethod
    def now(cls, resource: Resource) -> Maker:
        """With the clocks as they are now."""
        return cls(resource, time.time_ns() - time.perf_counter_ns())

    def span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        start: float,
        end: float,
        attributes: Attributes,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
        *,
        failed: bool = False,
    ) -> ReadableSpan:
        """A span from ``start`` to ``end`` (``perf_counter``'s seconds)."""
        return ReadableSpan(
            name=name,
            context=context,
            parent=parent,
            resource=self.resource,
            attributes=attributes,
            links=links,
            kind=kind,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=self.zero_ns + round(1e9 * start),
            end_time=self.zero_ns + round(1e9 * end),
            instrumentation_scope=_SCOPE,
        )


class Record(ReadableSpan, ABC):
    """What is queued in place of spans."""

    _context = _SAMPLED

    @abstractmethod
    def unfold(self, maker: Maker) -> Iterator[ReadableSpan]:
        """The spans that it stands for."""


class BatchRecord(Record):
    """A call of the model: one span, linked to the sampled requests that it answered."""

    def __init__(self, request: Request, answer: Answer) -> None:
        self.identity = Identity()
        self.requests: list[Identity] = []
        self._target, self._version = request.target, _version(request)
        self._start = request.decoded + answer.queue_s
        self._call_s = answer.call_s
        self._told = _batch_of(answer)

    def unfold(self, maker: Maker) -> Iterator[ReadableSpan]:
        """One span, of a trace of its own: it belongs to none of its requests alone."""
        links = [Link(one.context()) for one in self.requests]
        attributes = {"tureen.model": self._target.model, "tureen.version": self._version, **self._told}
        name, context = f"batch {self._target.model}", self.identity.context()
        yield maker.span(name, context, None, self._start, self._start + self._call_s, attributes, links=links)


class InferenceRecord(Record):
    """An inference: the server's span, and of what it consisted."""

    def __init__(
        self, identity: Identity, request: Request, response: Response | None, answer: Answer | None, total_s: float
    ) -> None:
        self.identity = identity
        self.batch: BatchRecord | None = None
        self._id, self._target, self._version = request.id, request.target, _version(request)
        self._agent = request.headers.get(b"user-agent")
        self._rows = 0 if request.infer is None else request.infer.rows
        self._answered = 0 if response is None else response.status
        self._refusal = response.body if response is not None and response.status >= 400 else None
        self._started, self._decoded, self._ended = request.started, request.decoded, request.started + total_s
        computed = answer is not None and answer.batch_rows > 0
        self._times = (answer.queue_s, answer.call_s) if answer is not None and computed else None
        self._told = _told(answer)

    def unfold(self, maker: Maker) -> Iterator[ReadableSpan]:
        """The server's span, then its children in the order of time."""
        parent, state = _remote(self.identity.parent)
        context = self.identity.context(state)
        path, route = self._target.path, self._target.route
        attributes: dict[str, str | int | float | bool] = {
            "http.request.method": "POST",
            "http.route": route,
            "url.path": path,
            "tureen.request_id": self._id,
            "tureen.model": self._target.model,
            **({"tureen.version": self._version} if self._version else {}),
            **({"tureen.rows": self._rows} if self._rows else {}),
            **({} if self._agent is None else {"user_agent.original": self._agent.decode("latin-1")[:AGENT]}),
            **self._told,
            **_outcome(self._answered, None if self._refusal is None else code_of(self._refusal)),
        }
        links = () if self.batch is None else (Link(self.batch.identity.context()),)
        failed = self._answered >= 500
        name = f"POST {route}"
        yield maker.span(name, context, parent, self._started, self._ended, attributes, SpanKind.SERVER, links, failed=failed)
        for name, start, end in self._parts():
            yield maker.span(name, _child_of(context), context, start, end, {})

    def _parts(self) -> Iterator[tuple[str, float, float]]:
        if not self._rows:
            return
        end = self._ended
        decoded = min(self._decoded, end)
        yield "decode", self._started, decoded
        if self._times is None:
            return
        queue_s, call_s = self._times
        called = min(decoded + queue_s, end)
        computed = min(called + call_s, end)
        yield "queue", decoded, called
        yield "infer", called, computed
        yield "encode", computed, end


class PlainRecord(Record):
    """Any other request: one span."""

    def __init__(self, identity: Identity, plain: Plain, ended: float) -> None:
        self._identity, self._plain, self._ended = identity, plain, ended

    def unfold(self, maker: Maker) -> Iterator[ReadableSpan]:
        """One span."""
        plain = self._plain
        parent, state = _remote(self._identity.parent)
        known = plain.method in _METHODS
        attributes: dict[str, str | int | float | bool] = {
            "http.request.method": plain.method if known else "_OTHER",
            **({"http.route": plain.route} if plain.route else {}),
            "tureen.request_id": plain.id,
            **_outcome(plain.status, plain.code),
        }
        name = f"{plain.method if known else 'HTTP'} {plain.route}".rstrip()
        start, context = self._ended - plain.total_s, self._identity.context(state)
        yield maker.span(name, context, parent, start, self._ended, attributes, SpanKind.SERVER, failed=plain.status >= 500)


def _version(request: Request) -> str:
    return "" if request.served is None else request.served.version


def _told(answer: Answer | None) -> dict[str, str | int | float | bool]:
    """What is known of the way to an answer: one that was kept has no batch."""
    how = how_of(answer)
    batch = {} if answer is None or not answer.batch_rows else _batch_of(answer)
    return batch if how is None else {**batch, "tureen.cache": how}


def _batch_of(answer: Answer) -> dict[str, str | int | float | bool]:
    return {"tureen.batch": answer.batch, "tureen.batch_rows": answer.batch_rows, "tureen.batch_reason": answer.reason}


def _outcome(status: int, code: str | None) -> dict[str, str | int | float | bool]:
    """What came of a request, by OpenTelemetry's conventions: only the server's own failures are errors of a server's span."""
    if not status:
        return {"tureen.left": True}  # its client did not wait for the answer
    told: dict[str, str | int | float | bool] = {"http.response.status_code": status}
    if code is not None:
        told["tureen.code"] = code
    if status >= 500:
        told["error.type"] = code or str(status)
    return told


def _remote(parent: Parent | None) -> tuple[SpanContext | None, TraceState | None]:
    if parent is None:
        return None, None
    state = TraceState.from_header([parent.state]) if 0 < len(parent.state) <= STATE else None
    flags = TraceFlags(parent.flags)
    return SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags, trace_state=state), state


def _child_of(parent: SpanContext) -> SpanContext:
    return SpanContext(
        parent.trace_id, getrandbits(64) or 1, is_remote=False, trace_flags=parent.trace_flags, trace_state=parent.trace_state
    )
