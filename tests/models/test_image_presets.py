from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_golden import BICUBIC, BILINEAR, FILE, RULES, by_short_side, center_crop, resize, sampled
from PIL import Image
from scenes import SIZES, scene

from models.manifest import Manifest
from models.signature import Signature
from models.tensor import Array, TensorSpec
from models.vision import preprocess as way
from models.vision.pixels import Pixels
from models.vision.recipe import Recipe, recipe

#: Of a pixel's 255: what rounding to 8 bits after each of two passes may cost, as docs/images.md says.
TOLERANCE = 1.5


def preprocess(pixels: Array, by: Recipe, out: Array | None = None) -> Array:
    return way.preprocess(Pixels.of(Image.fromarray(pixels)), by, out)


def made(section: str, shape: list[int]) -> Recipe:
    image = Manifest.parse(f"[image]\n{section}", model="m").image
    assert image is not None
    return recipe(image, Signature((TensorSpec("x", "FP32", shape),), (TensorSpec("y", "FP32", [-1, 10]),)))


def levels(row: Array, by: Recipe) -> Array:
    """What a row's values were as pixels of 0 to 255, in [height, width, channels]."""
    found: Array = (row.astype(np.float64) * by.std + by.mean) / by.scale
    return found


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("preset", RULES)
def test_a_preset_gives_what_its_makers_published(preset: str, name: str) -> None:
    shape = [-1, 96, 128, 3] if preset in ("unit", "none") else [-1, 224, 224, 3]
    by = made(f"preset = '{preset}'", shape)
    with np.load(FILE) as golden:
        expected = golden[f"{preset}.{name}"]
    got = sampled(preprocess(scene(*SIZES[name]), by))
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(levels(got, by), levels(expected, by), rtol=0, atol=TOLERANCE)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40), st.sampled_from(["bilinear", "bicubic"]))
def test_whatever_is_cut_out_is_resampled_as_the_whole_image_would_be(
    height: int, width: int, short_side: int, size: int, interpolation: str
) -> None:
    size = min(size, short_side)
    image, kernel = scene(height, width), BICUBIC if interpolation == "bicubic" else BILINEAR
    section = (
        f"preset = 'none'\nlayout = 'NHWC'\nresize = 'short_side'\nshort_side = {short_side}\ninterpolation = '{interpolation}'"
    )
    by = made(section, [-1, size, size, 3])
    expected = center_crop(by_short_side(image.astype(np.float64), short_side, kernel), size)
    np.testing.assert_allclose(preprocess(image, by), expected, rtol=0, atol=TOLERANCE)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70), st.integers(1, 70))
def test_a_squashed_image_is_shown_whole(height: int, width: int, tall: int, wide: int) -> None:
    image = scene(height, width)
    by = made("preset = 'none'\nlayout = 'NHWC'\ninterpolation = 'bicubic'", [-1, tall, wide, 3])
    np.testing.assert_allclose(preprocess(image, by), resize(image.astype(np.float64), tall, wide, BICUBIC), rtol=0, atol=TOLERANCE)
