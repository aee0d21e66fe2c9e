"""What torchvision's ImageNet transform does, with Pillow and numpy, as one writes it for a server that brings no preprocessing."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image

Floats = npt.NDArray[np.float32]
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
SHORT_SIDE, SIZE = 256, 224
BATCH, WORKERS, THREADS = (int(os.environ.get(f"PEER_{name}", "1")) for name in ("BATCH", "WORKERS", "THREADS"))
PORT = int(os.environ.get("PEER_PORT", "3000"))


def opened(data: bytes) -> Floats:
    """An encoded image as [3, 224, 224]."""
    return prepared(Image.open(io.BytesIO(data)))


def prepared(image: Image.Image) -> Floats:
    """An image that is not yet decoded as [3, 224, 224]. By Pillow's ``draft`` a JPEG is scaled while it is decoded."""
    image.draft("RGB", (SHORT_SIDE, SHORT_SIDE))
    image = image.convert("RGB")
    share = SHORT_SIDE / min(image.size)
    image = image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.BILINEAR)
    left, top = (image.width - SIZE) // 2, (image.height - SIZE) // 2
    pixels = np.asarray(image.crop((left, top, left + SIZE, top + SIZE)), np.float32) / 255
    return np.ascontiguousarray(((pixels - MEAN) / STD).transpose(2, 0, 1))


def session() -> Any:
    """The graph that ``PEER_MODEL`` names."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    return onnxruntime.InferenceSession(os.environ["PEER_MODEL"], options, providers=["CPUExecutionProvider"])


def best(logits: Floats, count: int = 5) -> list[list[dict[str, float]]]:
    """Of each row the best classes with their probabilities, the best first."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    order = np.argsort(-probabilities, axis=1)[:, :count]
    return [
        [{"index": int(index), "score": float(row[index])} for index in chosen]
        for row, chosen in zip(probabilities, order, strict=True)
    ]
