"""Loading a model tells nobody anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from onnx_graphs import echo, write


def test_onnx_runtime_leaves_no_telemetry_behind(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    path = write(echo("FP32"), tmp_path)
    code = "import sys, pathlib; from models.runtimes.onnx import OnnxRuntime; OnnxRuntime.load(pathlib.Path(sys.argv[1]))"
    # Nothing else that would keep it quiet: not the operator's variable, not what says that this is CI.
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code, str(path)], env=environ, timeout=60, check=True)
    assert list(home.rglob("*")) == []
