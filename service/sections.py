"""The sections of `tureen.toml`: every key with its default, its bounds, and what it takes in a person's words."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from models.vision.bounds import MOST_PIXELS, Bounds
from service.bind import Bind

_IMAGE = Bounds()
_COLLECTOR = re.compile(r"https?://[^\s/?#]+(?:/[^\s?#]*)?")
_REDIS = re.compile(r"(?:rediss?://[^\s@/?#]+(?:/\d+)?|unix:///[^\s@?#]+)")
_HOST = re.compile(r"(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(?:[1-9]\d{0,4}))?")
_ORIGIN = re.compile(r"(https?)://(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(\d{1,5}))?")


def _origin(value: str) -> str:
    match = _ORIGIN.fullmatch(value)
    if match is None:
        raise ValueError("each origin is exact and lower-case, scheme, host and port alone, as in https://shop.example")
    if match[2] == {"http": "80", "https": "443"}[match[1]]:
        # Browsers leave the scheme's own port out of the Origin header, so this one would never match.
        raise ValueError(f"leave out :{match[2]}, as browsers do")
    return value


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f"{error}; give an address or a network, as in 10.0.0.0/8") from None


def _redis(value: str) -> str:
    if not _REDIS.fullmatch(value):
        raise ValueError("give an address without a password, as in redis://127.0.0.1:6379/0; the password has a file of its own")
    return value


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError(
            "each host is exact and lower-case, with its port where that is not the scheme's own, as in shop.example:8443"
        )
    return value


def bound(value: object) -> object:
    """A bind as it is written, parsed. Raises ValueError."""
    return Bind.parse(value) if isinstance(value, str) else value


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
    inflated_bytes: int = Field(default=64 * 1024**2, ge=1, description="a number of bytes, at least 1")
    connections: int = Field(default=10_000, ge=1, description="a number of open connections a worker, at least 1")
    address_connections: int | None = Field(default=None, ge=1, description="a number of open connections an address and worker")
    header_bytes: int = Field(default=16 * 1024, ge=1024, le=64 * 1024, description="a number of bytes, 1024 to 65536")
    header_count: int = Field(default=100, ge=10, le=1000, description="a number of header lines, 10 to 1000")
    header_timeout_s: float = Field(default=10.0, gt=0, description="a number of seconds, above 0")
    body_timeout_s: float = Field(default=30.0, gt=0, description="a number of seconds, above 0")
    body_bytes_per_s: int = Field(default=1024, ge=0, description="a number of bytes a second, at least 0")
    http2_control_per_s: float = Field(default=100.0, gt=0, description="a number of frames a second, above 0")
    body_chunks: int = Field(default=10_000, ge=1, description="a number of chunks, at least 1")
    write_timeout_s: float = Field(default=30.0, gt=0, description="a number of seconds, above 0")
    idle_timeout_s: float = Field(default=75.0, gt=0, description="a number of seconds, above 0")
    json_depth: int = Field(default=64, ge=4, le=200, description="a number of levels, 4 to 200")
    tensor_elements: int = Field(default=16 * 1024**2, ge=1, description="a number of elements, at least 1")
    rows: int = Field(default=100_000, ge=1, description="a number of rows, at least 1")
    images: int = Field(default=64, ge=1, le=10_000, description="a number of images, 1 to 10000")
    image_pixels: int = Field(default=_IMAGE.pixels, ge=1, le=MOST_PIXELS, description=f"a number of pixels, 1 to {MOST_PIXELS}")
    image_frames: int = Field(default=_IMAGE.frames, ge=1, description="a number of frames, at least 1")
    websocket_message_bytes: int = Field(default=1024**2, ge=1, description="a number of bytes, at least 1")
    websocket_queue_bytes: int = Field(default=1024**2, ge=1, description="a number of bytes, at least 1")
    websocket_stall_s: float = Field(default=60.0, gt=0, description="a number of seconds, above 0")
    requests_per_s: float | None = Field(default=None, gt=0, description="a number of requests a second, above 0")
    requests_burst: int | None = Field(default=None, ge=1, description="a number of requests, at least 1")
    rows_per_s: float | None = Field(default=None, gt=0, description="a number of rows a second, above 0")
    rows_burst: int | None = Field(default=None, ge=1, description="a number of rows, at least 1")
    requests_per_day: int | None = Field(default=None, ge=1, description="a number of requests, at least 1")
    rows_per_day: int | None = Field(default=None, ge=1, description="a number of rows, at least 1")
    address_requests_per_s: float | None = Field(default=None, gt=0, description="a number of requests a second, above 0")
    address_requests_burst: int | None = Field(default=None, ge=1, description="a number of requests, at least 1")
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        default=(), strict=False, description="a list of addresses or networks, as in 10.0.0.0/8"
    )
    budget_entries: int = Field(default=65_536, ge=1024, le=4 * 1024**2, description="a number of entries, 1024 to 4194304")
    redis_url: Annotated[str, AfterValidator(_redis)] | None = Field(
        default=None, description="an address without a password, as in redis://127.0.0.1:6379/0"
    )
    redis_timeout_ms: float = Field(default=50.0, gt=0, le=10_000, description="a number of milliseconds, above 0 and up to 10000")
    redis_password_file: Path | None = Field(default=None, strict=False, description="a path to a file with the password alone")


class Auth(Section):
    """`[auth]`: who may call. Without any key of it nobody is asked."""

    api_keys: bool = Field(default=False, description="true or false")
    jwt_keys: Path | None = Field(default=None, strict=False, description="a path to a JWKS file, a PEM public key, or a secret")
    jwt_algorithm: Literal["HS256", "RS256", "ES256", "EdDSA"] | None = Field(
        default=None, description="HS256, RS256, ES256 or EdDSA"
    )
    jwt_issuer: str | None = Field(default=None, min_length=1, description="the iss that tokens have")
    jwt_audience: str | None = Field(default=None, min_length=1, description="the aud that tokens have")
    jwt_scopes: str = Field(default="scope", min_length=1, description="the claim that holds the scopes")
    jwt_models: str = Field(default="models", min_length=1, description="the claim that holds the models")
    jwt_leeway_s: float = Field(default=10.0, ge=0, le=300, description="a number of seconds, 0 to 300")

    @property
    def enabled(self) -> bool:
        """Whether callers are asked who they are."""
        return self.api_keys or self.jwt_keys is not None


class Admin(Section):
    """`[admin]`: an address of its own for the routes that ask for the scope admin; by default they are where all others are."""

    bind: Annotated[Bind, BeforeValidator(bound)] | None = Field(default=None, description="HOST:PORT")


class Cors(Section):
    """`[cors]`: which sites' pages may read answers; none by default."""

    allow_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        default=(), strict=False, description="a list of exact origins, as in https://shop.example"
    )


