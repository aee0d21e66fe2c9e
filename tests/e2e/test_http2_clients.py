"""Clients of HTTP/2 that keep the server busy for nothing, or waiting, are sent away; others are served."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import h2.errors
import pytest

from tests.e2e.http2 import serving_tls
from tests.e2e.http2_client import Client, http2
from tests.e2e.limited import limits_env, refusals
from tests.e2e.patience import PATIENCE_S, until
from tests.e2e.served import Server

MIB = 1024 * 1024
PATH = "/v1/models/affine:predict"
BODY = json.dumps({"instances": [[1, 2, 3, 4]]}).encode()
LIMITS = {
    "header_timeout_s": 0.4,
    "body_timeout_s": 0.4,
    "body_bytes_per_s": 100_000,
    "body_chunks": 50,
    "write_timeout_s": 0.5,
    "idle_timeout_s": 2,
}
CALM = int(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)


@pytest.fixture(scope="module")
def server(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"TUREEN_APP": "slow_app:extend", **limits_env(LIMITS)}
    with serving_tls(kitchen, tmp_path_factory.mktemp("tls"), env=env) as made:
        yield made


@pytest.fixture
def weighing(kitchen: Path, tmp_path: Path) -> Iterator[Server]:
    """One that takes so many control frames that only what they ask for ends a connection."""
    with serving_tls(kitchen, tmp_path, env=limits_env({"http2_control_per_s": 1_000_000})) as made:
        yield made


def get(server: Server, path: str) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with urllib.request.urlopen(f"https://{server.address}{path}", timeout=PATIENCE_S, context=context) as answer:
        body: bytes = answer.read()
        return body


def count(server: Server, limit: str) -> float:
    return refusals(get(server, "/metrics"), limit)


def rss(server: Server) -> int:
    return int(json.loads(get(server, "/rss"))["rss"])


def predict(client: Client) -> tuple[int, bytes]:
    stream = client.begin("POST", PATH, ("content-length", str(len(BODY))))
    client.h2.send_data(stream, BODY, end_stream=True)
    client.flush()
    return client.answer(stream)


def test_a_client_of_http_2_is_served_again_and_again(server: Server) -> None:
    with http2(server) as client:
        for _ in range(3):
            assert predict(client)[0] == 200


@pytest.mark.parametrize("path", [PATH, "/length"])
def test_a_body_that_stops_ends_its_stream_and_no_other(server: Server, path: str) -> None:
    before = count(server, "body_timeout_s")
    with http2(server) as client:
        stream = client.begin("POST", path)
        client.h2.send_data(stream, b"x" * 100)
        client.flush()
        status, body = client.answer(stream)
        assert (status, json.loads(body)["code"]) == (408, "request_timeout")
        assert predict(client)[0] == 200
    assert count(server, "body_timeout_s") > before


def test_a_body_in_too_many_small_frames_is_refused(server: Server) -> None:
    with http2(server) as client:
        stream = client.begin("POST", "/length")
        for _ in range(51):
            client.h2.send_data(stream, b"x")
        client.flush()
        status, body = client.answer(stream)
        assert (status, json.loads(body)["code"]) == (413, "body_too_large")
        assert predict(client)[0] == 200
    assert count(server, "body_chunks") > 0


def test_a_body_that_comes_behind_its_answer_harms_nobody(server: Server) -> None:
    with http2(server) as client:
        stream = client.begin("POST", "/at-once")
        client.flush()
        assert client.answer(stream)[0] == 200
        client.h2.send_data(stream, b"x" * 1000, end_stream=True)
        client.flush()
        assert predict(client)[0] == 200


def test_who_never_opens_the_window_is_sent_away(server: Server) -> None:
    before, held = count(server, "write_timeout_s"), rss(server)
    with http2(server, window=0) as client:
        for _ in range(5):
            client.begin("GET", "/long/4", ends=True)
        client.flush()
        until(lambda: count(server, "write_timeout_s") > before, "it is counted")
        assert client.goodbye() == CALM
        assert rss(server) - held < 80 * MIB


@pytest.mark.parametrize("kind", ["ping", "settings", "empty data", "priority"])
def test_a_flood_of_frames_that_ask_for_nothing_is_ended(server: Server, kind: str) -> None:
    before = count(server, "http2_control_per_s")
    with http2(server) as client:
        stream = client.begin("POST", "/length")
        client.flush()
        frames = {
            "ping": b"\0\0\x08\x06\0\0\0\0\0" + bytes(8),
            "settings": b"\0\0\0\x04\0\0\0\0\0",
            "empty data": b"\0\0\0\0\0" + stream.to_bytes(4, "big"),
            "priority": b"\0\0\x05\x02\0" + (stream + 2).to_bytes(4, "big") + b"\0\0\0\0\x10",
        }
        with suppress(OSError):
            for _ in range(20):
                client.send(frames[kind] * 100)
        assert client.goodbye() in (CALM, None)  # what is still sent may be answered by a reset
    until(lambda: count(server, "http2_control_per_s") > before, "it is counted")
    with http2(server) as client:
        assert predict(client)[0] == 200


def test_some_pings_are_welcome(server: Server) -> None:
    with http2(server) as client:
        for _ in range(20):
            client.h2.ping(b"12345678")
        client.flush()
        assert predict(client)[0] == 200


def test_streams_that_are_opened_and_reset_end_their_connection_and_leave_nothing_in_work(server: Server) -> None:
    held = rss(server)
    with http2(server) as client, suppress(OSError):
        for _ in range(50):
            for _ in range(100):
                client.h2.reset_stream(client.begin("GET", "/long/1", ends=True))
            client.flush()
        assert client.goodbye() in (CALM, None)
    assert rss(server) - held < 80 * MIB
    with http2(server) as client:
        assert predict(client)[0] == 200


def test_thousands_of_streams_that_are_opened_and_reset_at_once_end_their_connection(server: Server) -> None:
    held = rss(server)
    with http2(server) as client:
        for _ in range(3000):
            client.h2.reset_stream(client.begin("GET", "/long/1", ends=True))
        with suppress(OSError):
            client.flush()
        assert client.goodbye() in (CALM, None)
    assert rss(server) - held < 80 * MIB


def test_more_streams_than_can_be_weighed_end_their_connection(weighing: Server) -> None:
    with http2(weighing) as client:
        frames = [b"\0\0\x05\x02\0" + stream.to_bytes(4, "big") + b"\0\0\0\0\x10" for stream in range(1, 4001, 2)]
        with suppress(OSError):
            client.send(b"".join(frames))
        assert client.goodbye() in (CALM, None)
    with http2(weighing) as client:
        assert predict(client)[0] == 200


def test_headers_without_an_end_end_the_connection(server: Server) -> None:
    held = rss(server)
    with http2(server) as client, suppress(OSError):
        head = b"\0\0\x01\x01\0\0\0\0\x01\x82"
        client.send(head)
        for _ in range(1000):
            client.send(b"\0\x40\0\x09\0\0\0\0\x01" + bytes([0x00]) * 16384)
        assert client.goodbye() is not None
    assert rss(server) - held < 20 * MIB
    with http2(server) as client:
        assert predict(client)[0] == 200


def test_http_2_without_a_request_is_idle(server: Server) -> None:
    with http2(server) as client:
        assert client.goodbye() is None
