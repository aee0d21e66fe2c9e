"""Servers to test against. ``server`` is every one of them in turn; ``hypercorn_server`` the default alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e import bad_models
from tests.e2e.kitchen import Gate, build, gate_of
from tests.e2e.limited import limits_env
from tests.e2e.served import Server, serving

SERVERS = [(kind, lane) for kind in ("hypercorn", "uvicorn") for lane in ("express", "quart")]
#: The most that `strict_server` takes.
BODY_BYTES, INFLATED_BYTES = 65_536, 262_144


class Servers:
    """One server of a repository for each kind and lane, started when first asked for."""

    def __init__(self, repository: Path, cwd: Path, stack: ExitStack, env: Mapping[str, str] | None = None) -> None:
        self.repository, self.cwd = repository, cwd
        self._stack, self._env = stack, env
        self._running: dict[tuple[str, str], Server] = {}

    def __call__(self, kind: str, lane: str) -> Server:
        """That server."""
        found = self._running.get((kind, lane))
        if found is None:
            found = self._stack.enter_context(serving(self.repository, kind=kind, lane=lane, cwd=self.cwd, env=self._env))
            self._running[kind, lane] = found
        return found


@pytest.fixture(scope="session")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of ``tests.e2e.kitchen``; nobody writes there."""
    return build(tmp_path_factory.mktemp("kitchen") / "repository")


@pytest.fixture(scope="session")
def servers(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers by kind and lane, all of the same repository; at the end each has to stop cleanly."""
    with ExitStack() as stack:
        yield Servers(kitchen, tmp_path_factory.mktemp("cwd"), stack)


@pytest.fixture(scope="session", params=SERVERS, ids="-".join)
def server(servers: Servers, request: pytest.FixtureRequest) -> Server:
    """Each of the four: Hypercorn and uvicorn, the express lane and Quart."""
    kind, lane = request.param
    return servers(kind, lane)


@pytest.fixture(scope="session", params=("hypercorn", "uvicorn"))
def fast_server(servers: Servers, request: pytest.FixtureRequest) -> Server:
    """Both kinds, on the express lane: for what the lanes cannot make differ."""
    return servers(request.param, "express")


@pytest.fixture(scope="session")
def hypercorn_server(servers: Servers) -> Server:
    """The default server."""
    return servers("hypercorn", "express")


@pytest.fixture(scope="session")
def bad_repository(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of ``tests.e2e.bad_models``."""
    return bad_models.build(tmp_path_factory.mktemp("bad") / "repository", kitchen)


@pytest.fixture(scope="session", params=SERVERS, ids="-".join)
def strict_server(
    bad_repository: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Each of the four, with small limits, over good and bad models."""
    kind, lane = request.param
    env = limits_env({"body_bytes": BODY_BYTES, "inflated_bytes": INFLATED_BYTES})
    with serving(bad_repository, kind=kind, lane=lane, cwd=tmp_path_factory.mktemp("strict"), env=env) as made:
        yield made


@pytest.fixture
def gate(kitchen: Path) -> Iterator[Gate]:
    """A closed gate of the repository's model `gate`; it is opened at the test's end."""
    with gate_of(kitchen) as made:
        yield made
