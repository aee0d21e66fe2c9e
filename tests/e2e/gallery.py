"""A repository of models that look at images, each with one trait, and forms to ask them with.

shade   Python, grey 4 x 4: the probabilities of ``dark`` and ``light``; NaN for the grey 77
kept    the same, with a cache
pure    the same, of two versions and a label, with no NaN
slow    the same, with windows that wait for company: 200 ms, or 8 rows
single  ONNX, [1, 1, 4, 4]: one image a call
free    ONNX, [-1, 1, -1, -1]: an image's mean, whatever its size
blind   ONNX, without a section [image]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from image_files import encoded
from onnx_graphs import model, node, tensor, weight, write

MODEL = '''
import numpy as np

from models import PythonModel, TensorSpec


class Shade(PythonModel):
    """How light an image is."""

    inputs = [TensorSpec("image", "FP32", [-1, 1, 4, 4])]
    outputs = [TensorSpec("scores", "FP32", [-1, 2]), TensorSpec("rows", "INT64", [-1])]

    def infer(self, inputs):
        light = inputs["image"].mean(axis=(1, 2, 3), dtype=np.float64).astype(np.float32)  # the sum of floats may be none
        light[np.abs(light - 77 / 255) < 1e-3] = np.nan
        return {"scores": np.stack([1 - light, light], axis=1), "rows": np.full(len(light), len(light))}
'''
IMAGE = '[image]\npreset = "unit"\nsize = 4\nchannels = "L"\noutput = "scores"\nscores = "none"\n'
TOML = {
    "shade": IMAGE,
    "kept": IMAGE + "[cache]\nttl_s = 600\n",
    "pure": IMAGE + '[versions]\npolicy = "all"\nlabels = { stable = 1 }\n',
    "slow": IMAGE + '[batching]\nmax_rows = 8\nwindow_ms = 200.0\nclose = "full"\n',
    "single": IMAGE,
    "free": IMAGE.replace("size = 4", 'resize = "short_side"\ncrop = "none"\nshort_side = 4'),
}
VERSIONS = {"pure": (1, 2)}
EDGE = {"Content-Type": "multipart/form-data; boundary=edge"}
Field = tuple[str, str | None, bytes]


def build(directory: Path) -> Path:
    """Makes the repository there."""
    for name, toml in TOML.items():
        for version in VERSIONS.get(name, (1,)):
            (directory / name / str(version)).mkdir(parents=True)
            if name not in ("single", "free"):
                (directory / name / str(version) / "model.py").write_text(MODEL)
        (directory / name / "model.toml").write_text(toml)
        if name != "free":
            (directory / name / "labels.txt").write_text("dark\nlight\n")
    sixteenth = np.full((16, 1), 1 / 16, np.float32)
    flat = [node("Flatten", ["image"], ["flat"]), node("MatMul", ["flat", "w"], ["light"])]
    apart = [node("Sub", ["one", "light"], ["dark"]), node("Concat", ["dark", "light"], ["scores"], axis=1)]
    one = weight("one", np.ones((1, 1), np.float32))
    scores = tensor("scores", "FP32", [1, 2])
    single = model([*flat, *apart], [tensor("image", "FP32", [1, 1, 4, 4])], [scores], [weight("w", sixteenth), one])
    write(single, directory / "single" / "1")
    pooled = [node("GlobalAveragePool", ["image"], ["pooled"]), node("Flatten", ["pooled"], ["scores"])]
    anything, means = tensor("image", "FP32", ["rows", 1, "height", "width"]), tensor("scores", "FP32", ["rows", 1])
    write(model(pooled, [anything], [means]), directory / "free" / "1")
    (directory / "blind" / "1").mkdir(parents=True)
    write(model(pooled, [anything], [means]), directory / "blind" / "1")
    return directory


def plain(grey: int, form: str = "PNG", width: int = 4, height: int = 4) -> bytes:
    """A file of one grey."""
    return encoded(np.full((height, width), grey, np.uint8), form)


def form(*fields: Field) -> bytes:
    """Fields as (name, file's name, content), in a form of ``EDGE``."""
    parts = []
    for name, filename, content in fields:
        file = "" if filename is None else f'; filename="{filename}"'
        parts.append(f'--edge\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n")
    return b"".join(parts) + b"--edge--\r\n"


def files(contents: Sequence[bytes]) -> bytes:
    """A form of so many files."""
    return form(*[("file", f"{index}.png", content) for index, content in enumerate(contents)])
