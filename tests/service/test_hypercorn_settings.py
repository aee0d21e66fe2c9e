"""Hypercorn gets every setting that its file has, or the file is refused."""

import ssl
from pathlib import Path

import pytest
from hypercorn.config import Config
from hypothesis import given
from hypothesis import strategies as st

from service.connections.hypercorn_settings import DEFAULTS, read_hypercorn
from service.errors import ConfigError

OURS = Path(__file__).parents[2] / "hypercorn.toml"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hypercorn.toml"


def refusal(file: Path, text: str) -> str:
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_hypercorn(file)
    return str(raised.value)


def test_the_repositorys_file_says_what_is_built_in() -> None:
    assert read_hypercorn(OURS) == DEFAULTS


def test_a_file_that_says_nothing_leaves_what_is_built_in(file: Path) -> None:
    file.write_text("")
    assert read_hypercorn(file) == DEFAULTS


def test_what_is_built_in_is_not_hypercorns_default_and_reaches_hypercorn() -> None:
    changed = Config.from_mapping(DEFAULTS)
    for key, value in DEFAULTS.items():
        assert getattr(changed, key) == value != getattr(Config(), key)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("backlog = 10", "backlog", 10),
        ("read_timeout = 5", "read_timeout", 5),
        ("websocket_ping_interval = 1.5", "websocket_ping_interval", 1.5),
        ("include_server_header = true", "include_server_header", True),
        ("certfile = 'cert.pem'", "certfile", "cert.pem"),
        ("verify_mode = 2", "verify_mode", ssl.VerifyMode.CERT_REQUIRED),
        ("verify_flags = 32", "verify_flags", ssl.VerifyFlags.VERIFY_X509_STRICT),
        ("alpn_protocols = ['http/1.1']", "alpn_protocols", ["http/1.1"]),
        ("server_names = ['tureen.example']", "server_names", ["tureen.example"]),
        ("root_path = '/ml'", "root_path", "/ml"),
        ("accesslog = '-'", "accesslog", "-"),
        ("[logconfig_dict]\nversion = 1", "logconfig_dict", {"version": 1}),
    ],
)
def test_what_the_file_says_reaches_hypercorn(file: Path, text: str, key: str, value: object) -> None:
    file.write_text(text)
    assert getattr(Config.from_mapping(read_hypercorn(file)), key) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "keep_alive = 5",
            "hypercorn.toml: keep_alive: Hypercorn has no such setting (expected keep_alive_timeout, got keep_alive)",
        ),
        ("backlgo = 5", "hypercorn.toml: backlgo: Hypercorn has no such setting (expected backlog, got backlgo)"),
        ("from_mapping = 5", "hypercorn.toml: from_mapping: Hypercorn has no such setting"),
        ("_bind = ['0.0.0.0:80']", "hypercorn.toml: _bind: Hypercorn has no such setting"),
        ("log = 5", "hypercorn.toml: log: Hypercorn has no such setting"),
        ("ssl_enabled = true", "hypercorn.toml: ssl_enabled: Hypercorn has no such setting"),
        ("[hypercorn]\nbacklog = 5", "hypercorn.toml: hypercorn: Hypercorn has no such setting"),
        ("bind = '0.0.0.0:80'", "hypercorn.toml: bind: the key has no effect here; give --bind, or bind in tureen.toml"),
        ("insecure_bind = ['0.0.0.0:80']", "insecure_bind: the key has no effect here"),
        ("quic_bind = ['0.0.0.0:80']", "quic_bind: the key has no effect here"),
        ("graceful_timeout = 3", "set timeout_s under [drain] in tureen.toml"),
        ("loglevel = 'debug'", "set level under [log] in tureen.toml"),
        ("workers = 4", "workers: the key has no effect here"),
        ("max_requests = 1000", "max_requests: the key has no effect here"),
        ("logger_class = 'x'", "logger_class: the key has no effect here"),
        (
            "backlog = '5'",
            "backlog: the value is not one that the key takes (expected a whole number, at least 0, got",
        ),
        ("backlog = 5.5", "got 5.5"),
        ("backlog = true", "got True"),
        ("backlog = -1", "got -1"),
        ("websocket_ping_interval = nan", "expected a number, at least 0, got nan"),
        ("include_date_header = 1", "expected true or false, got 1"),
        ("root_path = 1", "expected a string, got 1"),
        ("server_names = 'a'", "expected a list of strings, got 'a'"),
        ("server_names = [1]", "expected a list of strings, got [1]"),
        ("verify_mode = 9", "expected 0, 1 or 2"),
        ("verify_mode = 'CERT_REQUIRED'", "expected 0, 1 or 2"),
        ("backlog", "hypercorn.toml is not TOML"),
    ],
)
def test_what_would_have_no_effect_is_refused_by_its_name(file: Path, text: str, message: str) -> None:
    said = refusal(file, text)
    assert message in said
    assert str(file.parent) not in said


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    said = refusal(file, "bind = 1\nbacklgo = 1\nread_timeout = 'x'")
    assert all(f"hypercorn.toml: {key}: " in said for key in ("bind", "backlgo", "read_timeout"))


@given(st.from_regex(r"[a-z_0-9]{1,30}", fullmatch=True))
def test_no_key_is_taken_that_hypercorn_would_ignore(tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
    file = tmp_path_factory.mktemp("hypercorn") / "hypercorn.toml"
    file.write_text(f"{key} = 1")
    try:
        settings = read_hypercorn(file)
    except ConfigError as error:
        assert key in str(error)  # noqa: PT017
    else:
        assert hasattr(Config(), key)
        assert settings[key] == 1


def test_a_file_that_cannot_be_read_is_named_without_its_folder(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"^hypercorn\.toml cannot be read"):
        read_hypercorn(file)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_hypercorn(file)
