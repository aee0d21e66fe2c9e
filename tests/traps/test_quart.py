"""What Quart, uvloop and CPython's collector do that a server must not: one rule for each, on servers as they are run."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import repeat
from pathlib import Path
from uuid import uuid4

import hypercorn.asyncio
import pytest
import uvicorn
from hypercorn.config import Config as HypercornConfig
from quart import Quart

from service import Config, create_app
from tests.e2e.kitchen import Gate, gate_of
from tests.e2e.patience import PATIENCE_S, until
from tests.e2e.served import Server
from tests.e2e.wire import post, wire
from tests.traps.conftest import KINDS, with_app
from tests.traps.frames import BINARY, TEXT, websocket
from tests.traps.quart_app import TOGETHER

MIB = 1024 * 1024
PREDICT = "/v1/models/gate:predict"
#: Requests with an Origin go by way of Quart, the others by the express lane.
LANES: Mapping[str, Mapping[str, str]] = {"express": {}, "quart": {"Origin": "https://shop.example"}}
DEEP = 200_000


# -- WebSocket messages queue without bound ------------------------------------------------------------------------------


def test_websocket_messages_that_a_handler_does_not_read_are_bounded_and_none_is_lost(server: Server) -> None:
    name, message = uuid4().hex, bytes(range(256)) * (MIB // 256 - 1)
    before = server.get("/inside").json()["rss"]
    with websocket(server, f"/deaf/{name}") as client:
        begun, left = client.flood(repeat(message, 300))
        assert begun < 100  # and it is the client that waits
        assert server.get("/inside").json()["rss"] - before < 64 * MIB
        server.post(f"/deaf/{name}")
        client.push(left)
        client.send(BINARY, b"end")
        size, digest = client.json()
    expected = hashlib.sha256()
    for _ in range(begun):
        expected.update(message)
    assert (size, digest) == (begun * len(message), expected.hexdigest())


def test_small_websocket_messages_are_bounded_too(server: Server) -> None:
    before = server.get("/inside").json()["rss"]
    with websocket(server, f"/deaf/{uuid4().hex}") as client:
        begun, _ = client.flood(repeat(b"x" * 1000, 100_000))
        assert begun < 50_000
        assert server.get("/inside").json()["rss"] - before < 64 * MIB


def test_a_websocket_whose_handler_reads_nothing_for_long_is_closed_and_leaves_nothing_open(server: Server) -> None:
    server.post("/stall/0.2")
    before = server.get("/inside").json()["descriptors"]
    with websocket(server, "/deaf/for-ever") as client:
        client.flood(repeat(bytes(MIB - 1), 100))
        assert client.closing_code() == 1008
    server.post("/stall/60.0")
    until(lambda: server.get("/inside").json()["descriptors"] <= before, "the connection is closed")
    assert any("left messages unread" in line for line in server.log)


def test_websockets_are_closed_when_the_server_stops_even_those_that_nobody_reads(kitchen: Path, tmp_path: Path) -> None:
    for kind in KINDS:
        with with_app(kitchen, kind, tmp_path) as server, ExitStack() as stack:
            idle, stuck = [stack.enter_context(websocket(server, path)) for path in ("/echo", "/deaf/for-ever")]
            idle.send(TEXT, b"a")
            assert idle.receive() == (TEXT, b"'a'")
            stuck.flood(repeat(bytes(MIB - 1), 100))
            server.process.terminate()
            assert (idle.closing_code(), stuck.closing_code()) == (1001, 1001)


def test_an_empty_binary_websocket_frame_arrives_as_empty_bytes(server: Server) -> None:
    with websocket(server, "/echo") as client:
        for kind, payload, told in ((BINARY, b"", b"b''"), (TEXT, b"", b"''"), (BINARY, b"a", b"b'a'"), (TEXT, b"a", b"'a'")):
            client.send(kind, payload)
            assert client.receive() == (TEXT, told)


# -- the response timeout cuts streams -----------------------------------------------------------------------------------

PIECES = 6


async def piecemeal() -> AsyncIterator[bytes]:
    for number in range(PIECES):
        yield b"piece %d\n" % number
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_response_timeout_of_quart_does_not_cut_streams(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Quart, "default_config", {**Quart.default_config, "RESPONSE_TIMEOUT": 0.25})
    ours, plain = create_app(Config(repository=tmp_path)), Quart(__name__)
    for app in (ours, plain):
        app.add_url_rule("/stream", "stream", piecemeal)
    assert plain.config["RESPONSE_TIMEOUT"] == 0.25
    assert len(await lines_of(plain, kind)) < PIECES
    assert await lines_of(ours, kind) == [b"piece %d" % number for number in range(PIECES)]


async def lines_of(app: Quart, kind: str) -> list[bytes]:
    """The lines of the app's stream as they came over a socket, up to where they were cut."""
    stop = asyncio.Event()
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        host, port = listening.getsockname()
        if kind == "hypercorn":
            settings = HypercornConfig()
            settings.bind = [f"fd://{listening.detach()}"]
            serve = asyncio.create_task(hypercorn.asyncio.serve(app, settings, shutdown_trigger=stop.wait))
        else:
            uvicorns = uvicorn.Server(uvicorn.Config(app, log_config=None))
            serve = asyncio.create_task(uvicorns.serve(sockets=[listening]))
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(b"GET /stream HTTP/1.0\r\nHost: tureen\r\n\r\n")
            _, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
            if kind == "uvicorn":
                uvicorns.should_exit = True
            stop.set()
            await serve
    return [line for line in body.splitlines() if line.startswith(b"piece")]


