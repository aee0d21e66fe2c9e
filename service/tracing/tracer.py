"""OpenTelemetry's traces, for whoever installs the extra ``tureen[tracing]`` and names a collector: a span for each request and
each batch, sent by the SDK's own processor in a thread of its own. The event loop waits for nothing of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import uuid
from collections.abc import Sequence
from importlib.metadata import version
from random import random
from time import monotonic, perf_counter
from typing import Final, cast

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from batching import Answer
from service.account import Plain
from service.logs.request_log import PROBES
from service.processes.place import Place
from service.request import Request
from service.response import Response
from service.sections import Tracing
from service.tracing.spans import LINKS, BatchRecord, Identity, InferenceRecord, Maker, PlainRecord, Record
from service.tracing.trace_context import parent_of

log = logging.getLogger("tureen.tracing")

#: More records are not kept for a collector that is slow or down, nor more sent at once, nor for longer held back (milliseconds).
QUEUE, SENT_AT_ONCE, SENT_EVERY_MS = 4096, 128, 1000.0
#: Whoever brings no credential has no say in what is traced.
STRANGER: Final = 401
#: How long a batch's span waits for the batch's requests to end (seconds), and how many wait so.
HOLD_S, HELD = 1.0, 1024
#: How long the last spans may take when the server stops (seconds).
FLUSH_S: Final = 2.0
#: How often it is said that spans are lost (seconds).
SAID_S: Final = 60.0


class Unfolding(SpanExporter):
    """Unfolds records into spans and gives these to another exporter. All of it runs in the processor's thread."""

    def __init__(self, exporter: SpanExporter, resource: Resource) -> None:
        self.taken = self.lost = 0
        self._exporter, self._resource = exporter, resource
        self._over = threading.Lock()
        self._said = (0, -SAID_S)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends the spans that so many records stand for."""
        records = cast(Sequence[Record], spans)
        self.taken += len(records)
        self._say()
        if self._over.locked():
            return SpanExportResult.FAILURE
        maker = Maker.now(self._resource)
        return self._exporter.export([span for record in records for span in record.unfold(maker)])

    def shutdown(self) -> None:
        """Ends what is being sent; nothing more is."""
        if self._over.acquire(blocking=False):
            self._exporter.shutdown()

    def _say(self) -> None:
        lost, at = self._said
        if self.lost > lost and monotonic() >= at + SAID_S:
            log.warning(
                "%d requests were not traced, since the collector takes less than comes: lower [tracing] sample", self.lost - lost
            )
            self._said = (self.lost, monotonic())


class Tracer:
    """An observer that traces the requests whose callers want it, and of those that bring no decision a ``sample``."""

    def __init__(self, exporter: SpanExporter, sample: float, resource: Resource) -> None:
        self._sample = sample
        self._exporter = Unfolding(exporter, resource)
        self._processor = BatchSpanProcessor(self._exporter, QUEUE, SENT_EVERY_MS, SENT_AT_ONCE)
        self._given = 0
        self._batches: dict[int, tuple[BatchRecord, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def inference(self, request: Request, response: Response | None, answer: Answer | None, total_s: float) -> None:
        """An inference has ended."""
        headers = request.headers
        stranger = response is not None and response.status == STRANGER
        identity = self._chosen(None, None) if stranger else self._chosen(headers.get(b"traceparent"), headers.get(b"tracestate"))
        if identity is None:
            return
        record = InferenceRecord(identity, request, response, answer, total_s)
        if answer is not None and answer.batch_rows:  # else it was kept, and there was no call
            record.batch = batch = self._batch(request, answer)
            if len(batch.requests) < LINKS:
                batch.requests.append(identity)
        self._give(record)

    def plain(self, plain: Plain) -> None:
        """Another request has ended; nobody wants a trace of every probe."""
        if plain.route in PROBES or plain.route.endswith("/ready"):
            return
        stranger = plain.status == STRANGER
        identity = self._chosen(None, None) if stranger else self._chosen(plain.traceparent, plain.tracestate)
        if identity is not None:
            self._give(PlainRecord(identity, plain, perf_counter()))

    async def finish(self) -> None:
        """Sends what is left, for at most ``FLUSH_S``."""
        if self._timer is not None:
            self._timer.cancel()
        self._end_batches(before=perf_counter())
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def flush() -> None:
            self._processor.shutdown()  # type: ignore[no-untyped-call]  # OpenTelemetry is typed but for this
            with contextlib.suppress(RuntimeError):  # the loop may have been closed meanwhile
                loop.call_soon_threadsafe(sent.set)

        threading.Thread(target=flush, name="tureen-flush", daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_S):
                await sent.wait()
        except TimeoutError:
            log.warning("the collector did not take the last spans within %g s; they are lost", FLUSH_S)
            self._exporter.shutdown()

    def _chosen(self, traceparent: bytes | None, tracestate: bytes | None) -> Identity | None:
        """The identity of a span that is to be; None where the caller, or the sample, does not want one."""
        parent = parent_of(traceparent, tracestate)
        if parent is None:
            return Identity() if random() < self._sample else None
        return Identity(parent) if parent.sampled else None

    def _give(self, record: Record) -> None:
        if self._given - self._exporter.taken >= QUEUE:  # the processor would drop another, and log it here
            self._exporter.lost += 1
            return
        self._given += 1
        self._processor.on_end(record)

    # -- batches ---------------------------------------------------------------------------------------------------------

    def _batch(self, request: Request, answer: Answer) -> BatchRecord:
        """The batch's record. Its requests end one after the other, the large ones later: it is held for them for a while."""
        held = self._batches.get(answer.batch)
        if held is not None:
            return held[0]
        if len(self._batches) >= HELD:
            record, _ = self._batches.pop(next(iter(self._batches)))
            self._give(record)
        record = BatchRecord(request, answer)
        self._batches[answer.batch] = (record, perf_counter())
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HOLD_S, self._look)
        return record

    def _look(self) -> None:
        self._end_batches(before=perf_counter() - HOLD_S)
        self._timer = asyncio.get_running_loop().call_later(HOLD_S, self._look) if self._batches else None

    def _end_batches(self, before: float) -> None:
        for number, (record, since) in list(self._batches.items()):
            if since > before:
                break  # the others are younger
            del self._batches[number]
            self._give(record)


def tracer(config: Tracing, place: Place) -> Tracer:
    """The observer that sends spans to the configured collector. The usual OTEL_ variables add headers and the like."""
    endpoint = (config.endpoint or "").rstrip("/")
    if not endpoint.endswith("/v1/traces"):
        endpoint += "/v1/traces"
    own = Resource(
        {
            "service.name": "tureen",
            "service.version": version("tureen"),
            "service.instance.id": str(uuid.uuid4()),
            "tureen.worker": place.slot,
        }
    )
    return Tracer(OTLPSpanExporter(endpoint), config.sample, own.merge(OTELResourceDetector().detect()))
