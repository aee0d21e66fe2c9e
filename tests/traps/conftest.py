"""Servers for the traps: of both kinds, with what a user's app adds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.e2e.kitchen import Gate, build, gate_of
from tests.e2e.served import HERE, Server, serving

KINDS = ("hypercorn", "uvicorn")
#: Where a server finds the apps of these tests.
APPS = f"{HERE}:{Path(__file__).parent}"


def with_app(kitchen: Path, kind: str, cwd: Path, *arguments: str) -> AbstractContextManager[Server]:
    """A server with ``quart_app``."""
    return serving(kitchen, "--app", "quart_app:extend", *arguments, kind=kind, cwd=cwd, env={"PYTHONPATH": APPS})


@pytest.fixture(scope="session")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of ``tests.e2e.kitchen``; nobody writes there."""
    return build(tmp_path_factory.mktemp("kitchen") / "repository")


@pytest.fixture
def gate(kitchen: Path) -> Iterator[Gate]:
    """A closed gate of the repository's model `gate`; it is opened at the test's end."""
    with gate_of(kitchen) as made:
        yield made


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each kind, with ``quart_app``."""
    with with_app(kitchen, request.param, tmp_path_factory.mktemp("cwd")) as made:
        yield made
