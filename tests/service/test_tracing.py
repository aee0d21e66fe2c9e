"""What becomes a span, whose child it is, and what it says; spans of the SDK, in memory."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from itertools import pairwise
from time import perf_counter, time_ns
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from batching import Answer
from service import observers
from service.account import Plain
from service.cache.flight import Given
from service.engine import Served
from service.errors import BadRequest, ConfigError
from service.processes.place import Place
from service.protocol.infer import Infer
from service.request import Request
from service.response import Response, failed
from service.routing import target
from service.sections import Tracing
from service.tracing import tracer as tracing
from service.tracing.tracer import Tracer

TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
SAMPLED, UNSAMPLED = (f"00-{TRACE:032x}-{SPAN:016x}-0{flag}".encode() for flag in (1, 0))
OK = Response(200, b"{}", b"")


def request_of(headers: Mapping[bytes, bytes] | None = None, *, path: str = "/v2/models/affine/infer", rows: int = 2) -> Request:
    """A request that came 10 ms ago and was decoded 1 ms later."""
    found = target(path)
    assert found is not None
    request = Request(found, headers or {}, b"{}")
    request.started = perf_counter() - 0.010
    request.decoded = request.started + 0.001
    if rows:
        request.infer = Infer({"x": np.zeros(rows)}, rows, ("y",))
        request.served = Served(found.model, "3", *cast(Any, (None, None, None)))
    return request


def answer_of(batch: int = 7) -> Answer:
    return Answer({}, 0.002, 0.004, 5, "full", batch)


async def spans_of(*told: tuple[Request, Response | None, Answer | None] | Plain, sample: float = 1.0) -> Sequence[ReadableSpan]:
    """The spans of what was told, a request's own before its parts, the batches' last."""
    memory = InMemorySpanExporter()
    tracer = Tracer(memory, sample, Resource({"service.name": "tureen"}))
    for one in told:
        if isinstance(one, Plain):
            tracer.plain(one)
        else:
            tracer.inference(*one, perf_counter() - one[0].started)
    await tracer.finish()
    return memory.get_finished_spans()


def attributes_of(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


# -- an inference --------------------------------------------------------------------------------------------------------


async def test_an_inference_is_a_servers_span_with_its_parts_as_children() -> None:
    server, *parts, batch = await spans_of((request_of(), OK, answer_of()))
    assert [part.name for part in parts] == ["decode", "queue", "infer", "encode"]
    assert (server.name, server.kind, server.parent) == ("POST /v2/models/<model:name>/infer", SpanKind.SERVER, None)
    for part in parts:
        assert part.parent == server.context
        assert part.context.trace_id == server.context.trace_id
        assert part.kind is SpanKind.INTERNAL
    assert (batch.name, batch.parent) == ("batch affine", None)
    assert len({span.context.span_id for span in (server, *parts, batch)}) == 6


async def test_the_parts_follow_each_other_within_the_whole_by_the_wall_clock() -> None:
    server, *parts, batch = await spans_of((request_of(), OK, answer_of()))
    edges = [server.start_time, *(edge for part in parts for edge in (part.start_time, part.end_time)), server.end_time]
    assert edges == sorted(cast(list[int], edges))
    assert all(before.end_time == after.start_time for before, after in pairwise(parts))
    lengths = [cast(int, part.end_time) - cast(int, part.start_time) for part in parts[:3]]
    assert lengths == pytest.approx([1e6, 2e6, 4e6], abs=1e3)
    assert abs(cast(int, server.end_time) - time_ns()) < 60e9
    assert (batch.start_time, batch.end_time) == (parts[2].start_time, parts[2].end_time)


async def test_times_that_do_not_fit_are_cut_to_the_whole() -> None:
    server, *parts, _ = await spans_of((request_of(), OK, Answer({}, 5.0, 9.0, 5, "full", 7)))
    assert all(cast(int, part.end_time) <= cast(int, server.end_time) for part in parts)


async def test_an_inference_says_what_answered_it() -> None:
    request = request_of({b"user-agent": b"till/1", b"x-request-id": b"r1"}, path="/v1/models/affine/versions/3:predict")
    server, *_ = await spans_of((request, OK, answer_of()))
    assert attributes_of(server) == {
        "http.request.method": "POST",
        "http.route": "/v1/models/<model:name>/versions/<segment:version>:predict",
        "url.path": "/v1/models/affine/versions/3:predict",
        "http.response.status_code": 200,
        "user_agent.original": "till/1",
        "tureen.request_id": "r1",
        "tureen.model": "affine",
        "tureen.version": "3",
        "tureen.rows": 2,
        "tureen.batch": 7,
        "tureen.batch_rows": 5,
        "tureen.batch_reason": "full",
    }
    assert server.status.status_code is StatusCode.UNSET


async def test_a_refusal_has_its_code_and_is_no_error_of_the_server() -> None:
    (server,) = await spans_of((request_of(rows=0), failed(BadRequest("no"), "r1"), None))
    told = attributes_of(server)
    assert (told["http.response.status_code"], told["tureen.code"], "error.type" in told) == (400, "bad_request", False)
    assert server.status.status_code is StatusCode.UNSET


async def test_a_failure_sets_the_status() -> None:
    server, decode = await spans_of((request_of(), failed(ZeroDivisionError(), "r1"), None))
    told = attributes_of(server)
    assert (told["http.response.status_code"], told["error.type"], decode.name) == (500, "internal", "decode")
    assert server.status.status_code is StatusCode.ERROR


async def test_a_client_that_left_was_answered_nothing() -> None:
    server, _ = await spans_of((request_of(), None, None))
    told = attributes_of(server)
    assert (told["tureen.left"], "http.response.status_code" in told) == (True, False)


# -- batches -------------------------------------------------------------------------------------------------------------


async def test_a_batch_and_its_requests_are_linked_both_ways() -> None:
    told = [(request_of(), OK, answer_of(batch)) for batch in (7, 7, 8)]
    spans = await spans_of(*told)
    servers = [span for span in spans if span.kind is SpanKind.SERVER]
    first, second = (span for span in spans if span.name == "batch affine")
    assert [link.context.span_id for link in first.links] == [span.context.span_id for span in servers[:2]]
    assert [link.context.span_id for link in second.links] == [servers[2].context.span_id]
    assert [span.links[0].context for span in servers] == [first.context, first.context, second.context]
    assert attributes_of(first)["tureen.batch_rows"] == 5


async def test_an_answer_that_was_kept_has_no_batch_and_says_so() -> None:
    server, *rest = await spans_of((request_of(), OK, Given({}, 0.0, 0.0, 0, "early", how="hit")))
    assert [span.name for span in rest] == ["decode"]
    told = attributes_of(server)
    assert (told["tureen.cache"], "tureen.batch" in told, server.links) == ("hit", False, ())


async def test_a_batchs_span_is_sent_though_the_server_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "HOLD_S", 0.01)
    monkeypatch.setattr(tracing, "SENT_EVERY_MS", 10.0)
    sent = threading.Event()

    class Waited(InMemorySpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            if any(span.name == "batch affine" for span in spans):
                sent.set()
            return super().export(spans)

    tracer = Tracer(Waited(), 1.0, Resource({}))
    tracer.inference(request_of(), OK, answer_of(), 0.01)
    assert await asyncio.to_thread(sent.wait, 20)
    await tracer.finish()


async def test_batches_and_links_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "HELD", 3)
    spans = await spans_of(*[(request_of(), OK, answer_of(batch)) for batch in range(10)])
    assert sum(span.name == "batch affine" for span in spans) == 10
    spans = await spans_of(*[(request_of(), OK, answer_of()) for _ in range(200)])
    assert [len(span.links) for span in spans if span.name == "batch affine"] == [128]


# -- the caller's context ------------------------------------------------------------------------------------------------


async def test_a_callers_span_is_the_parent_and_its_state_goes_on() -> None:
    request = request_of({b"traceparent": SAMPLED, b"tracestate": b"rojo=1,congo=2"})
    server, decode, *_ = await spans_of((request, OK, answer_of()), sample=0)
    assert server.parent is not None
    assert (server.parent.trace_id, server.parent.span_id, server.parent.is_remote) == (TRACE, SPAN, True)
    assert (server.context.trace_id, decode.context.trace_id) == (TRACE, TRACE)
    assert dict(server.context.trace_state) == {"rojo": "1", "congo": "2"}


async def test_a_caller_that_does_not_sample_is_not_traced() -> None:
    assert await spans_of((request_of({b"traceparent": UNSAMPLED}), OK, answer_of())) == ()


@pytest.mark.parametrize(("sample", "least", "most"), [(0.0, 0, 0), (1.0, 500, 500), (0.5, 100, 400)])
async def test_without_a_callers_decision_the_sample_decides(sample: float, least: int, most: int) -> None:
    spans = await spans_of(*[(request_of(), OK, None) for _ in range(500)], sample=sample)
    assert least <= sum(span.kind is SpanKind.SERVER for span in spans) <= most


@given(st.binary(max_size=80) | st.just(SAMPLED), st.none() | st.binary(max_size=600) | st.text(max_size=600).map(str.encode))
def test_no_header_makes_a_request_fail_or_its_span_be_lost(traceparent: bytes, tracestate: bytes | None) -> None:
    headers = {b"traceparent": traceparent, **({} if tracestate is None else {b"tracestate": tracestate})}
    spans = asyncio.run(spans_of((request_of(headers), OK, answer_of())))
    assert len(spans) == 6


# -- other requests ------------------------------------------------------------------------------------------------------


async def test_another_request_is_a_span_named_by_its_route() -> None:
    (span,) = await spans_of(
        Plain("r1", "GET", "/v2/models/<model:name>", "/v2/models/m", 404, 0.5, "unknown_model", SAMPLED), sample=0
    )
    assert (span.name, span.kind, span.context.trace_id) == ("GET /v2/models/<model:name>", SpanKind.SERVER, TRACE)
    assert cast(int, span.end_time) - cast(int, span.start_time) == pytest.approx(0.5e9, abs=1e3)
    assert attributes_of(span) == {
        "http.request.method": "GET",
        "http.route": "/v2/models/<model:name>",
        "http.response.status_code": 404,
        "tureen.code": "unknown_model",
        "tureen.request_id": "r1",
    }


@pytest.mark.parametrize("route", ["/v2/health/ready", "/v2/health/live", "/healthz", "/metrics", "/v2/models/<model:name>/ready"])
async def test_probes_and_scrapes_are_not_traced(route: str) -> None:
    assert await spans_of(Plain("r1", "GET", route, route, 200, 0.1)) == ()


async def test_a_method_that_nobody_knows_makes_no_name() -> None:
    (span,) = await spans_of(Plain("r1", "BREW", "", "/nobody", 405, 0.1))
    assert (span.name, attributes_of(span)["http.request.method"]) == ("HTTP", "_OTHER")


# -- the exporter --------------------------------------------------------------------------------------------------------


class Stuck(SpanExporter):
    """A collector that never answers, until it is given up."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.over.wait(60)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.over.set()


