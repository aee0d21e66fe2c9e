"""What tests of several packages stand on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from models.zoo.demo import build
from models.zoo.trained import Progress, Trained

Making = tuple[Path, list[Trained], list[Progress]]


def pytest_sessionstart() -> None:
    """Says that there is no event loop: asked for one, asyncio would make it, and pytest-asyncio, which asks, never closes it."""
    asyncio.set_event_loop(None)


@pytest.fixture(scope="session")
def demo_making(tmp_path_factory: pytest.TempPathFactory) -> Making:
    """The demo repository, trained once for all tests, what was trained, and the progress told meanwhile."""
    repository = tmp_path_factory.mktemp("demo") / "repository"
    progress: list[Progress] = []
    return repository, build(repository, progress.append), progress


@pytest.fixture(scope="session")
def demo(demo_making: Making) -> Path:
    """The demo repository; nobody writes there."""
    return demo_making[0]
