"""The sections of `tureen.toml`: every key with its default, its bounds, and what it takes in a person's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_COLLECTOR = re.compile(r"https?://[^\s/?#]+(?:/[^\s?#]*)?")
_ORIGIN = re.compile(r"(https?)://(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(\d{1,5}))?")


def _origin(value: str) -> str:
    match = _ORIGIN.fullmatch(value)
    if match is None:
        raise ValueError("each origin is exact and lower-case, scheme, host and port alone, as in https://shop.example")
    if match[2] == {"http": "80", "https": "443"}[match[1]]:
        # Browsers leave the scheme's own port out of the Origin header, so this one would never match.
        raise ValueError(f"leave out :{match[2]}, as browsers do")
    return value


def _collector(value: str) -> str:
    if not _COLLECTOR.fullmatch(value):
        raise ValueError("give the address of a collector that takes OTLP over HTTP, as in http://127.0.0.1:4318")
    return value


class Section(BaseModel):
    """A part of the configuration: frozen, and without a key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Limits(Section):
    """`[limits]`: what one request may bring, and how many may come."""

    body_bytes: int = Field(default=64 * 1024**2, ge=1, description="a number of bytes, at least 1")
    inflated_bytes: int = Field(default=256 * 1024**2, ge=1, description="a number of bytes, at least 1")
    connections: int = Field(default=10_000, ge=1, description="a number of open connections a worker, at least 1")


class Cors(Section):
    """`[cors]`: which sites' pages may read answers; none by default."""

    allow_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        default=(), strict=False, description="a list of exact origins, as in https://shop.example"
    )


class Log(Section):
    """`[log]`: what is written, and how. A share is of the requests that succeed; the others are always told of."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="debug, info, warning or error")
    format: Literal["auto", "json", "pretty"] = Field(default="auto", description="auto, json or pretty")
    requests: bool = Field(default=True, description="true or false")
    sample: float = Field(default=1.0, ge=0, le=1, description="a share of the requests, from 0 to 1")
    most_per_s: float = Field(default=2000.0, gt=0, description="a number of lines a second, above 0")
    capture: Path | None = Field(default=None, strict=False, description="a path to write NDJSON to")
    capture_sample: float = Field(default=0.01, ge=0, le=1, description="a share of the requests, from 0 to 1")
    capture_redact: tuple[str, ...] = Field(default=(), strict=False, description="a list of fields whose values are left out")


class Metrics(Section):
    """`[metrics]`: what `/metrics` counts."""

    enabled: bool = Field(default=True, description="true or false")


class Tracing(Section):
    """`[tracing]`: where spans are sent by OTLP over HTTP; nowhere by default."""

    endpoint: Annotated[str, AfterValidator(_collector)] | None = Field(
        default=None, description="an address, as in http://127.0.0.1:4318"
    )
    sample: float = Field(default=1.0, ge=0, le=1, description="a share of the requests that bring no decision, from 0 to 1")


class Store(Section):
    """`[store]`: where what has to outlive the server is kept; by default nothing does."""

    state_dir: Path | None = Field(default=None, strict=False, description="a path")


class Drain(Section):
    """`[drain]`: how the server stops. Seconds from SIGTERM to refusing connections, and from then to giving up on requests."""

    delay_s: float = Field(default=0.0, ge=0, description="a number of seconds, at least 0")
    timeout_s: float = Field(default=30.0, ge=0, description="a number of seconds, at least 0")


SECTIONS: Mapping[str, type[Section]] = {
    "limits": Limits,
    "cors": Cors,
    "log": Log,
    "metrics": Metrics,
    "tracing": Tracing,
    "store": Store,
    "drain": Drain,
}
