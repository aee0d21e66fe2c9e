"""``model.toml``: how one model is batched, versioned, cached, run and warmed up. Every key is optional.

Parsing and judging are strict: an unknown key, a wrong type or a value out of range is a LoadError that names the model, the
file, the key, what came, and what was expected.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails

from models.errors import LoadError
from models.nearest import nearest
from models.plain_file import NotPlain, open_plain
from models.toml_text import briefly, toml
from models.vision.declaration import Image

FILE = "model.toml"
LARGEST = 1 << 20  # bytes: no honest manifest comes near
MOST_TOLD = 20  # problems that one error names: a file of a megabyte can hold a hundred thousand

Positive = Annotated[int, Field(ge=1, le=2**53)]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Batching(_Section):
    """How requests are stacked into calls."""

    max_rows: int = Field(default=64, ge=1, le=1_048_576)
    window_ms: float = Field(default=2.0, ge=0, le=60_000, allow_inf_nan=False)
    close: Literal["early", "full"] = "early"
    instances: int = Field(default=1, ge=1, le=1024)
    queue_rows: int = Field(default=1024, ge=1, le=2**31)
    timeout_ms: float = Field(default=1000.0, gt=0, le=86_400_000, allow_inf_nan=False)
    target_p99_ms: float | None = Field(default=None, gt=0, le=86_400_000, allow_inf_nan=False)

    @field_validator("target_p99_ms")
    @classmethod
    def _within_the_timeout(cls, target_ms: float | None, info: ValidationInfo) -> float | None:
        timeout_ms = info.data.get("timeout_ms")  # missing where it is wrong itself
        if target_ms is not None and timeout_ms is not None and target_ms >= timeout_ms:
            raise ValueError(f"a number of less than timeout_ms, which is {timeout_ms:g}")
        return target_ms


class Versions(_Section):
    """Which versions are served: the ``latest`` so many, all, or those listed; a label is another name for one."""

    policy: Literal["latest", "all"] | tuple[int, ...] = "latest"
    latest: Positive = 1
    labels: Mapping[Label, Positive] = Field(default_factory=dict)

    @field_validator("policy", mode="before")
    @classmethod
    def _policy(cls, value: object) -> object:
        if value in ("latest", "all"):
            return value
        if isinstance(value, list | tuple) and value and all(type(item) is int and item >= 1 for item in value):
            return tuple(sorted(set(value)))
        raise ValueError("'latest', 'all' or a list of positive version numbers, such as [3, 4]")


class Cache(_Section):
    """How long an answer may be given again; 0 is off. ``auto``: it rests while it costs more time than it saves."""

    ttl_s: float = Field(default=0.0, ge=0, le=31_536_000, allow_inf_nan=False)
    auto: bool = False


class RuntimeSettings(_Section):
    """What the model's runtime is given to compute with."""

    threads: int = Field(default=1, ge=1, le=1024)
    providers: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=("CPUExecutionProvider",), min_length=1, strict=False
    )


class Warmup(_Section):
    """Calls made at one row and again at ``max_rows`` before a version is ready."""

    calls: int = Field(default=3, ge=0, le=1000)


Rate = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


class Limits(_Section):
    """What one caller may ask of the model, a second and at once; without a burst it is one second's worth, and at least 1."""

    requests_per_s: Rate | None = None
    requests_burst: Positive | None = None
    rows_per_s: Rate | None = None
    rows_burst: Positive | None = None

    @model_validator(mode="after")
    def _bursts(self) -> Limits:
        for burst, rate in bursts_without_a_rate(self):
            raise ValueError(f"{rate} beside {burst}, which is how much of it may come at once")
        return self


def bursts_without_a_rate(limits: Iterable[tuple[str, object]]) -> list[tuple[str, str]]:
    """The bursts among those keys that would bound nothing, each with the rate that has to stand beside it."""
    given = {key for key, value in limits if value is not None}
    pairs = [(key, f"{key.removesuffix('_burst')}_per_s") for key in sorted(given) if key.endswith("_burst")]
    return [(burst, rate) for burst, rate in pairs if rate not in given]