async def test_a_collector_that_does_not_take_spans_costs_them_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "QUEUE", 300)
    monkeypatch.setattr(tracing, "FLUSH_S", 0.05)
    stuck = Stuck()
    tracer = Tracer(stuck, 1.0, Resource({}))
    for _ in range(2000):
        tracer.inference(request_of(), OK, None, 0.01)
    assert [record for record in caplog.records if record.thread == threading.get_ident()] == []  # the loop does not log it
    await tracer.finish()
    assert stuck.over.is_set()
    assert "they are lost" in caplog.text


def test_without_an_endpoint_nothing_of_opentelemetry_is_imported() -> None:
    code = (
        "import sys; from pathlib import Path; from service import Config, create_app; create_app(Config(repository=Path('.')));"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_without_the_extra_an_endpoint_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "service.tracing.tracer")
    monkeypatch.delitem(sys.modules, "service.tracing.spans")
    for name in [name for name in sys.modules if name.startswith("opentelemetry.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigError, match=r"pip install 'tureen\[tracing\]'"):
        observers._tracer(Tracing(endpoint="http://127.0.0.1:4318"), Place())


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4318", "grpc://collector", "http://", "http://a/?b"])
def test_an_endpoint_is_an_address(endpoint: str) -> None:
    with pytest.raises(ValueError, match="OTLP over HTTP"):
        Tracing(endpoint=endpoint)
