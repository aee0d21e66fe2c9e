"""Command line over environment over file over defaults; every mistake named by the place it was made in."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.bind import Bind
from service.config import Config
from service.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tureen.toml"


def refusal(file: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: object) -> str:
    with pytest.raises(ConfigError) as raised:
        Config.resolve(file, environ or {}, overrides)
    assert str(raised.value) == "; ".join(map(str, raised.value.details)) or not raised.value.details
    return str(raised.value)


def test_without_any_source_the_defaults_hold() -> None:
    config = Config.resolve(None, {}, {})
    assert config == Config()
    assert (config.bind, config.server, config.app, config.insecure) == (Bind("127.0.0.1", 8000), "hypercorn", None, False)
    assert (config.limits.body_bytes, config.limits.inflated_bytes) == (64 << 20, 64 << 20)
    assert (config.drain.delay_s, config.drain.timeout_s, config.log.level, config.cors.allow_origins) == (0.0, 30.0, "info", ())


def test_the_file_gives_every_key(file: Path) -> None:
    file.write_text(
        'repository = "models"\nbind = "[::1]:9000"\nserver = "uvicorn"\napp = "shop.web:extend"\ninsecure = true\n'
        "[limits]\nbody_bytes = 1\ninflated_bytes = 2\n[cors]\n"
        'allow_origins = ["https://shop.example", "http://localhost:3000"]\n'
        '[log]\nlevel = "debug"\n[drain]\ndelay_s = 5\ntimeout_s = 1.5\n'
    )
    config = Config.resolve(file, {}, {})
    assert (config.repository, config.bind, config.server) == (Path("models"), Bind("::1", 9000), "uvicorn")
    assert (config.app, config.insecure, config.log.level) == ("shop.web:extend", True, "debug")
    assert (config.limits.body_bytes, config.limits.inflated_bytes) == (1, 2)
    assert config.cors.allow_origins == ("https://shop.example", "http://localhost:3000")
    assert (config.drain.delay_s, config.drain.timeout_s) == (5.0, 1.5)


def test_the_environment_gives_every_key() -> None:
    environ = {
        "TUREEN_REPOSITORY": "models",
        "TUREEN_BIND": "0.0.0.0:80",
        "TUREEN_SERVER": "uvicorn",
        "TUREEN_APP": "shop.web:extend",
        "TUREEN_INSECURE": "true",
        "TUREEN_LIMITS__BODY_BYTES": "1",
        "TUREEN_LIMITS__INFLATED_BYTES": "2",
        "TUREEN_CORS__ALLOW_ORIGINS": "https://shop.example, http://localhost:3000",
        "TUREEN_LOG__LEVEL": "error",
        "TUREEN_DRAIN__DELAY_S": "5",
        "TUREEN_DRAIN__TIMEOUT_S": ".5",
        "HOME": "/root",
    }
    config = Config.resolve(None, environ, {})
    assert (config.repository, config.bind, config.server) == (Path("models"), Bind("0.0.0.0", 80), "uvicorn")
    assert (config.app, config.insecure, config.log.level) == ("shop.web:extend", True, "error")
    assert (config.limits.body_bytes, config.limits.inflated_bytes) == (1, 2)
    assert config.cors.allow_origins == ("https://shop.example", "http://localhost:3000")
    assert (config.drain.delay_s, config.drain.timeout_s) == (5.0, 0.5)


@given(
    in_file=st.none() | st.integers(1, 100),
    in_environ=st.none() | st.integers(1, 100),
    on_line=st.none() | st.integers(1, 100),
)
def test_the_command_line_wins_then_the_environment_then_the_file(
    tmp_path_factory: pytest.TempPathFactory, in_file: int | None, in_environ: int | None, on_line: int | None
) -> None:
    file = tmp_path_factory.mktemp("config") / "tureen.toml"
    file.write_text("" if in_file is None else f"[limits]\nbody_bytes = {in_file}")
    environ = {} if in_environ is None else {"TUREEN_LIMITS__BODY_BYTES": str(in_environ)}
    config = Config.resolve(file, environ, {"limits": {"body_bytes": on_line}})
    wanted = next((value for value in (on_line, in_environ, in_file) if value is not None), 64 << 20)
    assert config.limits.body_bytes == wanted


def test_an_option_that_was_not_given_does_not_count(file: Path) -> None:
    file.write_text('server = "uvicorn"')
    assert Config.resolve(file, {}, {"server": None, "repository": Path("models")}).server == "uvicorn"


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().limits.body_bytes = 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[limits]\nbody_byte = 1",
            "[limits] body_byte: there is no such key (expected [limits] body_bytes, got limits.body_byte)",
        ),
        ("sever = 'uvicorn'", "tureen.toml: sever: there is no such key (expected server, got sever)"),
        ("[limit]\nbody_bytes = 1", "tureen.toml: [limit]: there is no such section (expected [limits], got limit)"),
        ("body_bytes = 1", "tureen.toml: body_bytes: there is no such key (expected [limits] body_bytes, got body_bytes)"),
        ("limits = 1", "tureen.toml: limits is a section; write [limits], and its keys below"),
        (
            "[limits]\nbody_bytes = '1'",
            "tureen.toml: [limits] body_bytes: the value is not one that the key takes (expected a number of bytes, at least 1",
        ),
        ("[limits]\nbody_bytes = true", "at least 1, got True)"),
        ("[limits]\nbody_bytes = 0", "at least 1, got 0)"),
        ("[limits]\nbody_bytes = 1.0", "at least 1, got 1.0)"),
        ("[drain]\ndelay_s = nan", "tureen.toml: [drain] delay_s: the value is not one that the key takes"),
        ("[drain]\ndelay_s = -1", "(expected a number of seconds, at least 0, got -1)"),
        ("[log]\nlevel = 'loud'", "(expected debug, info, warning or error, got 'loud')"),
        ("[log]\nlevel = 2020-01-01", "got date)"),
        ("insecure = 1", "(expected true or false, got 1)"),
        ("server = 'gunicorn'", "(expected hypercorn or uvicorn, got 'gunicorn')"),
        ("bind = 8000", "(expected HOST:PORT, got 8000)"),
        ("bind = '::1:8000'", "tureen.toml: bind: an IPv6 address goes in brackets, as in [::1]:8000"),
        ("app = 'shop/web.py'", "tureen.toml: app: name a function of an importable module, as in shop.web:extend"),
        ("[cors]\nallow_origins = ['*']", "tureen.toml: [cors] allow_origins: each origin is exact"),
        ("[cors]\nallow_origins = ['https://a.example/']", "each origin is exact"),
        ("[cors]\nallow_origins = ['https://.*']", "each origin is exact"),
        ("[cors]\nallow_origins = ['null']", "each origin is exact"),
        ("[cors]\nallow_origins = ['https://a.example:443']", "leave out :443, as browsers do"),
        ("[cors]\nallow_origins = 'https://a.example'", "expected a list of exact origins"),
        ("[limits", "tureen.toml is not TOML: "),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_key_and_the_fix(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    said = refusal(file)
    assert message in said
    assert str(file.parent) not in said


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "TUREEN_LIMITS__BODY_BYTE",
            "1",
            "TUREEN_LIMITS__BODY_BYTE: there is no such variable (expected TUREEN_LIMITS__BODY_BYTES, got",
        ),
        ("TUREEN_LIMITS_BODY_BYTES", "1", "(expected TUREEN_LIMITS__BODY_BYTES, got TUREEN_LIMITS_BODY_BYTES)"),
        ("TUREEN_BND", "x", "(expected TUREEN_BIND, got TUREEN_BND)"),
        ("TUREEN_", "x", "TUREEN_: there is no such variable"),
        ("TUREEN_LIMITS", "{}", "(expected TUREEN_LIMITS__…, got TUREEN_LIMITS)"),
        ("TUREEN_LIMITS__BODY_BYTES", "64 MiB", "(expected a number of bytes, at least 1, got '64 MiB')"),
        ("TUREEN_LIMITS__BODY_BYTES", "", "(expected a number of bytes, at least 1, got '')"),
        ("TUREEN_DRAIN__DELAY_S", "nan", "(expected a number of seconds, at least 0, got 'nan')"),
        (
            "TUREEN_INSECURE",
            "maybe",
            "TUREEN_INSECURE: the value is not one that the key takes (expected true or false",
        ),
        ("TUREEN_CORS__ALLOW_ORIGINS", "*", "each origin is exact"),
    ],
)
def test_a_mistake_in_the_environment_is_named_with_its_variable(variable: str, value: str, message: str) -> None:
    assert message in refusal(environ={variable: value})


@pytest.mark.parametrize(
    "variable",
    [
        "TUREEN_SERVICE_HOST",
        "TUREEN_SERVICE_PORT",
        "TUREEN_SERVICE_PORT_HTTP",
        "TUREEN_PORT",
        "TUREEN_PORT_8000_TCP",
        "TUREEN_PORT_8000_TCP_ADDR",
        "TUREEN_CANARY_SERVICE_HOST",
        "TUREEN_CANARY_PORT_8000_TCP_PROTO",
    ],
)
def test_what_kubernetes_says_of_a_service_named_tureen_is_no_mistake(variable: str) -> None:
    assert Config.resolve(None, {variable: "tcp://10.0.0.1:8000"}, {}) == Config()


def test_a_misspelt_key_is_not_taken_for_what_kubernetes_says() -> None:
    assert "no such variable" in refusal(environ={"TUREEN_LIMITS__PORT": "1"})


def test_a_mistake_on_the_command_line_is_named_with_its_option() -> None:
    assert refusal(bind="8000").startswith("--bind: name a host and a port")
    assert refusal(drain={"timeout_s": -1.0}).startswith("--timeout-s: the value is not one")


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    file.write_text("sever = 1\n[limits]\nbody_bytes = 0")
    said = refusal(file, {"TUREEN_LOG__LEVEL": "loud", "TUREEN_LOGS": "1"}, bind="x")
    for place in ("sever", "body_bytes", "TUREEN_LOG__LEVEL", "TUREEN_LOGS", "--bind"):
        assert place in said


def test_a_file_that_does_not_exist_is_named_without_its_folder(file: Path) -> None:
    assert refusal(file) == "tureen.toml does not exist; leave out --config to run with the defaults"


def test_a_file_that_is_not_text_is_refused(file: Path) -> None:
    file.write_bytes(b"a = '\xff'")
    assert "not UTF-8 at byte 5" in refusal(file)
    assert "cannot be read" in refusal(file.parent)


def test_an_address_that_others_reach_is_refused_unless_insecure_is_given() -> None:
    said = refusal(environ={"TUREEN_BIND": "0.0.0.0:9000"})
    assert said.startswith("TUREEN_BIND: other machines reach 0.0.0.0:9000")
    assert "127.0.0.1:9000" in said
    assert "--insecure" in said
    assert Config.resolve(None, {}, {"bind": "0.0.0.0:9000", "insecure": True}).bind == Bind("0.0.0.0", 9000)


@pytest.mark.parametrize(
    ("environ", "named", "message"),
    [
        ({"AUTH__API_KEYS": "1"}, "AUTH__API_KEYS", '[store] state_dir = "'),
        ({"AUTH__JWT_KEYS": "k", "AUTH__JWT_AUDIENCE": "a"}, "AUTH__JWT_KEYS", "give [auth] jwt_issuer too"),
        ({"AUTH__JWT_KEYS": "k", "AUTH__JWT_ISSUER": "i"}, "AUTH__JWT_KEYS", "give [auth] jwt_audience too"),
        ({"AUTH__JWT_ISSUER": "i"}, "AUTH__JWT_ISSUER", "give [auth] jwt_keys, or leave it out"),
        ({"LIMITS__REQUESTS_BURST": "9"}, "LIMITS__REQUESTS_BURST", "give [limits] requests_per_s too, or leave it out"),
        ({"LIMITS__ROWS_BURST": "9"}, "LIMITS__ROWS_BURST", "give [limits] rows_per_s too, or leave it out"),
        (
            {"LIMITS__ADDRESS_REQUESTS_BURST": "9", "LIMITS__REQUESTS_PER_S": "9"},
            "LIMITS__ADDRESS_REQUESTS_BURST",
            "give [limits] address_requests_per_s too, or leave it out",
        ),
    ],
)
def test_keys_that_need_another_are_refused_without_it(environ: Mapping[str, str], named: str, message: str) -> None:
    said = refusal(environ={f"TUREEN_{name}": value for name, value in environ.items()})
    assert said.startswith(f"TUREEN_{named}: ")
    assert message in said


def test_a_public_address_may_be_bound_where_callers_are_asked() -> None:
    config = Config.resolve(None, {}, {"bind": "0.0.0.0:9000", "auth": {"api_keys": True}, "store": {"state_dir": "state"}})
    assert config.auth.enabled
