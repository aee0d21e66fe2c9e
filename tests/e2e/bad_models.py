"""A repository in which good models lie beside every kind of bad one.

affine, boost, greet, pair, half   from ``tests.e2e.kitchen``: they have to answer whatever else happens
sour       Python, FP64 x [-1] -> y: x says what it does wrong in a call
twin       ONNX, version 1 good, version 2 damaged
the others will not load, each for one reason: ``UNLOADABLE`` and ``WHOLLY`` have their sentences
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

GOOD = ("affine", "boost", "greet", "pair", "half")

SOUR = """\
from pathlib import Path

import numpy as np

from models import InvalidInput, Problem, PythonModel, TensorSpec


class Sour(PythonModel):
    inputs = (TensorSpec("x", "FP64", [-1]),)
    outputs = (TensorSpec("y", "FP64", [-1]),)

    def infer(self, inputs):
        x = inputs["x"]
        if 1 in x:
            raise ValueError(f"no such day in {Path(__file__)}")
        if 2 in x:
            return {"y": x[:0]}
        if 3 in x:
            return {"z": x}
        if 4 in x:
            return None
        if 5 in x:
            return {"y": np.where(x == 5, np.nan, 2 * x)}
        if 6 in x:
            return {"y": np.stack([x, x], axis=1)}
        if 7 in x:
            return {"y": [str(value) for value in x]}
        if 8 in x:
            raise SystemExit(3)
        if 9 in x:
            raise InvalidInput(Problem("inputs.x.data", "the shop is closed on that day", "a day below 7", "9"))
        return {"y": 2 * x}
"""

MODEL = """\
from models import PythonModel, TensorSpec


class Model(PythonModel):
    inputs = (TensorSpec("x", "FP64", [-1]),)
    outputs = (TensorSpec("y", "FP64", [-1]),)

    def load(self, directory, models):
        {load}

    def infer(self, inputs):
        return {{"y": inputs["x"]}}
"""

PYTHON = {
    "at-import": "import nothing_of_that_name\n",
    "at-import-too": "open('/nowhere/to/be/found')\n",
    "bad-syntax": "class Model(:\n",
    "in-load": MODEL.format(load='raise RuntimeError(f"no weights in {directory}")'),
    "in-load-exit": MODEL.format(load="raise SystemExit(1)"),
    "no-class": "x = 1\n",
    "calls-nobody": MODEL.format(load='self.other = models("nobody")'),
}

ONNX = "model.onnx is not an ONNX file, or was cut short: copy it again, or export the model anew"
LIGHTGBM = "model.txt is no model that LightGBM can serve: "
ONE_OF = "expected exactly one of model.onnx, model.txt or model.py"

#: Why each version does not serve, behind "model NAME version 1".
UNLOADABLE = {
    "at-import": " did not load: model.py raised ModuleNotFoundError: No module named 'nothing_of_that_name' (line 1)",
    "at-import-too": " did not load: model.py raised FileNotFoundError: [Errno 2] No such file or directory: 'found' (line 1)",
    "bad-syntax": " did not load: model.py raised SyntaxError: invalid syntax (line 1)",
    "in-load": " did not load: model.py raised RuntimeError: no weights in 1 (line 9)",
    "in-load-exit": " did not load: model.py raised SystemExit: 1 (line 9)",
    "no-class": " did not load: model.py defines no PythonModel; expected one class derived from models.PythonModel",
    "calls-nobody": " did not load: model.py raised UnknownModel: "
    "there is no model 'nobody'; did you mean 'calls-nobody'? (line 9)",
    "cut-graph": f" did not load: {ONNX}",
    "no-graph": " did not load: model.onnx holds no graph, so it is empty, cut short, or not an ONNX file: copy or export it again",
    "text-graph": f" did not load: {ONNX}",
    "cut-trees": f" did not load: {LIGHTGBM}tree 3 of 4 (line 69) is missing: the file is cut short",
    "half-a-tree": f" did not load: {LIGHTGBM}tree 2 of 4 (line 50) is not complete: the file is cut short",
    "loop": f" did not load: {LIGHTGBM}tree 0 of 4 (line 19): left_child of node 0 is 0, expected -7 to -1, or 1 to 5",
    "no-file": f" has no model file; {ONE_OF}",
    "two-files": f" has model.onnx and model.py; {ONE_OF}",
    "linked": " is a symlink; put the directory itself into the repository",
}

#: Models of which nothing serves for a reason of their own, whole.
WHOLLY = {
    "no-version": "model 'no-version' has no version; expected a directory such as no-version/1 that holds "
    "model.onnx, model.txt or model.py",
    "typo": "model 'typo', model.toml: batching.max_row: unknown key; the nearest known one is batching.max_rows",
    "asks-for-9": "model 'asks-for-9', model.toml: versions asks for version 9; the repository has 1",
}


def build(directory: Path, kitchen: Path) -> Path:
    """Makes the repository there, with the good models of that kitchen."""
    for name in GOOD:
        shutil.copytree(kitchen / name, directory / name)
    for name, source in {"sour": SOUR, **PYTHON}.items():
        write(directory / name / "1" / "model.py", source)
    write(directory / "sour" / "model.toml", "[warmup]\ncalls = 0\n")
    graph = (kitchen / "affine" / "1" / "model.onnx").read_bytes()
    text = (kitchen / "boost" / "1" / "model.txt").read_text()
    write(directory / "twin" / "1" / "model.onnx", graph)
    write(directory / "twin" / "2" / "model.onnx", graph[: len(graph) // 2])
    write(directory / "twin" / "model.toml", '[versions]\npolicy = "all"\n')
    write(directory / "cut-graph" / "1" / "model.onnx", graph[: len(graph) // 2])
    write(directory / "no-graph" / "1" / "model.onnx", b"")
    write(directory / "text-graph" / "1" / "model.onnx", b"this is no graph")
    write(directory / "cut-trees" / "1" / "model.txt", text[: text.index("Tree=3")])
    write(directory / "half-a-tree" / "1" / "model.txt", text[: len(text) // 3])
    write(directory / "loop" / "1" / "model.txt", re.sub(r"left_child=\S+", "left_child=0", text, count=1))
    write(directory / "no-file" / "1" / "notes.md", "the model is on its way")
    write(directory / "two-files" / "1" / "model.py", PYTHON["no-class"])
    write(directory / "two-files" / "1" / "model.onnx", graph)
    (directory / "no-version").mkdir()
    write(directory / "typo" / "1" / "model.onnx", graph)
    write(directory / "typo" / "model.toml", "[batching]\nmax_row = 3\n")
    write(directory / "asks-for-9" / "1" / "model.onnx", graph)
    write(directory / "asks-for-9" / "model.toml", "[versions]\npolicy = [9]\n")
    (directory / "linked").mkdir()
    (directory / "linked" / "1").symlink_to(directory / "affine" / "1")
    return directory


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
