"""What each of a pixel's 256 levels becomes in a model's datatype."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from models.tensor import INTEGERS, Array, TensorSpec
from models.vision.axes import called, wrong

_FEWEST = 16  # levels that an image needs to be one


@lru_cache(maxsize=256)
def levels(datatype: np.dtype[Any], scale: float, mean: tuple[float, ...], std: tuple[float, ...]) -> Array:
    """[channels, 256]: ``(level * scale - mean) / std``, in FP64; for integers rounded, half to even, and kept in range."""
    exact = (np.arange(256) * scale - np.array(mean)[:, None]) / np.array(std)[:, None]
    if datatype.kind in "iu":
        bounds = np.iinfo(datatype)
        exact = np.clip(np.rint(exact), float(bounds.min), float(np.nextafter(float(bounds.max) + 1, 0)))
    table: Array = exact.astype(datatype)
    table.flags.writeable = False
    return table


def check_levels(spec: TensorSpec, scale: float, mean: Sequence[float], std: Sequence[float]) -> None:
    """Raises LoadError where the datatype cannot hold what pixels become."""
    with np.errstate(over="ignore", invalid="ignore"):
        table = levels(spec.dtype, scale, tuple(mean), tuple(std))
        if not np.isfinite(table.astype(np.float64)).all():
            raise wrong("scale", f"{called(spec)} cannot hold what pixels become", "a scale, mean and std that its datatype bears")
    fewest = min(len(np.unique(channel.astype(np.float64))) for channel in table)
    if fewest < _FEWEST:
        rounded = " once rounded" if spec.datatype in INTEGERS else ""
        fix = "preset = 'none', which leaves 0 to 255, or another scale, mean and std"
        raise wrong("scale", f"of a pixel's 256 levels {fewest} are left in {called(spec)}{rounded}", fix)