class Cache(Section):
    """`[cache]`: where answers are kept that may be given again: in each worker's memory, or in a Redis that all share."""

    max_bytes: int = Field(default=64 << 20, ge=1 << 16, le=2**50, description="a number of bytes, at least 65536")
    url: Annotated[str, AfterValidator(_redis)] | None = Field(
        default=None, description="Redis's address, as in redis://127.0.0.1:6379/0"
    )
    password_file: Path | None = Field(default=None, strict=False, description="a path")
    timeout_ms: float = Field(default=20.0, gt=0, le=60_000, description="a number of milliseconds, above 0")


class Log(Section):
    """`[log]`: what is written, and how. A share is of the requests that succeed; of the others 401, 403 and 429 are paced."""

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


class Jobs(Section):
    """`[jobs]`: how many asynchronous jobs are kept, how large together, how long, and whom their callbacks may reach."""

    enabled: bool = Field(default=True, description="true or false")
    max_jobs: int = Field(default=100, ge=1, description="a number of jobs, at least 1")
    max_rows: int = Field(default=10_000_000, ge=1, description="a number of rows, at least 1")
    row_bytes: int = Field(default=4 * 1024**2, ge=1024, le=64 * 1024**2, description="a number of bytes, 1024 to 67108864")
    body_bytes: int = Field(default=1024**3, ge=1, description="a number of bytes, at least 1")
    max_bytes: int = Field(default=4 * 1024**3, ge=1, description="a number of bytes, at least 1")
    max_age_s: float = Field(default=86_400.0, gt=0, description="a number of seconds, above 0")
    chunk_rows: int = Field(default=256, ge=1, le=10_000, description="a number of rows, 1 to 10000")
    callback_hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = Field(
        default=(), strict=False, description="a list of hosts that callbacks may reach, as in shop.example:8443"
    )
    callback_timeout_ms: float = Field(
        default=10_000.0, gt=0, le=600_000, description="a number of milliseconds, above 0 and up to 600000"
    )


class Drain(Section):
    """`[drain]`: how the server stops. Seconds from SIGTERM to refusing connections, and from then to giving up on requests."""

    delay_s: float = Field(default=0.0, ge=0, description="a number of seconds, at least 0")
    timeout_s: float = Field(default=30.0, ge=0, description="a number of seconds, at least 0")


SECTIONS: Mapping[str, type[Section]] = {
    "auth": Auth,
    "limits": Limits,
    "cors": Cors,
    "cache": Cache,
    "log": Log,
    "metrics": Metrics,
    "tracing": Tracing,
    "store": Store,
    "jobs": Jobs,
    "drain": Drain,
    "admin": Admin,
}
