"""Admin routes at an address of their own: on both servers, with two workers."""

from __future__ import annotations

import http.client
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.e2e.patience import PATIENCE_S, until
from tests.e2e.served import Reply, Server, run, serving

HERE = "127.0.0.1"
LOAD, UNLOAD = "/v2/repository/models/ledger/load", "/v2/repository/models/ledger/unload"
PREDICT = "/v1/models/ledger:predict"
#: Enough connections for both workers to get some.
MANY = 12
CONSOLE = """
from service import mount, needs

def extend(app):
    mount(app, "/console", lambda environ, start: start("200 OK", []) and [b"inside"] or [b"inside"], access="admin")

    @app.get("/own")
    @needs("admin")
    async def own():
        return "own"

    @app.get("/slash/")
    @needs("admin")
    async def slash():
        return "slash"
"""


def config(path: Path, admin: str = f"{HERE}:0", more: str = "") -> Path:
    file = path / "tureen.toml"
    file.write_text(f'{more}\n[admin]\nbind = "{admin}"\n[store]\nstate_dir = "{path / "state"}"\n')
    return file


def admin_of(server: Server) -> Server:
    """The same server, asked at its other address."""
    found = re.search(r"Admin routes are on http://([\d.]+):(\d+) alone", "".join(server.out))
    assert found is not None
    return Server(server.process, server.repository, server.kind, server.lane, found[1], int(found[2]))


