"""Hypercorn's own settings, `hypercorn.toml`. Hypercorn ignores a misspelt key without a word; here it is an error.

So is a key that has no effect under `tureen serve`: one that Tureen decides elsewhere, or that is for Hypercorn's own command.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from ssl import VerifyFlags, VerifyMode
from types import MappingProxyType, UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

from hypercorn.config import Config

from models.errors import Problem
from models.nearest import nearest
from service.errors import ConfigError
from service.toml_file import read_toml

DEFAULTS: Mapping[str, object] = MappingProxyType(
    {
        "backlog": 2048,
        "include_server_header": False,
        "keep_alive_max_requests": 1_000_000,
        "read_timeout": 300,
        "websocket_ping_interval": 20.0,
    }
)
"""Where Tureen departs from Hypercorn's defaults; the repository's `hypercorn.toml` says the same, and why."""

_ALONE = "leave it out, `tureen serve` runs Hypercorn inside one process of its own"
_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "bind": "give --bind, or bind in tureen.toml",
        "insecure_bind": "give --bind, or bind in tureen.toml",
        "quic_bind": "leave it out, `tureen serve` does not speak HTTP/3",
        "graceful_timeout": "set timeout_s under [drain] in tureen.toml",
        "loglevel": "set level under [log] in tureen.toml",
        "errorlog": "leave it out, Hypercorn's messages go to Tureen's log",
        "logger_class": "leave it out, a class is not something that TOML can name",
        "application_path": "give --app to add blueprints to the app",
        "h11_max_incomplete_size": "set header_bytes under [limits] in tureen.toml",
        "h2_max_header_list_size": "set header_bytes under [limits] in tureen.toml",
        "keep_alive_timeout": "set idle_timeout_s under [limits] in tureen.toml",
        "websocket_max_message_size": "set websocket_message_bytes under [limits] in tureen.toml",
        "wsgi_max_body_size": "set body_bytes under [limits] in tureen.toml",
        "cert_reqs": "set verify_mode instead",
        "max_requests": "leave it out, a worker that stops after so many requests has nobody to start it again",
        "max_requests_jitter": "leave it out, with max_requests",
        **dict.fromkeys(
            ("workers", "worker_class", "use_reloader", "daemon", "debug", "pid_path", "umask", "user", "group"), _ALONE
        ),
    }
)


def hypercorn_settings() -> Mapping[str, object]:
    """What `hypercorn.toml` in the working directory says, or what is built in. Raises ConfigError."""
    file = Path("hypercorn.toml")
    return read_hypercorn(file) if file.is_file() else DEFAULTS


def read_hypercorn(file: Path) -> dict[str, object]:
    """Every setting to give to Hypercorn's ``Config.from_mapping``: the file's, and DEFAULTS where it says nothing.

    Raises ConfigError with one Problem for each mistake: an unknown key, a key without effect, a value of another kind.
    """
    settings, problems = dict(DEFAULTS), []
    for key, value in read_toml(file).items():
        place = f"{file.name}: {key}"
        kind = _KINDS.get(key)
        if key in _ELSEWHERE:
            problems.append(Problem(place, f"the key has no effect here; {_ELSEWHERE[key]}"))
        elif kind is None:
            problems.append(Problem(place, "Hypercorn has no such setting", nearest(key, (*_KINDS, *_ELSEWHERE)) or "", key))
        else:
            expected, convert = _TAKEN[kind]
            try:
                settings[key] = convert(value)
            except (TypeError, ValueError):
                problems.append(Problem(place, "the value is not one that the key takes", expected, repr(value)[:120]))
    if problems:
        raise ConfigError("; ".join(map(str, problems)), *problems)
    return settings


def _of(kind: type) -> Callable[[object], object]:
    def check(value: object) -> object:
        if not isinstance(value, kind):
            raise TypeError
        return value

    return check


_LARGEST = 2.0**53  # seconds or bytes: no larger one means anything, and NaN is not within


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
        raise TypeError
    return value


def _whole(value: object) -> int:
    if not isinstance(_number(value), int):
        raise TypeError
    return int(_number(value))


def _strings(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError
    return value


def _verify_flags(value: object) -> VerifyFlags:
    flags = VerifyFlags(_whole(value))
    if flags & ~_EVERY_FLAG:  # Python keeps bits that it has no name for, and fails once the server has started
        raise ValueError
    return flags


_EVERY_FLAG = functools.reduce(operator.or_, VerifyFlags)
_TAKEN: Mapping[type, tuple[str, Callable[[Any], object]]] = {
    bool: ("true or false", _of(bool)),
    int: ("a whole number, at least 0", _whole),
    float: ("a number, at least 0", _number),
    str: ("a string", _of(str)),
    list: ("a list of strings", _strings),
    dict: ("a table", _of(dict)),
    VerifyMode: ("0, 1 or 2, of which 2 demands a certificate of the client", lambda value: VerifyMode(_whole(value))),
    VerifyFlags: ("a sum of Python's ssl.VerifyFlags", _verify_flags),
}


def _kind(hint: Any) -> type | None:
    """What a setting takes, read off its annotation: of a union the first part that TOML can say."""
    for part in (get_origin(each) or each for each in (get_args(hint) if isinstance(hint, UnionType) else (hint,))):
        if part in _TAKEN:
            return cast(type, part)
    return None


def _kinds() -> dict[str, type]:
    """Hypercorn's settings and the kind of each; read from its own class, so that no list of ours can fall behind."""
    hints = get_type_hints(Config)
    values = {name: value for name, value in vars(Config).items() if not isinstance(value, property)}
    kinds: dict[str, type] = {"root_path": str}
    for name in (values.keys() | hints.keys()) - _ELSEWHERE.keys():
        kind = None if name.startswith("_") else _kind(hints.get(name, type(values.get(name))))
        if kind is not None:
            kinds[name] = kind
    return kinds


_KINDS = _kinds()
