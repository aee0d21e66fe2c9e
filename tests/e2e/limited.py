"""Servers with limits small enough to meet, and what they say that each limit has refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.e2e.served import Server, serving

KINDS = ("hypercorn", "uvicorn")


def limits_env(limits: Mapping[str, object]) -> dict[str, str]:
    """The variables that set `[limits]`."""
    return {f"TUREEN_LIMITS__{key.upper()}": str(value) for key, value in limits.items()}


@contextmanager
def both(kitchen: Path, app: str, limits: Mapping[str, object], cwd: Path) -> Iterator[Mapping[str, Server]]:
    """A server of each kind, with those limits and what the app adds."""
    env = limits_env(limits)
    with ExitStack() as stack:
        yield {kind: stack.enter_context(serving(kitchen, "--app", app, kind=kind, cwd=cwd, env=env)) for kind in KINDS}


def refusals(metrics: bytes, limit: str) -> float:
    """How often a limit has refused something, by what `/metrics` says."""
    found = re.search(rf'^tureen_limited_total{{limit="{limit}"}} (\S+)', metrics.decode(), re.MULTILINE)
    return 0.0 if found is None else float(found[1])


def count(server: Server, limit: str) -> float:
    """The same, asked for."""
    return refusals(server.get("/metrics").body, limit)


@contextmanager
def counted(server: Server, limit: str) -> Iterator[None]:
    """Holds what is done within to one refusal, counted under that limit."""
    before = count(server, limit)
    yield
    assert count(server, limit) == before + 1
