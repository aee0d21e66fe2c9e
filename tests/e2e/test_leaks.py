"""No answer tells what only the operator may know: a path of ours, a traceback, what the server is made of; in every lane."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from service.config import Config
from service.processes.chronicle import digest
from tests.e2e.patience import PATIENCE_S
from tests.e2e.served import Reply, Server, run, serving

ROOT = Path(__file__).parents[2]
MADE_OF = ("hypercorn", "uvicorn", "quart", "werkzeug", "flask", "h11", "httptools", "wsproto", "uvloop")
PYTHON = f"Python/{sys.version_info.major}"
#: What a line of a traceback, or the repr of an object, has.
INSIDE = re.compile(r"Traceback \(most recent|File \"[^\"]*\", line \d|\.py\", line|<[\w.]+ object at 0x[0-9a-f]+|site-packages")
#: Headers that name software; `via` and `x-powered-by` are other servers' ways.
NAMING = ("server", "x-powered-by", "via", "x-runtime", "x-version", "x-aspnet-version")

WRONG: list[tuple[str, str, bytes | None, dict[str, str]]] = [
    ("GET", "/nothing", None, {}),
    ("GET", "/v2/models/nobody", None, {}),
    ("GET", "/v2/models/nobody/stats", None, {}),
    ("DELETE", "/v2", None, {}),
    ("TRACE", "/v2", None, {}),
    ("GET", "/docs/../../etc/passwd", None, {}),
    ("GET", "/docs/..%2f..%2fdocs.html", None, {}),
    ("POST", "/v2/models/nobody/infer", b"{}", {}),
    ("POST", "/v2/models/affine/infer", b"{", {}),
    ("POST", "/v2/models/affine/infer", b"\xff\xfe", {}),
    ("POST", "/v2/models/affine/infer", b"[" * 100_000, {}),
    ("POST", "/v2/models/affine/infer", b"{}", {"Content-Encoding": "gzip"}),
    ("POST", "/v2/models/affine/infer", b"{}", {"Content-Encoding": "x-nothing"}),
    ("POST", "/v2/models/affine/infer", b"{}", {"Content-Type": "text/x-nothing"}),
    ("POST", "/v2/models/affine/infer", b"{}", {"Inference-Header-Content-Length": "-1"}),
    ("POST", "/v2/models/affine/infer", b"{}", {"X-Request-Timeout-Ms": "nan"}),
    ("POST", "/v1/models/gate:predict", b'{"instances": [{"x": -1.0, "gate": ""}]}', {}),  # the model raises
    ("POST", "/v1/models/ledger:predict", b'{"instances": [-1.0]}', {}),
    ("POST", "/v2/repository/models/nobody/load", b"", {}),
    ("POST", "/v2/repository/models/affine/load", b'{"parameters": {"config": "{"}}', {}),
    ("POST", "/v2/repository/models/affine/load", b'{"parameters": {"file:1/model.onnx": ""}}', {}),
    ("POST", "/v2/repository/index", b"{", {}),
]
PAGES = ("/", "/v2", "/docs", "/openapi.json", "/metrics", "/v2/health/ready", "/v2/models/affine/config", "/v2/models/stats")
RAW = (
    b"nonsense\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n bad: y\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
)


def secrets_of(server: Server) -> list[str]:
    """What no answer may have in it."""
    return [str(server.repository), str(ROOT), sys.prefix, os.fspath(Path.home() / "."), PYTHON]


def check(server: Server, text: str, *, names: bool = True) -> None:
    for secret in secrets_of(server):
        assert len(secret) < 4 or secret not in text
    assert INSIDE.search(text) is None
    for name in MADE_OF if names else ():
        assert not re.search(rf"\b{name}\b", text, re.IGNORECASE), name
        assert f"{name}/{version(name)}" not in text


def check_headers(reply: Reply) -> None:
    assert set(NAMING).isdisjoint(reply.headers)
    check_words = " ".join(f"{name}: {value}" for name, value in reply.headers.items()).lower()
    assert not any(name in check_words for name in MADE_OF)


@pytest.mark.parametrize(("method", "path", "body", "headers"), WRONG, ids=lambda value: str(value)[:30])
def test_no_error_tells_what_is_inside(server: Server, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> None:
    for more in ({}, {"Origin": "https://elsewhere.example"}):
        reply = server.request(method, path, body, headers | more)
        assert reply.status >= 400
        check_headers(reply)
        check(server, reply.body.decode("utf-8", "replace"))


@pytest.mark.parametrize("path", PAGES)
def test_no_page_tells_what_it_is_made_of(server: Server, path: str) -> None:
    reply = server.get(path)
    check_headers(reply)
    check(server, reply.body.decode(), names=path != "/metrics")  # which says by which server, for who has the scope


def answered(server: Server, raw: bytes) -> str:
    """All that the server says to such bytes until it closes."""
    with closing(socket.create_connection((server.host, server.port), PATIENCE_S)) as connection:
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1")
        except ConnectionError:
            return ""


@pytest.mark.parametrize("raw", RAW, ids=lambda raw: raw[:24].decode().strip())
def test_what_is_no_http_is_told_so_and_nothing_else(fast_server: Server, raw: bytes) -> None:
    text = answered(fast_server, raw)
    assert not re.search(r"^(server|x-powered-by|via):", text, re.IGNORECASE | re.MULTILINE)
    check(fast_server, text)


def test_the_protocol_says_tureens_own_version_and_no_other(hypercorn_server: Server) -> None:
    said = hypercorn_server.get("/v2").json()
    assert (said["name"], said["version"]) == ("tureen", version("tureen"))


# -- secrets ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secretive(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str, str]]:
    """A server with a secret of tokens and an API key; the secret, and the key."""
    path = tmp_path_factory.mktemp("secretive")
    secret, state = "f00dfeed" * 8, path / "state"
    (path / "secret").write_text(secret)
    (path / "secret").chmod(0o600)
    key = run("keys", "create", "ci", "--scope", "admin", "--state-dir", state, cwd=path).stdout.strip()
    (path / "tureen.toml").write_text(
        f'[auth]\napi_keys = true\njwt_keys = "{path / "secret"}"\njwt_algorithm = "HS256"\njwt_issuer = "i"\njwt_audience = "a"\n'
        f'[store]\nstate_dir = "{state}"\n[log]\nlevel = "debug"\ncapture = "{path / "captured"}"\ncapture_sample = 1.0\n'
    )
    with serving(kitchen, "--config", path / "tureen.toml", "--workers", 2, cwd=path) as server:
        yield server, secret, key


def test_a_secret_is_on_no_command_line_in_no_log_and_in_no_answer(secretive: tuple[Server, str, str], tmp_path: Path) -> None:
    server, secret, key = secretive
    kept = key.rpartition("_")[2]
    headers = {"Authorization": f"Bearer {key}"}
    told = [server.get(path, headers).body.decode() for path in (*PAGES, "/v2/models/affine")]
    told += [server.post(path, b"{}", {"X-API-Key": key}).body.decode() for path in ("/v2/models/affine/infer", "/nothing")]
    told.append(server.get("/v2", {"Authorization": f"Bearer {key}x"}).body.decode())
    assert server.post("/v2/repository/models/affine/load", b"", headers).status == 200
    environment = {"TUREEN_API_KEY": key}
    told.append(run("status", "--url", server.url, "--json", cwd=tmp_path, env=environment).stdout)
    state = next(Path(line.split('"')[1]) for line in _config(server).splitlines() if line.startswith("state_dir"))
    told.append(run("audit", "--state-dir", state, "--json", cwd=tmp_path).stdout)
    told.append(run("keys", "list", "--state-dir", state, "--json", cwd=tmp_path).stdout)
    processes = [server.process.pid, *server.workers]
    told += [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in processes]
    told += [Path(f"/proc/{pid}/environ").read_bytes().decode() for pid in processes]
    told += [*server.out, *server.log]
    captured = state.parent / "captured"
    told += [captured.read_text()] if captured.exists() else []
    told += [part.read_bytes().decode("latin-1") for part in state.iterdir()]
    for text in told:
        assert secret not in text
        assert kept not in text


def _config(server: Server) -> str:
    arguments = server.process.args
    assert isinstance(arguments, list)
    return Path(arguments[arguments.index("--config") + 1]).read_text()


def test_what_is_kept_is_its_owners_alone(secretive: tuple[Server, str, str]) -> None:
    server, _, _ = secretive
    state = next(Path(line.split('"')[1]) for line in _config(server).splitlines() if line.startswith("state_dir"))
    assert state.stat().st_mode & 0o777 == 0o700
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in state.iterdir() if path.stat().st_mode & 0o077} == {}


def test_a_configuration_that_is_shown_or_digested_holds_no_secret(secretive: tuple[Server, str, str]) -> None:
    server, secret, _ = secretive
    arguments = server.process.args
    assert isinstance(arguments, list)
    config = Config.resolve(Path(arguments[arguments.index("--config") + 1]), {}, {})
    assert secret not in repr(config) + config.model_dump_json() + digest(config)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux knows it")
def test_nothing_that_a_worker_starts_gets_more_rights_than_it_has(hypercorn_server: Server) -> None:
    for pid in hypercorn_server.workers:
        assert "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
