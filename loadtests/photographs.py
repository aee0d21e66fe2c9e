"""Made-up photographs: JPEGs of a camera's size in bytes, so that reading and decoding them costs what it costs with real ones."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

WIDTH, HEIGHT, QUALITY = 640, 480, 85
SEED = 11


def photographs(count: int) -> Iterator[bytes]:
    """``count`` JPEGs of 640 x 480, 50 to 100 KB each, no two alike; the same each time."""
    random = np.random.default_rng(SEED)
    for _ in range(count):
        # Shapes of every size, the larger the stronger, as in what cameras see (D. J. Field, 1987), and a sensor's noise.
        picture = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        for cells in (4, 16, 64, 160):
            coarse = random.integers(0, 256, (cells * 3 // 4, cells, 3), np.uint8)
            layer = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
            picture += (np.asarray(layer, np.float32) - 128) * np.float32(3 / cells**0.5)
        picture += random.standard_normal(picture.shape, np.float32) * 3
        opened = Image.fromarray(np.clip(picture * 0.5 + 128, 0, 255).astype(np.uint8))
        written = io.BytesIO()
        opened.save(written, "JPEG", quality=QUALITY)
        yield written.getvalue()