class Manifest(_Section):
    """What ``model.toml`` says, with the defaults for what it does not."""

    batching: Batching = Batching()
    versions: Versions = Versions()
    cache: Cache = Cache()
    runtime: RuntimeSettings = RuntimeSettings()
    warmup: Warmup = Warmup()
    limits: Limits = Limits()
    image: Image | None = None

    @classmethod
    def parse(cls, text: str, *, model: str) -> Manifest:
        """The manifest of that TOML text. Raises LoadError."""
        try:
            tree = toml(text)
        except ValueError as error:
            raise LoadError(f"model {model!r}, {FILE}: not valid TOML: {error}") from error
        return _judge(tree, model, FILE)

    @classmethod
    def from_json_overrides(cls, text: str, *, model: str, base: Manifest | None = None) -> Manifest:
        """``base`` with what a JSON object of the same sections puts in its place, key by key. Raises LoadError."""
        if len(text) > LARGEST:
            raise LoadError(f"model {model!r}, config: it has {len(text)} characters; expected at most {LARGEST}")
        try:
            tree = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise LoadError(f"model {model!r}, config: not valid JSON: {briefly(error)}") from error
        if not isinstance(tree, dict):
            raise LoadError(f"model {model!r}, config: expected a JSON object such as {{'batching': {{'max_rows': 32}}}}")
        settled = (base or cls()).model_dump()
        for section, keys in tree.items():
            known = settled.get(section)
            settled[section] = {**known, **keys} if isinstance(known, dict) and isinstance(keys, dict) else keys
        return _judge(settled, model, "config")


_SECTIONS: Mapping[str, type[BaseModel]] = {
    **{name: type(section) for name, section in Manifest() if section is not None},
    "image": Image,
}


def read_manifest(directory: Path, *, model: str | None = None) -> Manifest:
    """The manifest of the model in that directory, all defaults where it has no ``model.toml``. Raises LoadError."""
    name = directory.name if model is None else model
    path = directory / FILE
    try:
        with open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > LARGEST:
                raise LoadError(f"model {name!r}, {FILE}: the file has {size} bytes; expected at most {LARGEST}")
            text = file.read(LARGEST).decode().replace("\r\n", "\n")
    except NotPlain as error:
        raise LoadError(f"model {name!r}, {FILE}: expected a plain file; symlinks and special files are not followed") from error
    except FileNotFoundError:
        return Manifest()
    except UnicodeDecodeError as error:
        raise LoadError(f"model {name!r}, {FILE}: not UTF-8 text, at byte {error.start}") from error
    except OSError as error:
        raise LoadError(f"model {name!r}, {FILE}: cannot be read: {error.strerror}") from error
    return Manifest.parse(text, model=name)


def _judge(tree: Mapping[str, Any], model: str, file: str) -> Manifest:
    try:
        return Manifest.model_validate(tree)
    except ValidationError as error:
        # A list with one wrong item is also called too short: the item's own problem says enough.
        details = [detail for detail in error.errors(include_url=False) if detail["type"] != "too_short" or not detail["input"]]
        problems = [*dict.fromkeys(map(_sentence, details[:MOST_TOLD]))]
        if len(details) > MOST_TOLD:
            problems.append(f"and {len(details) - MOST_TOLD} more")
        raise LoadError(f"model {model!r}, {file}: {'; '.join(problems)}") from error


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a string",
    "string_unicode": "a string without lone surrogates",
    "string_too_short": "a string of at least one character",
    "tuple_type": "a list",
    "too_short": "a list of at least one",
    "dict_type": "a table of keys",
    "mapping_type": "a table of keys",
    "model_type": "a section of keys",
    "string_pattern_mismatch": "1 to 128 letters, digits, '.', '_' or '-'",
}
_BOUND = {"greater_than_equal": ("ge", "at least"), "greater_than": ("gt", "more than"), "less_than_equal": ("le", "at most")}


def _sentence(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(*map(_word, detail["loc"]))
    if kind in _BOUND:
        limit, word = _BOUND[kind]
        expected = f"a number of {word} {context[limit]:.15g}"
    elif kind == "literal_error":
        expected = context["expected"]
    elif kind == "value_error":
        expected = str(context["error"])
    else:
        expected = _EXPECTED.get(kind, detail["msg"])
    # pydantic marks an error of a mapping's key, not its value, by a last part of its own.
    key = ".".join(_word(part) for part in detail["loc"] if part != "[key]")
    return f"{key}: expected {expected}, got {_SHORT.repr(detail['input'])}"


def _unknown(*path: str) -> str:
    *above, key = path
    if not above:
        known: Mapping[str, Any] = Manifest.model_fields
        meant = nearest(key, known)
        if isinstance(home := _home(key), str):
            return f"{key}: unknown key; the nearest known one is {home}"
        return f"{key}: unknown section; the nearest known one is [{meant}]"
    section = _SECTIONS.get(above[0])
    meant = nearest(key, section.model_fields if section is not None else ())
    return f"{'.'.join([*above, key])}: unknown key; the nearest known one is {'.'.join([*above, str(meant)])}"


def _home(key: str) -> str | None:
    # A key written above its section, as in `max_rows = 8` with no [batching] before it.
    return next((f"{name}.{key}" for name, section in _SECTIONS.items() if key in section.model_fields), None)


_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlong, _SHORT.maxother = 2, 80, 40, 80


def _word(part: object) -> str:
    return repr(str(part)[:80])[1:-1]  # a key may hold a line break


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
