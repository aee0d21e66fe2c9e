"""What the tests of the parsers leave behind is put away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz import streams


@pytest.fixture(autouse=True, scope="session")
def _servers() -> Iterator[None]:
    """The servers that inputs are sent to run in this process: they stop with it."""
    yield
    streams.close()
