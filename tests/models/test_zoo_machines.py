"""The demo is the same on every machine, so that what the documentation prints of it is what everybody sees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAKE = """
import sys
from pathlib import Path
from models.zoo import digits, fraud, shop
from models.zoo.demo import build

digits.EPOCHS = 3
shop.USERS, shop.ITEMS, shop.SESSIONS, shop.LEARNERS = 600, 300, 8, 400
fraud.CUSTOMERS, fraud.TERMINALS = 150, 300
build(Path(sys.argv[1]), lambda progress: None)
"""
#: OpenBLAS takes the kernels of an old processor, and numpy leaves the newest instructions alone.
OLD = {"OPENBLAS_CORETYPE": "Prescott", "NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3", "PYTHONWARNINGS": "ignore"}


def made(directory: Path, env: dict[str, str]) -> dict[str, bytes]:
    subprocess.run([sys.executable, "-c", MAKE, str(directory)], check=True, cwd=ROOT, env={**os.environ, **env})
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def test_an_old_processor_makes_the_same_models_as_this_one(tmp_path: Path) -> None:
    here, there = made(tmp_path / "here", {}), made(tmp_path / "there", OLD)
    assert [name for name in here if here[name] != there.get(name)] == []
    assert here.keys() == there.keys()