# -- a disconnect cancels the handler; the completion of one must never reach another -----------------------------------


@pytest.mark.parametrize("way", ["express", "quart", "route"])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_clients_that_leave_in_the_middle_of_a_batch_never_hurt_the_others_in_it(
    server: Server, kitchen: Path, way: str, reset: bool
) -> None:
    with gate_of(kitchen) as door, gate_of(kitchen) as inside, ExitStack() as stack:
        ahead = stack.enter_context(wire(server))
        ahead.send(post(PREDICT, rows_for(door, 0)))
        door.await_call()
        path, headers = (f"/ask/{inside.name}", {}) if way == "route" else (PREDICT, LANES[way])
        clients = [stack.enter_context(wire(server)) for _ in range(8)]
        for number, client in enumerate(clients):
            client.send(post(path, rows_for(inside, number), *[f"{name}: {value}" for name, value in headers.items()]))
        until(lambda: server.get("/inside").json()["queued"] == len(clients), "all wait for the same call")
        door.open()
        inside.await_call()
        for client in clients[::2]:
            if reset:
                client.reset()
            client.leave()
        inside.open()
        stayed = [client.reply().json()["predictions"] for client in clients[1::2]]
        assert stayed == [[{"y": 2 * number, "rows": 8}] for number in (1, 3, 5, 7)]
    assert server.get("/v2/models/gate/ready").json()["ready"]
    assert server.post(PREDICT, rows_for(inside, 4)).json()["predictions"] == [{"y": 8, "rows": 1}]


def rows_for(gate: Gate, x: float) -> bytes:
    return json.dumps({"instances": [{"x": x, "gate": gate.name}]}).encode()


# -- plain functions run on six threads ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/blocked", "/threaded"])
def test_fifty_blocked_views_starve_neither_each_other_nor_the_loop_nor_inference(server: Server, path: str) -> None:
    with ThreadPoolExecutor(TOGETHER) as clients:
        asked: list[Future[object]] = [clients.submit(lambda: server.get(path).json()["at"]) for _ in range(TOGETHER - 1)]
        until(lambda: server.get("/waiting").json()["blocked"] == TOGETHER - 1, "all are in work at once")
        rows = {"instances": [{"x": 1, "gate": ""}]}
        for headers in LANES.values():
            assert server.post(PREDICT, rows, headers).json()["predictions"] == [{"y": 2, "rows": 1}]
        last = server.get(path).json()["at"]
        assert sorted([last, *(one.result(PATIENCE_S) for one in asked)]) == list(range(TOGETHER))


