"""One server for what only needs one to ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from onnx_graphs import echo, write

from tests.e2e.served import Server, serving


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of one small model."""
    directory = tmp_path_factory.mktemp("alone")
    with serving(write(echo("FP32"), directory), cwd=directory) as server:
        yield server
