"""`tureen keys`, and a server of two workers that believes what it writes."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli import main
from tests.e2e.patience import until
from tests.e2e.served import Server, run, serving
from tests.service.issuer import AUDIENCE, ISSUER, claims, jwk, signed

KEY = re.compile(r"tur_([a-z2-7]{10})_[A-Za-z0-9]{43}\n")
INFER = "/v2/models/affine/infer"
ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}


def keys(state: Path, *arguments: object) -> str:
    """What the command prints, given beside the server."""
    done = CliRunner().invoke(main, ["keys", *map(str, arguments), "--state-dir", str(state)])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def create(state: Path, *options: object) -> tuple[str, str]:
    """A new key's ID, and the key."""
    match = KEY.fullmatch(keys(state, "create", "ci", *options))
    assert match is not None
    return match[1], match[0].strip()


def test_a_shell_gets_the_key_alone(tmp_path: Path) -> None:
    done = run("keys", "create", "ci", "--state-dir", "state", cwd=tmp_path)
    assert KEY.fullmatch(done.stdout)
    assert "it is not shown again" in done.stderr


def test_keys_without_a_place_to_be_kept_keep_the_server_from_starting(kitchen: Path, tmp_path: Path) -> None:
    done = run("serve", kitchen, "--bind", "127.0.0.1:0", cwd=tmp_path, env={"TUREEN_AUTH__API_KEYS": "true"})
    assert done.returncode == 2
    assert "API keys are kept in the state directory" in done.stderr
    (tmp_path / "file").touch()
    env = {"TUREEN_AUTH__API_KEYS": "true", "TUREEN_STORE__STATE_DIR": str(tmp_path / "file")}
    done = run("serve", kitchen, "--bind", "127.0.0.1:0", cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert "the state directory that keys are kept in cannot be used" in done.stderr


@pytest.fixture(scope="module", params=("hypercorn", "uvicorn"))
def asking(request: pytest.FixtureRequest, kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers that believe API keys, and tokens of the issuer's first key."""
    cwd = tmp_path_factory.mktemp("asking")
    (cwd / "keys.json").write_text(json.dumps({"keys": [jwk("HS256", kid="a")]}))
    env = {
        "TUREEN_AUTH__API_KEYS": "true",
        "TUREEN_STORE__STATE_DIR": str(cwd / "state"),
        "TUREEN_AUTH__JWT_KEYS": str(cwd / "keys.json"),
        "TUREEN_AUTH__JWT_ISSUER": ISSUER,
        "TUREEN_AUTH__JWT_AUDIENCE": AUDIENCE,
    }
    with serving(kitchen, "--workers", 2, kind=request.param, cwd=cwd, env=env) as server:
        yield server


def state_of(server: Server) -> Path:
    return Path(f"/proc/{server.process.pid}/cwd").resolve() / "state"


def answers(server: Server, credential: str, count: int = 20) -> set[int]:
    """The statuses of so many requests, each on a connection of its own, which workers take in turns."""
    return {server.post(INFER, ROW, {"Authorization": f"Bearer {credential}"}).status for _ in range(count)}


def a_second() -> None:
    """The time that the server is given, and no more."""
    time.sleep(1)


def become(server: Server, credential: str, status: int) -> None:
    """Waits until all workers answer so."""
    until(lambda: answers(server, credential) == {status}, f"every worker answers {status}")


def test_a_key_is_believed_and_a_revoked_one_is_not_in_every_worker_within_a_second(asking: Server) -> None:
    state = state_of(asking)
    number, key = create(state)
    a_second()
    assert answers(asking, key) == {200}
    keys(state, "revoke", number)
    a_second()
    assert answers(asking, key) == {401}


def test_a_key_that_a_connection_has_used_is_refused_there_once_it_is_revoked(asking: Server) -> None:
    """The lanes know a head that came before by its bytes."""

    state = state_of(asking)
    number, key = create(state)
    become(asking, key, 200)
    with closing(http.client.HTTPConnection(asking.host, asking.port)) as connection:

        def ask() -> int:
            connection.request("POST", INFER, json.dumps(ROW), {"X-API-Key": key, "Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            return response.status

        assert {ask() for _ in range(5)} == {200}
        keys(state, "revoke", number)
        until(lambda: ask() == 401, "the connection is refused")


def test_both_keys_are_good_during_an_overlap_and_the_old_one_ends_with_it(asking: Server) -> None:
    state = state_of(asking)
    number, old = create(state)
    new = keys(state, "rotate", number, "--overlap", "3s").strip()
    ends = time.time() + 3
    become(asking, new, 200)
    if time.time() < ends - 0.5:
        assert answers(asking, old, 3) == {200}
    become(asking, old, 401)
    assert answers(asking, new, 5) == {200}


def test_a_key_is_for_its_models_and_scopes(asking: Server) -> None:
    _, key = create(state_of(asking), "--model", "boost")
    become(asking, key, 403)
    assert asking.get("/v2/models/boost", {"X-API-Key": key}).status == 200
    assert asking.get("/v2/models/affine", {"X-API-Key": key}).status == 403
    assert asking.get("/metrics", {"X-API-Key": key}).status == 403


def test_a_token_is_believed_and_its_issuers_keys_rotate_without_a_restart(asking: Server) -> None:
    file = state_of(asking).parent / "keys.json"
    said = claims(exp=time.time() + 600)
    old, new = (signed(said=said, number=number, header={"kid": "ab"[number]}).decode() for number in (0, 1))
    assert (answers(asking, old), answers(asking, new)) == ({200}, {401})
    before = file.read_bytes()
    try:
        file.write_text(json.dumps({"keys": [jwk("HS256", 1, kid="b")]}))
        become(asking, new, 200)
        assert answers(asking, old) == {401}
    finally:
        file.write_bytes(before)
        become(asking, old, 200)


def test_a_restart_of_a_worker_knows_the_keys(asking: Server) -> None:
    _, key = create(state_of(asking))
    become(asking, key, 200)
    before = set(asking.workers)
    os.kill(min(before), signal.SIGKILL)
    until(lambda: len(set(asking.workers) - before) == 1 and asking.get("/v2/health/ready").status == 200, "a new one serves")
    assert answers(asking, key) == {200}


def test_no_credential_is_in_the_log_or_the_workers_command_lines(asking: Server) -> None:
    _, key = create(state_of(asking))
    become(asking, key, 200)
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    assert answers(asking, wrong, 5) == {401}
    secret = key.rpartition("_")[2][:-1]
    shown = [Path(f"/proc/{pid}/{what}").read_bytes() for pid in asking.workers for what in ("cmdline", "environ")]
    assert not any(secret.encode() in content for content in shown)
    assert not any(secret in line for line in asking.log + asking.out)


def test_every_refusal_reads_alike(asking: Server) -> None:
    number, key = create(state_of(asking))
    keys(state_of(asking), "revoke", number)
    become(asking, key, 401)
    told = set()
    for credential in (key, "tur_abcdefghij_" + "x" * 43, "x", signed(said=claims(exp=1)).decode(), signed(number=1).decode()):
        reply = asking.post(INFER, ROW, {"Authorization": f"Bearer {credential}"})
        body = reply.json()
        body.pop("request_id")
        told.add((reply.status, json.dumps(body), reply.headers.get("www-authenticate")))
    assert len(told) == 1
