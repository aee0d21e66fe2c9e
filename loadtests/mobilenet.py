"""A graph of MobileNetV2's shapes with made-up weights: what a photograph's classifier costs, with nothing to download.

M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018), table 2, at width 1.0 and 224 x 224. Each
normalisation is folded into the convolution before it, as every exporter does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

SIZE, CLASSES = 224, 1000
STEM, LAST = 32, 1280
#: Of each stage: how far its blocks widen, the channels that they give, how many there are, and the stride of the first.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
SEED = 7
OPSET, IR = 13, 8
FILE = "model.onnx"
MODEL_TOML = """\
[batching]
max_rows = {rows}
instances = {instances}
timeout_ms = 60000

[runtime]
threads = {threads}

[image]
preset = "imagenet"
"""


@dataclass(frozen=True, slots=True)
class Block:
    """An inverted residual: widened by 1x1, filtered by channel with 3x3, narrowed by 1x1."""

    given: int
    wide: int
    gives: int
    stride: int

    @property
    def residual(self) -> bool:
        """Whether what comes in is added to what goes out."""
        return self.stride == 1 and self.given == self.gives


def blocks() -> Iterator[Block]:
    """All seventeen, in order."""
    given = STEM
    for widening, gives, count, stride in STAGES:
        for index in range(count):
            yield Block(given, given * widening, gives, stride if index == 0 else 1)
            given = gives


class Network:
    """Nodes and weights as they are added, each upon what the last one gave."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights = [_tensor("zero", np.float32(0)), _tensor("six", np.float32(6))]
        self._random = np.random.default_rng(SEED)

    def convolve(self, values: str, given: int, gives: int, side: int = 1, stride: int = 1, groups: int = 1) -> str:
        """A convolution that keeps its values' spread (K. He et al., 2015)."""
        name, fan = f"conv_{len(self.nodes)}", given // groups * side * side
        self._weigh(name, (gives, given // groups, side, side), fan)
        padded = [side // 2] * 4
        shape = {"kernel_shape": [side, side], "strides": [stride, stride], "pads": padded, "group": groups}
        return self._add("Conv", [values, f"{name}.weight", f"{name}.bias"], name, **shape)

    def clip(self, values: str) -> str:
        """ReLU6."""
        return self._add("Clip", [values, "zero", "six"], f"clip_{len(self.nodes)}")

    def bottleneck(self, values: str, block: Block) -> str:
        """One block."""
        inner = values if block.wide == block.given else self.clip(self.convolve(values, block.given, block.wide))
        inner = self.clip(self.convolve(inner, block.wide, block.wide, 3, block.stride, block.wide))
        inner = self.convolve(inner, block.wide, block.gives)
        return self._add("Add", [values, inner], f"add_{len(self.nodes)}") if block.residual else inner

    def classify(self, values: str) -> None:
        """The mean of each channel, then scores by class."""
        pooled = self._add("GlobalAveragePool", [values], "pooled")
        flat = self._add("Flatten", [pooled], "flat", axis=1)
        self._weigh("classifier", (CLASSES, LAST), LAST)
        self._add("Gemm", [flat, "classifier.weight", "classifier.bias"], "logits", transB=1)

    def _weigh(self, name: str, shape: tuple[int, ...], fan: int) -> None:
        spread = np.float32(np.sqrt(2 / fan))
        self.weights.append(_tensor(f"{name}.weight", self._random.standard_normal(shape, np.float32) * spread))
        self.weights.append(_tensor(f"{name}.bias", self._random.standard_normal(shape[0], np.float32) * np.float32(0.01)))

    def _add(self, kind: str, values: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, values, [name], **attributes))
        return name


def graph() -> bytes:
    """The model: ``input`` FP32 [-1, 3, 224, 224] -> ``logits`` FP32 [-1, 1000]. The same bytes each time."""
    network = Network()
    values = network.clip(network.convolve("input", 3, STEM, 3, 2))
    for block in blocks():
        values = network.bottleneck(values, block)
        last = block.gives
    network.classify(network.clip(network.convolve(values, last, LAST)))
    model = helper.make_model(
        helper.make_graph(
            network.nodes,
            "mobilenet",
            [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["rows", 3, SIZE, SIZE])],
            [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["rows", CLASSES])],
            network.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="tureen",
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def write(repository: Path, rows: int = 16, instances: int = 1, threads: int = 1) -> Path:
    """The model ``mobilenet`` in a repository; its directory."""
    directory = repository / "mobilenet"
    (directory / "1").mkdir(parents=True)
    (directory / "1" / FILE).write_bytes(graph())
    (directory / "model.toml").write_text(MODEL_TOML.format(rows=rows, instances=instances, threads=threads), encoding="utf-8")
    (directory / "labels.txt").write_text("".join(f"class {index}\n" for index in range(CLASSES)), encoding="utf-8")
    return directory


def _tensor(name: str, values: npt.NDArray[np.float32] | np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values), name)
