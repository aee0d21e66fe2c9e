"""What takes long to import is imported where it is used and not before: every worker and command would pay for it at its start."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAY = "import json, sys, {}; print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"


@functools.cache
def imported_by(module: str) -> frozenset[str]:
    """The top-level packages that a fresh interpreter has imported with that module."""
    said = subprocess.run(
        [sys.executable, "-c", SAY.format(module)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    return frozenset(json.loads(said))


@pytest.mark.parametrize("package", ["pydantic", "numpy", "sqlite3", "quart", "hypercorn", "asyncio"])
def test_the_command_has_not_imported_it_when_it_spawns_the_first_worker(package: str) -> None:
    assert package not in imported_by("service.cli")


@pytest.mark.parametrize("package", ["jwt", "cryptography", "redis", "opentelemetry", "onnxruntime", "lightgbm", "httpx"])
def test_a_worker_has_not_imported_it_before_its_configuration_asks_for_it(package: str) -> None:
    assert package not in imported_by("service.app")
