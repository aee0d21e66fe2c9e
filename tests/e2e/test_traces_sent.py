"""Traces as a collector gets them: OTLP over HTTP, from servers as they are run."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.e2e.kitchen import gate_of
from tests.e2e.patience import until
from tests.e2e.served import run, serving
from tests.e2e.wire import post, wire

KINDS = ("hypercorn", "uvicorn")
PATH = "/v1/models/gate:predict"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


class Collector:
    """What was sent to it so far."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.url = ""

    @property
    def spans(self) -> list[Span]:
        """All spans."""
        return [span for one in self.requests for of in one.resource_spans for scope in of.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Span]:
        """Those of that name."""
        return [span for span in self.spans if span.name == name]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector for the length of a ``with``."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == "/v1/traces":
                collector.requests.append(ExportTraceServiceRequest.FromString(body))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        collector.url = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield collector
        finally:
            listening.shutdown()
            thread.join()


def rows_for(gate: str, x: float = 1) -> bytes:
    return json.dumps({"instances": [{"x": x, "gate": gate}]}).encode()


def text_of(span: Span, key: str) -> str:
    (found,) = [pair.value for pair in span.attributes if pair.key == key]
    return found.string_value or str(found.int_value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_collector_gets_requests_their_parts_and_their_batch_and_the_last_when_the_server_stops(
    kind: str, kitchen: Path, tmp_path: Path
) -> None:
    with collecting() as collector:
        env = {"TUREEN_TRACING__ENDPOINT": collector.url, "TUREEN_TRACING__SAMPLE": "0"}
        with serving(kitchen, kind=kind, cwd=tmp_path, env=env) as server, gate_of(kitchen) as gate:
            assert server.post(PATH, rows_for(""), {"traceparent": "nonsense"}).status == 200  # a sample of 0: not traced
            with wire(server) as held, wire(server) as first, wire(server) as second:
                held.send(post(PATH, rows_for(gate.name)))
                gate.await_call()
                for client, name in ((first, "r1"), (second, "r2")):
                    lines = [f"{key}: {value}" for key, value in PARENT.items()]
                    client.send(post(PATH, rows_for("", 2), *lines, f"X-Request-Id: {name}"))
                gate.open()
                assert [client.reply().status for client in (first, second)] == [200, 200]
            # By way of Quart, a refusal, and a request that is no inference.
            assert server.post(PATH, rows_for(""), {**PARENT, "Origin": "https://shop.example"}).status == 200
            assert server.post(PATH, b"[]", PARENT).status == 400
            assert server.get("/v2/models/nobody", PARENT).status == 404
            until(lambda: len(collector.named("POST /v1/models/<model:name>:predict")) == 4, "the inferences are traced")
        requests = collector.named("POST /v1/models/<model:name>:predict")
        assert [text_of(span, "http.response.status_code") for span in requests] == ["200", "200", "200", "400"]
        assert {"r1", "r2"} < {text_of(span, "tureen.request_id") for span in requests}
        assert {span.trace_id.hex() for span in requests} == {TRACE}
        (missing,) = collector.named("GET /v2/models/<model:name>")
        assert text_of(missing, "tureen.code") == "unknown_model"
        batches = {span.span_id: span for span in collector.named("batch gate")}
        linked = {link.span_id for batch in batches.values() for link in batch.links}
        assert linked == {span.span_id for span in requests[:3]}
        for span in requests[:3]:
            assert span.links[0].span_id in batches
            parts = [part for part in collector.spans if part.parent_span_id == span.span_id]
            assert [part.name for part in parts] == ["decode", "queue", "infer", "encode"]
            assert span.start_time_unix_nano <= parts[0].start_time_unix_nano <= parts[-1].end_time_unix_nano
            assert parts[-1].end_time_unix_nano <= span.end_time_unix_nano
        names = {pair.key: pair.value.string_value for pair in collector.requests[0].resource_spans[0].resource.attributes}
        assert names["service.name"] == "tureen"


@pytest.mark.parametrize("kind", KINDS)
def test_requests_are_answered_and_the_server_stops_in_time_though_the_collector_is_down(
    kind: str, kitchen: Path, tmp_path: Path
) -> None:
    with collecting() as gone:
        address = gone.url
    with serving(kitchen, kind=kind, cwd=tmp_path, env={"TUREEN_TRACING__ENDPOINT": address}) as server:
        for x in range(300):
            assert server.post(PATH, rows_for("", x)).json()["predictions"][0]["y"] == 2 * x


def test_check_and_serve_refuse_an_endpoint_that_is_no_address(kitchen: Path, tmp_path: Path) -> None:
    ended = run("serve", kitchen, "--bind", "127.0.0.1:0", cwd=tmp_path, env={"TUREEN_TRACING__ENDPOINT": "collector:4317"})
    assert ended.returncode == 2
    assert "TUREEN_TRACING__ENDPOINT" in ended.stderr