# -- JSON nested 200,000 deep --------------------------------------------------------------------------------------------

LISTS, OBJECTS = "[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP
DOCUMENTS = {
    "nothing-but": "%s",
    "instances": '{"instances": %s}',
    "inputs": '{"inputs": %s}',
    "data": '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": %s}]}',
    "parameters": '{"parameters": {"a": %s}, "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}',
}
PATHS = {
    "infer": "/v2/models/affine/infer",
    "predict": "/v1/models/affine:predict",
    "index": "/v2/repository/index",
    "load": "/v2/repository/models/affine/load",
    "unload": "/v2/repository/models/affine/unload",
    "route": "/json",
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_json_nested_200_000_deep_is_the_callers_fault(server: Server, path: str, document: str) -> None:
    for nested in (LISTS, OBJECTS, "[" * DEEP):
        for headers in LANES.values():
            if headers and path.endswith("load"):
                continue  # what pages of other sites never reach
            reply = server.post(path, (document % nested).encode(), headers)
            assert (reply.status, reply.json()["code"]) in ((400, "bad_request"), (400, "invalid_input"))
    assert server.get("/v2/models/affine/ready").status == 200


def test_a_models_configuration_nested_200_000_deep_is_the_callers_fault(server: Server) -> None:
    for nested in (LISTS, OBJECTS, f'{{"batching": {LISTS}}}'):
        reply = server.post(PATHS["load"], {"parameters": {"config": nested}})
        assert (reply.status, reply.json()["code"]) in ((400, "bad_request"), (400, "load_failed"))
    assert server.get("/v2/models/affine/ready").status == 200


# -- the collector makes the tail ----------------------------------------------------------------------------------------


def test_what_is_loaded_is_frozen_out_of_the_collector_which_runs_seldom(server: Server) -> None:
    inside = server.get("/inside").json()
    assert inside["thresholds"] == [20_000, 50, 1_000]
    assert inside["frozen"] > 50_000


@pytest.mark.parametrize("status", [200, 400])
def test_a_request_makes_no_reference_cycles(server: Server, status: int) -> None:
    body = rows_for(Gate(Path(), ""), 1) if status == 200 else b'{"instances": [{}]}'
    with wire(server) as connection:
        connection.send(post(PREDICT, body))
        assert connection.reply().status == status
        server.post("/garbage")
        alone = server.post("/garbage").json()["cycles"]
        for _ in range(200):
            connection.send(post(PREDICT, body))
            connection.reply()
        assert server.post("/garbage").json()["cycles"] < alone + 200


def served(server: Server) -> None:
    with wire(server) as connection:
        connection.send(post(PREDICT, rows_for(Gate(Path(), ""), 1)))
        assert connection.reply().status == 200


def refused(server: Server) -> None:
    with wire(server) as connection:
        connection.send(b"GE\0T / HTTP/1.1\r\n\r\n")
        assert connection.reply().status == 400


def cut_off(server: Server) -> None:
    with wire(server) as connection:
        connection.send(post(PREDICT, rows_for(Gate(Path(), ""), 1))[:-1])


def reset(server: Server) -> None:
    with websocket(server, "/echo") as client:
        client.send(TEXT, b"x")  # and its answer is left unread, so that the end is a reset


@pytest.mark.parametrize(("talk", "most"), [(served, 0), (refused, 0), (cut_off, 0), (reset, 8)])  # 8: werkzeug's, to match a path
def test_a_connection_leaves_no_reference_cycles(server: Server, talk: Callable[[Server], None], most: int) -> None:
    talk(server)
    before = server.get("/inside").json()["descriptors"]
    server.post("/garbage")
    alone = server.post("/garbage").json()["cycles"]
    for _ in range(200):
        talk(server)
    until(lambda: server.get("/inside").json()["descriptors"] <= before, "the connections are closed")
    assert server.post("/garbage").json()["cycles"] < alone + 200 * (most + 1)
