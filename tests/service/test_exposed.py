from __future__ import annotations

from pathlib import Path

import pytest

from service.config import Config
from service.exposed import exposed
from service.sections import Auth, Limits
from service.store import prepare


def of_tokens(file: Path, algorithm: str | None) -> Config:
    return Config(auth=Auth(jwt_keys=file, jwt_algorithm=algorithm, jwt_issuer="i", jwt_audience="a"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o400, 0), (0o440, 0), (0o640, 0), (0o644, 1), (0o604, 1)])
def test_a_secret_that_every_user_may_read_is_warned_of_by_its_key(tmp_path: Path, mode: int, warned: int) -> None:
    file = tmp_path / "secret"
    file.write_text("f00dfeed" * 8)
    file.chmod(mode)
    told = exposed(of_tokens(file, "HS256")) + exposed(
        Config(limits=Limits(redis_url="redis://127.0.0.1:6379/0", redis_password_file=file))
    )
    assert len(told) == 2 * warned
    if warned:
        assert told[0].startswith("[auth] jwt_keys: every user of this machine may read ")
        assert told[1].startswith("[limits] redis_password_file: ")
        assert "f00dfeed" not in "".join(told)


@pytest.mark.parametrize(
    ("text", "warned"),
    [('{"keys": [{"kty": "oct", "k": "AAAA"}]}', 1), ('{"keys": [{"kty": "RSA", "n": "AAAA", "e": "AQAB"}]}', 0)],
)
def test_of_a_jwks_only_one_with_a_secret_is(tmp_path: Path, text: str, warned: int) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(text)
    file.chmod(0o644)
    assert len(exposed(of_tokens(file, None))) == warned


def test_a_file_that_is_not_there_is_somebody_elses_to_tell(tmp_path: Path) -> None:
    assert exposed(of_tokens(tmp_path / "gone", None)) == []


def test_a_control_store_that_an_older_release_left_open_is_closed(tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / "control.db").chmod(0o644)
    prepare(tmp_path)
    assert (tmp_path / "control.db").stat().st_mode & 0o777 == 0o600
