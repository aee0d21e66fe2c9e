"""What a running server was told: command line over environment over `tureen.toml` over defaults, read once, frozen.

Each value keeps the name of the place it came from until it is checked, so that a mistake is reported by that name: the file,
the variable, the option.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from models.errors import Problem
from models.manifest import bursts_without_a_rate
from models.nearest import nearest
from models.repository import valid_name
from service.bind import Bind
from service.errors import ConfigError
from service.sections import SECTIONS, Admin, Auth, Cache, Cors, Drain, Jobs, Limits, Log, Metrics, Section, Store, Tracing, bound
from service.toml_file import read_toml

PREFIX = "TUREEN_"

# Kubernetes gives every container such variables for each service of its namespace, and a service may well be called `tureen`.
# The last is what clients show a server.
_NOT_OURS = re.compile(
    r"TUREEN_(?:(?!\w*__)[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
    r"|TUREEN_API_KEY"
)
_APP = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def _model(value: str) -> str:
    if not valid_name(value):
        raise ValueError("a model's name has 1 to 128 letters, digits, '.', '_' or '-', and no dot first")
    return value


def _function(value: str) -> str:
    if not _APP.fullmatch(value):
        raise ValueError("name a function of an importable module, as in shop.web:extend")
    return value


class Config(Section):
    """A server's whole configuration."""

    repository: Path = Field(default=Path("repository"), strict=False, description="a path")
    name: Annotated[str, AfterValidator(_model)] | None = Field(default=None, description="a model's name")
    bind: Annotated[Bind, BeforeValidator(bound)] = Field(default=Bind("127.0.0.1", 8000), description="HOST:PORT")
    server: Literal["hypercorn", "uvicorn"] = Field(default="hypercorn", description="hypercorn or uvicorn")
    workers: int = Field(default=1, ge=1, le=64, description="a number of processes, 1 to 64")
    app: Annotated[str, AfterValidator(_function)] | None = Field(default=None, description="module:function")
    insecure: bool = Field(default=False, description="true or false")
    auth: Auth = Auth()
    limits: Limits = Limits()
    cors: Cors = Cors()
    cache: Cache = Cache()
    log: Log = Log()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()
    store: Store = Store()
    jobs: Jobs = Jobs()
    drain: Drain = Drain()
    admin: Admin = Admin()

    @model_validator(mode="after")
    def _guarded(self) -> Config:
        admin = self.admin.bind
        if admin is not None and admin.port and admin.port == self.bind.port:
            raise _Together("admin.bind", f"{admin} has the port of bind, and requests are told apart by it; give another port")
        for key, bind in (("bind", self.bind), ("admin.bind", admin)):
            if bind is not None and not (bind.loopback or self.auth.enabled or self.insecure):
                raise _Together(
                    key,
                    f"other machines reach {bind} and nothing asks who they are; bind to 127.0.0.1:{bind.port}, "
                    "set api_keys = true under [auth], or give --insecure if something in front of the server asks",
                )
        return self

    @model_validator(mode="after")
    def _believable(self) -> Config:
        auth = self.auth
        if auth.api_keys and self.store.state_dir is None:
            raise _Together(
                "auth.api_keys",
                "API keys are kept in the state directory, and there is none that outlives the server; "
                'give one: [store] state_dir = "/var/lib/tureen"',
            )
        for key in ("jwt_issuer", "jwt_audience"):
            if auth.jwt_keys is not None and getattr(auth, key) is None:
                raise _Together("auth.jwt_keys", f"tokens are read only by whose and for whom they are; give [auth] {key} too")
            if auth.jwt_keys is None and getattr(auth, key) is not None:
                raise _Together(f"auth.{key}", "it is for tokens, and nothing verifies them; give [auth] jwt_keys, or leave it out")
        return self

    @model_validator(mode="after")
    def _rated(self) -> Config:
        for burst, rate in bursts_without_a_rate(self.limits):
            raise _Together(
                f"limits.{burst}", f"it is how much of a rate may come at once; give [limits] {rate} too, or leave it out"
            )
        return self

    @classmethod
    def resolve(cls, file: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Config:
        """The configuration that the three sources make; of ``overrides``, the command line's, None means not given.

        Raises ConfigError, with one Problem for each mistake.
        """
        values: dict[str, _Given] = {}
        problems: list[Problem] = []
        sources = (_from_file(file), _from_environment(environ), _from_command_line(overrides))
        for given in (given for source in sources for given in source):
            problem = _unknown(given)
            if problem is None:
                values[given.key] = given
            else:
                problems.append(problem)
        tree: dict[str, Any] = {}
        for key, given in values.items():
            section, _, name = key.rpartition(".")
            (tree.setdefault(section, {}) if section else tree)[name] = given.value
        try:
            config = cls.model_validate(tree)
        except ValidationError as error:
            problems += [_wrong(detail, values) for detail in error.errors()]
        else:
            if not problems:
                return config
        raise ConfigError("; ".join(map(str, problems)), *problems)


class _Together(ValueError):
    """What is wrong with the value of a key, by all else that the configuration says."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key = key


@dataclass(frozen=True, slots=True)
class _Given:
    """A value as one source has it: its dotted key, and how that source names it."""

    key: str
    value: object
    name: str


_FIELDS: Mapping[str, FieldInfo] = {
    **{key: field for key, field in Config.model_fields.items() if key not in SECTIONS},
    **{f"{section}.{key}": field for section, model in SECTIONS.items() for key, field in model.model_fields.items()},
}


def _from_file(file: Path | None) -> Iterator[_Given]:
    if file is None:
        return
    tables = read_toml(file, missing=f"{file.name} does not exist; leave out --config to run with the defaults")
    for key, value in tables.items():
        if key in SECTIONS and not isinstance(value, dict):
            raise ConfigError(f"{file.name}: {key} is a section; write [{key}], and its keys below")
        if isinstance(value, dict) and key not in _FIELDS:
            if key not in SECTIONS:
                yield _Given(key, value, f"{file.name}: [{key}]")
            for name, inner in value.items() if key in SECTIONS else ():
                yield _Given(f"{key}.{name}", inner, f"{file.name}: [{key}] {name}")
        else:
            yield _Given(key, value, f"{file.name}: {key}")


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Given]:
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX):
            continue
        key = variable[len(PREFIX) :].lower().replace("__", ".")
        field = _FIELDS.get(key)
        if field is not None:
            yield _Given(key, _parse(text, field.annotation), variable)
        elif not _NOT_OURS.fullmatch(variable):
            yield _Given(key, text, variable)


def _from_command_line(overrides: Mapping[str, object]) -> Iterator[_Given]:
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            for name, inner in value.items():
                if inner is not None:
                    yield _Given(f"{key}.{name}", inner, f"--{name}".replace("_", "-"))
        elif value is not None:
            yield _Given(key, value, f"--{key}".replace("_", "-"))


def _parse(text: str, annotation: object) -> object:
    """A variable's text as the type that its key wants; the text itself where it is no such thing, to be refused as any other."""
    if isinstance(annotation, UnionType):  # a key that may be left out
        (annotation,) = (one for one in get_args(annotation) if one is not NoneType)
    if annotation is bool:
        return _BOOLEANS.get(text.lower(), text)
    if annotation is int:
        return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII) else text
    if annotation is float:
        return float(text) if re.fullmatch(r"[+-]?(?:\d+\.?\d*|\.\d+)", text, re.ASCII) else text
    if get_origin(annotation) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _unknown(given: _Given) -> Problem | None:
    if given.key in _FIELDS:
        return None
    section, _, name = given.key.rpartition(".")
    if section in SECTIONS:
        known = f"{section}.{nearest(name, SECTIONS[section].model_fields)}"
    else:
        theirs = [name for name in SECTIONS if given.key in SECTIONS[name].model_fields]
        known = f"{theirs[0]}.{given.key}" if theirs else nearest(given.key, [*_FIELDS, *SECTIONS]) or ""
    if given.name.startswith(PREFIX):
        variable = PREFIX + known.upper().replace(".", "__") + ("__…" if known in SECTIONS else "")
        return Problem(given.name, "there is no such variable", variable, given.name)
    table, _, key = known.rpartition(".")
    written = f"[{known}]" if known in SECTIONS else f"[{table}] {key}" if table else key
    return Problem(given.name, f"there is no such {'section' if isinstance(given.value, dict) else 'key'}", written, given.key)


def _wrong(detail: ErrorDetails, values: Mapping[str, _Given]) -> Problem:
    """A value that pydantic refused, in words that do not speak of pydantic."""
    reason = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else ""
    location = [str(part) for part in detail["loc"]]
    if not location:
        key = detail["ctx"]["error"].key  # only what keys say together has no place of its own
        return Problem(values[key].name if key in values else key, reason)
    key = location[0] if location[0] in values else ".".join(location[:2])
    given = values[key]
    got = repr(given.value) if isinstance(given.value, str | int | float | list) else type(given.value).__name__
    return Problem(given.name, reason or "the value is not one that the key takes", str(_FIELDS[key].description), got[:120])
