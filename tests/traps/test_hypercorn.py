"""What Hypercorn does that a server must not, one rule for each, on servers as they are run; on uvicorn too where it might."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from uuid import uuid4

import pytest

from service.connections.hypercorn_settings import DEFAULTS
from tests.e2e.kitchen import Gate
from tests.e2e.patience import PATIENCE_S, until
from tests.e2e.served import Reply, Server, run, serving
from tests.e2e.wire import post, wire
from tests.traps.conftest import KINDS, with_app
from tests.traps.frames import BINARY, websocket

MIB = 1024 * 1024
AFFINE = "/v1/models/affine:predict"
BODY = json.dumps({"instances": [[1, 2, 3, 4]]}).encode()
GATED = "/v1/models/gate:predict"
PATIENT = {"X-Request-Timeout-Ms": "60000"}


@pytest.fixture(scope="module")
def pairs(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Server]]:
    """A server of two workers, of each kind."""
    with ExitStack() as stack:
        cwd = tmp_path_factory.mktemp("pairs")
        yield {kind: stack.enter_context(with_app(kitchen, kind, cwd, "--workers", "2")) for kind in KINDS}


@pytest.fixture(params=KINDS)
def pair(pairs: Mapping[str, Server], request: pytest.FixtureRequest) -> Server:
    return pairs[request.param]


def workers(server: Server) -> list[int]:
    """The processes of a server's workers."""
    found = []
    for task in Path(f"/proc/{server.process.pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            with open(f"/proc/{child}/cmdline", "rb") as command:
                if b"service.processes.worker" in command.read():
                    found.append(int(child))
    return found


def pending(server: Server, gate: Gate) -> tuple[threading.Thread, list[Reply]]:
    """A request that is computed until the gate is opened, and where its answer will be."""
    replies: list[Reply] = []
    rows = {"instances": [{"x": 1, "gate": gate.name}]}
    thread = threading.Thread(target=lambda: replies.append(server.request("POST", GATED, rows, PATIENT)))
    thread.start()
    gate.await_call()
    return thread, replies


def refused(server: Server) -> bool:
    """Whether a new connection is refused; one that is not has to be answered, and soon."""
    try:
        connection = socket.create_connection((server.host, server.port), 10)
    except ConnectionError:
        return True
    with closing(connection):
        connection.settimeout(10)
        connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: tureen\r\nConnection: close\r\n\r\n")
        answer = connection.makefile("rb").readline()
        assert answer.split()[1] in (b"200", b"503")
    return False


# -- processes -----------------------------------------------------------------------------------------------------------


def test_kill_9_of_one_of_two_workers_closes_no_port_and_ends_no_server(pair: Server) -> None:
    killed, _ = workers(pair)
    os.kill(killed, signal.SIGKILL)
    for _ in range(20):
        assert pair.post(AFFINE, BODY).status == 200
    until(lambda: len(set(workers(pair)) - {killed}) == 2, "another takes the place of the one that was killed")
    assert pair.process.poll() is None
    until(lambda: len(by_worker(pair, 6)) == 2, "the other serves too")


@pytest.mark.parametrize(("kind", "seconds"), [("hypercorn", 6), ("uvicorn", 0)], ids=KINDS)
def test_a_request_of_6_s_survives_the_drain_and_new_connections_are_refused_or_answered_and_never_hang(
    kitchen: Path, tmp_path: Path, gate: Gate, kind: str, seconds: float
) -> None:
    with serving(kitchen, "--workers", "2", kind=kind, cwd=tmp_path) as server:
        begun = time.monotonic()
        thread, replies = pending(server, gate)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: refused(server), "new connections are refused")
        until(lambda: time.monotonic() >= begun + seconds, "it has taken so long")
        gate.open()
        thread.join(PATIENCE_S)
        assert ([reply.status for reply in replies], server.process.wait(PATIENCE_S)) == ([200], 0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_graceful_timeout_holds(kitchen: Path, tmp_path: Path, gate: Gate, kind: str) -> None:
    with serving(kitchen, kind=kind, cwd=tmp_path, env={"TUREEN_DRAIN__TIMEOUT_S": "0.5"}) as server:
        thread, replies = pending(server, gate)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == 0  # the gate is still closed
        thread.join(PATIENCE_S)
        assert [reply.status for reply in replies] == [503]


# -- settings ------------------------------------------------------------------------------------------------------------


def test_a_misspelt_key_in_hypercorn_toml_is_an_error(kitchen: Path, tmp_path: Path) -> None:
    (tmp_path / "hypercorn.toml").write_text("keep_alive_timeuot = 5\n")
    ended = run("serve", kitchen, "--bind", "127.0.0.1:0", cwd=tmp_path)
    assert ended.returncode == 2
    assert "keep_alive_timeuot" in ended.stderr
    assert "keep_alive_timeout" in ended.stderr


def test_the_backlog_holds_a_burst_of_connections(server: Server) -> None:
    (worker,) = workers(server)
    with ExitStack() as stack:
        os.kill(worker, signal.SIGSTOP)
        stack.callback(os.kill, worker, signal.SIGCONT)
        for _ in range(300):
            stack.enter_context(closing(socket.create_connection((server.host, server.port), 10)))


def test_a_dead_websocket_peer_and_a_body_that_stops_are_not_waited_for(kitchen: Path, tmp_path: Path) -> None:
    (tmp_path / "hypercorn.toml").write_text("read_timeout = 1\nwebsocket_ping_interval = 0.1\n")
    with with_app(kitchen, "hypercorn", tmp_path) as server, websocket(server, "/echo") as dead, wire(server) as stopped:
        stopped.send(post(AFFINE, BODY)[:-1])
        assert stopped.closed
        with pytest.raises(ValueError, match="unpack"):  # the pings that nobody answers, then the end
            dead.receive()


def test_nothing_is_waited_for_without_a_limit_by_default() -> None:
    assert {"read_timeout": 300, "websocket_ping_interval": 20.0, "backlog": 2048}.items() <= DEFAULTS.items()


def test_no_answer_names_the_server(server: Server) -> None:
    for request in (post(AFFINE, BODY), post("/v2", b""), post("/nowhere", b""), b"\x16\x03\x01\r\n\r\n"):
        with wire(server) as connection:
            connection.send(request)
            assert "server" not in connection.reply().headers


def test_a_websocket_message_of_more_than_a_mebibyte_is_refused(server: Server) -> None:
    with websocket(server, "/echo") as client:
        client.send(BINARY, bytes(MIB))
        assert len(client.receive()[1]) > MIB
        client.send(BINARY, bytes(MIB + 1))
        assert client.closing_code() == 1009


# -- connections ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_open_connections_are_capped(kitchen: Path, tmp_path: Path, kind: str) -> None:
    with serving(kitchen, kind=kind, cwd=tmp_path, env={"TUREEN_LIMITS__CONNECTIONS": "5"}) as server, ExitStack() as stack:
        opened = [stack.enter_context(wire(server)) for _ in range(5)]
        for connection in opened:
            connection.send(post(AFFINE, BODY))
            assert connection.reply().status == 200
        for _ in range(3):
            with wire(server) as extra:
                extra.send(post(AFFINE, BODY))
                reply = extra.reply()
                assert (reply.status, reply.json()["code"]) == (503, "too_many_connections")
                assert reply.headers["retry-after"].isdigit()
                assert extra.closed
        opened[0].leave()
        until(lambda: server.post(AFFINE, BODY).status == 200, "there is room again")
        for connection in opened[1:]:
            connection.send(post(AFFINE, BODY))
            assert connection.reply().status == 200


def by_worker(server: Server, connections: int) -> Counter[int]:
    """How many of so many connections, opened one after the other and kept, each worker serves."""
    found: Counter[int] = Counter()
    with ExitStack() as stack:
        names = []
        for _ in range(connections):
            name = uuid4().hex
            names.append(name)
            connection = stack.enter_context(wire(server))
            connection.send(post(AFFINE, BODY, f"X-Request-Id: {name}"))
            assert connection.reply().status == 200
        for name in names:
            # mypy infers no lambda that has a default
            until(lambda name=name: any(name in line for line in server.log), "the request is in the log")  # type: ignore[misc]
            (line,) = [line for line in server.log if name in line]
            found[json.loads(line)["worker"]] += 1
    return found


def test_forty_connections_are_spread_over_both_workers(pair: Server) -> None:
    found = by_worker(pair, 40)
    assert len(found) == 2
    assert min(found.values()) >= 15


def test_six_connections_in_a_row_reach_both_workers(pair: Server) -> None:
    assert len(by_worker(pair, 6)) == 2


# -- descriptors ---------------------------------------------------------------------------------------------------------


def test_without_free_descriptors_connections_wait_and_are_served_once_there_are(server: Server) -> None:
    (worker,) = workers(server)
    limits = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        stack.callback(resource.prlimit, worker, resource.RLIMIT_NOFILE, limits)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{worker}/fd")) + 3, limits[1]))
        connections = [stack.enter_context(wire(server)) for _ in range(10)]
        for connection in connections:
            connection.send(post(AFFINE, BODY, "Connection: close"))
        for connection in connections:  # each leaves its descriptor to one that waits
            assert connection.reply().status == 200
    assert len([line for line in server.log if "cannot accept connections" in line]) == 1


# -- TLS -----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_hypercorn_serves_tls_through_the_acceptor(kitchen: Path, tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=x"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    (tmp_path / "hypercorn.toml").write_text('certfile = "cert.pem"\nkeyfile = "key.pem"\n')
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with serving(kitchen, cwd=tmp_path) as server:
        with wire(server) as plain:  # no handshake of ours
            plain.send(b"GET /v2 HTTP/1.1\r\n\r\n")
            assert not plain.rest().startswith(b"HTTP")
        with socket.create_connection((server.host, server.port), 10) as raw, context.wrap_socket(raw) as secure:
            secure.sendall(post(AFFINE, BODY, "Connection: close"))
            assert secure.recv(100).startswith(b"HTTP/1.1 200")
