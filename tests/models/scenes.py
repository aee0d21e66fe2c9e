"""Pictures that look like photographs to a filter: slopes, edges, textures and noise, the same bytes wherever they are made."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]

#: Height and width: wider and taller than what a model is given, smaller, as large, and out of all proportion.
SIZES = {
    "landscape": (480, 640),
    "portrait": (401, 301),
    "small": (61, 97),
    "fitting": (224, 224),
    "panorama": (120, 1000),
    "column": (700, 90),
}


def scene(height: int, width: int) -> Picture:
    """[height, width, 3]."""
    down, across = np.mgrid[0:height, 0:width].astype(np.int64)
    slope = 255 * across // max(1, width - 1)
    ripple = 127 + 120 * np.sin(down * down / 97.0)
    edges = np.where((down // 9 + across // 7) % 2 == 0, 0, 255)
    noise = _noise(down, across)
    disc = (down - height // 2) ** 2 + (across - width // 2) ** 2 < (min(height, width) // 3) ** 2
    red = np.where(disc, noise, slope)
    green = np.where(disc, edges, ripple)
    blue = np.where(disc, 255 - slope, (slope + noise) // 2)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def _noise(down: npt.NDArray[np.int64], across: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    # A hash of the place, which no release of numpy changes.
    mixed = (down * 73_856_093) ^ (across * 19_349_663)
    mixed = (mixed ^ (mixed >> 13)) * 1_274_126_177 & 0xFFFFFFFF
    found: npt.NDArray[np.int64] = (mixed >> 16) & 0xFF
    return found
