"""The repository that the end-to-end tests serve: one small model for each trait that matters on the wire.

affine   ONNX, FP32 x [-1, 4] -> y [-1, 2]; WEIGHTS and BIAS
greet    ONNX, BYTES name [-1, 1] -> greeting [-1, 1]
pair     ONNX, FP32 a, b [-1, 2] -> sum, difference [-1, 2]
half     ONNX, FP16 x [-1, 2] -> y, the same
fixed    ONNX, FP32 x [3] -> y [3], its double: not batched
wide     ONNX, FP32 x [-1, 1] -> y [-1, 8192]: an answer that is worth compressing
boost    LightGBM, 4 features, versions 1 (stable) and 2 (canary)
gate     Python, FP64 x [-1], BYTES gate [-1] -> y = 2x, rows in the call; waits for gates, raises below 0
ledger   Python, FP64 x [-1] -> balance; not pure, raises below 0
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import lightgbm
import numpy as np
from onnx_graphs import echo, model, node, strings, sum_and_difference, tensor, weight, write

from models import Array
from tests.e2e.patience import until

WEIGHTS = np.array([[1, 0], [0, 1], [2, -1], [0.5, 0.25]], np.float32)
BIAS = np.array([0.5, -0.5], np.float32)


def affine(x: Array) -> Array:
    """What the model `affine` answers, exactly: its numbers are few and short."""
    return x.astype(np.float32) @ WEIGHTS + BIAS


def build(directory: Path) -> Path:
    """Makes the repository there."""
    shutil.copytree(Path(__file__).with_name("repository"), directory)
    (directory / "gate" / "gates").mkdir()
    affine_nodes = [node("Gemm", ["x", "w", "b"], ["y"])]
    four, two = tensor("x", "FP32", ["rows", 4]), tensor("y", "FP32", ["rows", 2])
    greeting = [node("StringConcat", ["hello", "name"], ["greeting"])]
    name, text = tensor("name", "BYTES", ["rows", 1]), tensor("greeting", "BYTES", ["rows", 1])
    double = [node("Add", ["x", "x"], ["y"])]
    widen = [node("Mul", ["x", "w"], ["y"])]
    ones = weight("w", np.arange(8192, dtype=np.float32).reshape(1, -1))
    graphs = {
        "affine": model(affine_nodes, [four], [two], [weight("w", WEIGHTS), weight("b", BIAS)]),
        "greet": model(greeting, [name], [text], [strings("hello", b"hello, ")]),
        "pair": sum_and_difference(),
        "half": echo("FP16"),
        "fixed": model(double, [tensor("x", "FP32", [3])], [tensor("y", "FP32", [3])]),
        "wide": model(widen, [tensor("x", "FP32", ["rows", 1])], [tensor("y", "FP32", ["rows", 8192])], [ones]),
    }
    for called, graph in graphs.items():
        version = directory / called / "1"
        version.mkdir(parents=True)
        write(graph, version)
    for number in (1, 2):
        version = directory / "boost" / str(number)
        version.mkdir(parents=True)
        booster(trees=4 * number).save_model(version / "model.txt")
    (directory / "boost" / "model.toml").write_text('[versions]\npolicy = "all"\nlabels = { stable = 1, canary = 2 }\n')
    return directory


def booster(trees: int) -> lightgbm.Booster:
    """A regression on 4 features; the number of trees is what makes one differ from another."""
    random = np.random.default_rng(3)
    rows = random.normal(size=(200, 4))
    settings = {"objective": "regression", "verbose": -1, "num_threads": 1, "num_leaves": 7, "min_data_in_leaf": 5, "seed": 1}
    return lightgbm.train(settings, lightgbm.Dataset(rows, rows[:, 0] + rows[:, 1] * rows[:, 2]), trees)


@dataclass(frozen=True, slots=True)
class Gate:
    """A place where calls of the model `gate` wait until it is opened."""

    directory: Path
    name: str

    @property
    def reached(self) -> bool:
        """Whether a call waits, or waited, here."""
        return (self.directory / f"{self.name}.reached").exists()

    def await_call(self) -> None:
        """Returns once a call has come to it."""
        until(lambda: self.reached, f"a call reaches gate {self.name}")

    def open(self) -> None:
        """Lets through whoever waits here, and whoever comes."""
        (self.directory / f"{self.name}.open").touch()


@contextmanager
def gate_of(repository: Path) -> Iterator[Gate]:
    """A closed gate with a name of its own, opened at the end, so that no call waits for ever."""
    gate = Gate(repository / "gate" / "gates", uuid4().hex)
    try:
        yield gate
    finally:
        gate.open()