@pytest.fixture(scope="module", params=("hypercorn", "uvicorn"))
def server(request: pytest.FixtureRequest, kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("admin")
    with serving(kitchen, "--workers", 2, "--config", config(path), kind=request.param, cwd=path) as made:
        yield made


def told(reply: Reply, path: str) -> tuple[int, object, str]:
    """What a stranger can tell answers apart by."""
    content = reply.json()
    return reply.status, content["code"], content["error"].replace(path, "PATH")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS"])
def test_at_the_public_address_admin_routes_are_as_if_not_there(server: Server, method: str) -> None:
    for path in (LOAD, UNLOAD, "/v2/repository/models/nobody/load"):
        nothing = path.replace("/models/", "/nothing/")
        for _ in range(MANY // 3):
            reply, other = (server.request(method, one, b"{}" if method == "POST" else None) for one in (path, nothing))
            assert {name: value for name, value in reply.headers.items() if name in ("allow", "content-type")} == {
                name: value for name, value in other.headers.items() if name in ("allow", "content-type")
            }
            assert reply.status == 404
            if method != "HEAD":
                assert told(reply, path) == told(other, nothing)


def test_the_host_header_and_the_forwarded_ones_lead_nowhere_else(server: Server) -> None:
    host = admin_of(server).address
    headers = {"Host": host, "X-Forwarded-Host": host, "X-Forwarded-Port": host.partition(":")[2], "Forwarded": f"host={host}"}
    assert server.post(LOAD, b"", headers).status == 404


def test_at_the_admin_address_everything_is_answered_by_every_worker(server: Server) -> None:
    admin = admin_of(server)
    for _ in range(MANY):
        assert admin.post(LOAD).status == 200
        assert admin.post(PREDICT, {"instances": [0.0]}).status == 200
    for path in ("/v2", "/v2/health/ready", "/metrics", "/docs"):
        assert admin.get(path).status == 200


def test_what_is_no_admin_route_is_answered_at_both(server: Server) -> None:
    assert [one.post("/v2/repository/index").status for one in (server, admin_of(server))] == [200, 200]


def test_commands_work_against_it_and_the_public_address_refuses_them(server: Server, tmp_path: Path) -> None:
    done = run("models", "load", "ledger", "--url", admin_of(server).url, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    refused = run("models", "load", "ledger", "--url", server.url, cwd=tmp_path)
    assert (refused.returncode, "there is nothing at" in refused.stderr) == (1, True)


def test_an_act_is_in_the_audit_with_who_and_from_where(server: Server) -> None:
    assert admin_of(server).post(LOAD, b"", {"X-Request-Id": "let-in"}).status == 200
    state = server.process.args
    assert isinstance(state, list)
    file = state[state.index("--config") + 1]

    def audit() -> str:
        return run("audit", "--config", file, "-n", 500, cwd=Path(file).parent).stdout

    until(lambda: "let-in" in audit(), "the load is in the audit")
    done = [line.split() for line in audit().splitlines() if "let-in" in line]
    assert [line[1:6] for line in done] == [[f"address:{HERE}", "load", "ledger", outcome, HERE] for outcome in ("asked", "done")]


def test_a_crowd_at_the_public_address_does_not_lock_admins_out(kitchen: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        file = config(tmp_path)
        file.write_text(file.read_text() + "[limits]\nconnections = 2\n")
        server = stack.enter_context(serving(kitchen, "--config", file, cwd=tmp_path))
        for _ in range(2):
            stack.enter_context(closing(socket.create_connection((server.host, server.port))))
        until(lambda: _full(server), "the public address is full")
        assert admin_of(server).post(LOAD).status == 200


def _full(server: Server) -> bool:
    try:
        return server.get("/v2/health/live").status == 503
    except (http.client.HTTPException, ConnectionError):
        return False


@pytest.mark.parametrize("kind", ["hypercorn", "uvicorn"])
def test_a_server_that_stops_takes_nobody_more_at_either_address(kitchen: Path, tmp_path: Path, kind: str) -> None:
    with serving(kitchen, "--config", config(tmp_path), kind=kind, cwd=tmp_path) as server:
        addresses = [(one.host, one.port) for one in (server, admin_of(server))]
        assert server.stop() == 0
        for address in addresses:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address, PATIENCE_S)


def test_a_reload_does_not_move_it(kitchen: Path, tmp_path: Path) -> None:
    file = config(tmp_path)
    with serving(kitchen, "--config", file, cwd=tmp_path) as server:
        admin = admin_of(server)
        file.write_text(file.read_text().replace(f'bind = "{HERE}:0"', f'bind = "{HERE}:1"') + '[log]\nlevel = "debug"\n')
        server.process.send_signal(signal.SIGHUP)
        until(lambda: any("the configuration is reloaded" in line for line in server.log), "the reload is through")
        assert any("[admin] is as before" in line for line in server.log)
        assert admin.post(LOAD).status == 200
        assert server.post(LOAD).status == 404


@pytest.mark.parametrize(
    ("admin", "says"),
    [
        ("127.0.0.1:8000", "has the port of bind"),
        ("0.0.0.0:8001", "other machines reach 0.0.0.0:8001 and nothing asks who they are"),
        ("nowhere", "name a host and a port"),
    ],
)
def test_an_admin_address_that_cannot_be_is_refused_with_its_key(kitchen: Path, tmp_path: Path, admin: str, says: str) -> None:
    refused = run("serve", kitchen, "--config", config(tmp_path, admin), "--bind", "127.0.0.1:8000", cwd=tmp_path)
    assert refused.returncode == 2
    assert "[admin] bind" in refused.stderr
    assert says in refused.stderr


def test_an_admin_address_that_is_taken_is_exit_code_2(kitchen: Path, tmp_path: Path) -> None:
    with closing(socket.create_server((HERE, 0))) as taken:
        file = config(tmp_path, f"{HERE}:{taken.getsockname()[1]}")
        refused = run("serve", kitchen, "--config", file, "--bind", f"{HERE}:0", cwd=tmp_path)
    assert (refused.returncode, "give another [admin] bind" in refused.stderr) == (2, True)


def test_what_is_mounted_for_admins_is_at_their_address_alone(kitchen: Path, tmp_path: Path) -> None:
    (tmp_path / "console.py").write_text(CONSOLE)
    with serving(kitchen, "--config", config(tmp_path), "--app", "console:extend", cwd=tmp_path) as server:
        admin = admin_of(server)
        assert [admin.get(path).status for path in ("/console/x", "/own")] == [200, 200]
        assert [admin.get(path).status for path in ("//console/x", "/console%2Fx", "//own")] == [404] * 3
        assert [server.get(path).status for path in ("/console/x", "/own", "/own/", "/slash")] == [404] * 4
        assert [server.post(path).status for path in ("/console/x", "/own")] == [404] * 2
