"""What the presets make of pictures, by the rules as they are published, in FP64 and whole images: none of the code under test.

    python tests/models/make_golden.py      writes golden/presets.npz

Sizes: torchvision.transforms.functional, ``_compute_resized_output_size`` and ``center_crop``. Filters: Pillow's Resample.c, which
torchvision uses for Pillow's images: a triangle, and Keys's cubic of a = -0.5, both widened by the scale where an image shrinks,
and their weights made to add up to 1 at the borders; across first, then down. Pillow keeps 8 bits after each: here it is clipped
as there, and not rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scenes import SIZES, scene

Floats = npt.NDArray[np.float64]
Kernel = tuple[Callable[[Floats], Floats], float]

FILE = Path(__file__).parent / "golden" / "presets.npz"
SAMPLES = 29  # rows, and columns, that are kept of each result


def triangle(x: Floats) -> Floats:
    found: Floats = np.maximum(0.0, 1 - np.abs(x))
    return found


def cubic(x: Floats) -> Floats:
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = -0.5 * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


BILINEAR: Kernel = (triangle, 1.0)
BICUBIC: Kernel = (cubic, 2.0)


def weights(before: int, after: int, kernel: Kernel) -> Floats:
    """[after, before]: what each pixel there takes of each here."""
    shape, reach = kernel
    scale = before / after
    wide = max(scale, 1.0)
    table = np.zeros((after, before))
    for pixel in range(after):
        centre = (pixel + 0.5) * scale
        first = max(0, int(centre - reach * wide + 0.5))
        last = min(before, int(centre + reach * wide + 0.5))
        row: Floats = shape((np.arange(first, last, dtype=np.float64) - centre + 0.5) / wide)
        table[pixel, first:last] = row / row.sum()
    return table


def resize(image: Floats, height: int, width: int, kernel: Kernel) -> Floats:
    across = np.clip(np.einsum("ow,hwc->hoc", weights(image.shape[1], width, kernel), image), 0, 255)
    down: Floats = np.clip(np.einsum("oh,hwc->owc", weights(image.shape[0], height, kernel), across), 0, 255)
    return down


def by_short_side(image: Floats, length: int, kernel: Kernel) -> Floats:
    height, width = image.shape[:2]
    short, long = (width, height) if width <= height else (height, width)
    other = int(length * long / short)
    return resize(image, other, length, kernel) if width <= height else resize(image, length, other, kernel)


def center_crop(image: Floats, size: int) -> Floats:
    height, width = image.shape[:2]
    top, left = round((height - size) / 2.0), round((width - size) / 2.0)
    return image[top : top + size, left : left + size]


def imagenet(image: Floats) -> Floats:
    unit = center_crop(by_short_side(image, 256, BILINEAR), 224) / 255
    return (unit - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]


def caffe(image: Floats) -> Floats:
    return center_crop(by_short_side(image, 256, BILINEAR), 224)[:, :, ::-1] - [103.939, 116.779, 123.68]


def clip(image: Floats) -> Floats:
    unit = center_crop(by_short_side(image, 224, BICUBIC), 224) / 255
    return (unit - [0.48145466, 0.4578275, 0.40821073]) / [0.26862954, 0.26130258, 0.27577711]


def unit(image: Floats) -> Floats:
    return resize(image, 96, 128, BILINEAR) / 255


def none(image: Floats) -> Floats:
    return resize(image, 96, 128, BILINEAR)


RULES: dict[str, Callable[[Floats], Floats]] = {
    "imagenet": imagenet,
    "imagenet-caffe": caffe,
    "clip": clip,
    "unit": unit,
    "none": none,
}


def sampled(row: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of [height, width, channels] the rows and columns that are kept, the outermost among them."""
    down, across = (np.linspace(0, side - 1, SAMPLES).round().astype(int) for side in row.shape[:2])
    found: npt.NDArray[Any] = row[np.ix_(down, across)]
    return found


def main() -> None:
    golden = {
        f"{preset}.{name}": sampled(rule(scene(*size).astype(np.float64))).astype(np.float32)
        for preset, rule in RULES.items()
        for name, size in SIZES.items()
    }
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FILE, allow_pickle=False, **golden)


if __name__ == "__main__":
    main()
