from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scenes import scene

from models.errors import ImageTooLarge
from models.manifest import Manifest
from models.signature import Signature
from models.tensor import Array, TensorSpec
from models.vision import preprocess as way
from models.vision.pixels import Pixels
from models.vision.preprocess import spans
from models.vision.recipe import Recipe, recipe

WHITE = np.full((4, 6, 3), 255, np.uint8)


def preprocess(pixels: Array, by: Recipe, out: Array | None = None) -> Array:
    return way.preprocess(Pixels.of(Image.fromarray(pixels)), by, out)


def made(section: str, shape: list[int], datatype: str = "FP32") -> Recipe:
    image = Manifest.parse(f"[image]\n{section}", model="m").image
    assert image is not None
    return recipe(image, Signature((TensorSpec("x", datatype, shape),), (TensorSpec("y", "FP32", [-1, 10]),)))


def ramp(height: int, width: int) -> Array:
    """[height, width, 3], all different where there are few."""
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def test_an_image_of_the_models_size_is_not_resampled() -> None:
    assert preprocess(ramp(4, 6), made("preset = 'none'", [-1, 4, 6, 3])).tolist() == ramp(4, 6).tolist()


def test_layouts_differ_in_nothing_but_their_axes() -> None:
    last = preprocess(scene(50, 70), made("", [-1, 32, 40, 3]))
    first = preprocess(scene(50, 70), made("", [-1, 3, 32, 40]))
    assert (first == last.transpose(2, 0, 1)).all()
    assert (first.ravel() == preprocess(scene(50, 70), made("size = [32, 40]\nlayout = 'NCHW'", [-1, 32 * 40 * 3]))).all()
    assert (last.ravel() == preprocess(scene(50, 70), made("size = [32, 40]\nlayout = 'NHWC'", [-1, -1]))).all()


def test_bgr_is_rgb_turned_round_and_each_mean_stays_with_its_colour() -> None:
    rgb, bgr = (preprocess(scene(50, 70), made(f"channels = '{order}'", [-1, 32, 32, 3])) for order in ("RGB", "BGR"))
    assert (rgb == bgr[..., ::-1]).all()


@pytest.mark.parametrize("shape", [[-1, 1, 6, 4], [-1, 6, 4, 1], [-1, 6, 4], [-1, 24]])
def test_a_grey_image_fills_every_shape_that_grey_models_take(shape: list[int]) -> None:
    by = made("preset = 'none'\nchannels = 'L'\nsize = [6, 4]", shape)
    grey = ramp(6, 4)[..., 0]
    row = preprocess(grey, by)
    assert row.shape == by.shape == tuple(shape[1:])
    assert row.ravel().tolist() == grey.ravel().tolist()


def test_a_letterboxed_image_stands_whole_in_the_middle_of_its_fill() -> None:
    row = preprocess(WHITE, made("preset = 'none'\nresize = 'letterbox'\nfill = [1, 2, 3]", [-1, 6, 6, 3]))
    assert row[0].tolist() == row[-1].tolist() == [[1, 2, 3]] * 6
    assert (row[1:-1] == 255).all()


def test_the_fill_is_in_the_models_order_of_colours_and_grey_for_a_grey_model() -> None:
    section = "preset = 'none'\nresize = 'letterbox'\nfill = [10, 20, 30]\nchannels = "
    assert preprocess(WHITE, made(section + "'BGR'", [-1, 3, 6, 6]))[:, 0, 0].tolist() == [30, 20, 10]
    assert preprocess(WHITE[..., 0], made(section + "'L'", [-1, 1, 6, 6]))[:, 0, 0].tolist() == [18]  # 0.299, 0.587, 0.114


def test_a_crop_that_is_larger_than_the_image_has_the_fill_around_it() -> None:
    by = made("preset = 'none'\nresize = 'short_side'\nshort_side = 4", [-1, 5, 10, 3])
    row = preprocess(WHITE, by)
    assert (row[:4, 2:8] == 255).all()  # the one line more is below, as torchvision has it
    assert row.sum() == 4 * 6 * 3 * 255


@pytest.mark.parametrize(
    ("datatype", "section", "expected"),
    [
        ("UINT8", "preset = 'none'", [0, 127, 255]),
        ("INT8", "preset = 'none'\nmean = [128, 128, 128]", [-128, -1, 127]),
        ("INT8", "preset = 'none'", [0, 127, 127]),
        ("UINT8", "preset = 'none'\nscale = 0.5", [0, 64, 128]),
        ("UINT8", "preset = 'none'\nscale = 2", [0, 254, 255]),
        ("INT64", "preset = 'none'\nscale = 1e17", [0, 9223372036854774784, 9223372036854774784]),
        ("FP16", "preset = 'unit'", [0, 0.498046875, 1]),
        ("BF16", "preset = 'none'", [0, 127, 255]),
        ("FP64", "preset = 'unit'", [0, 127 / 255, 1]),
    ],
)
def test_a_pixel_becomes_the_nearest_value_that_the_datatype_has(datatype: str, section: str, expected: list[float]) -> None:
    pixels = np.array([[[0] * 3, [127] * 3, [255] * 3]], np.uint8)
    row = preprocess(pixels, made(f"{section}\nlayout = 'NHWC'", [-1, 1, 3, 3], datatype))
    assert row.dtype == TensorSpec("x", datatype, [1]).dtype
    assert row[0, :, 0].astype(np.float64).tolist() == expected


@pytest.mark.parametrize("shape", [[-1, 3, 24, 32], [-1, 24, 32, 3]])
def test_a_row_is_written_where_it_will_be_read(shape: list[int]) -> None:
    by = made("", shape)
    batch = np.full((3, *shape[1:]), 7, np.float32)
    assert preprocess(scene(50, 70), by, batch[1]).base is batch
    assert (batch[1] == preprocess(scene(50, 70), by)).all()
    assert (batch[::2] == 7).all()


def test_a_place_that_cannot_be_written_as_one_row_is_refused() -> None:
    by = made("", [-1, 3, 24, 32])
    with pytest.raises(ValueError, match="not contiguous"):
        preprocess(scene(50, 70), by, np.empty((3, 24, 64), np.float32)[:, :, ::2])


def test_what_is_given_is_not_changed() -> None:
    image = Image.fromarray(scene(50, 70))
    before = image.copy()
    for section, side in (("", 24), ("resize = 'squash'", 24), ("preset = 'none'", 50)):
        way.preprocess(Pixels.of(image), made(section, [-1, 3, side, 70]))
    assert image == before


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_an_image_in_its_own_size_keeps_its_shape_and_its_short_side_is_that_of_the_recipe(height: int, width: int) -> None:
    by = made("crop = 'none'\nshort_side = 20", [-1, 3, -1, -1])
    assert by.shape is None
    if 20 * max(height, width) // min(height, width) > 8192:
        with pytest.raises(ImageTooLarge, match="for this model; expected at most 8192 on a side"):
            spans(height, width, by)
        return
    down, across = spans(height, width, by)
    assert min(down.frame, across.frame) == 20
    assert abs(down.frame * width - across.frame * height) <= min(height, width)
    assert (down.length, across.length) == (down.frame, across.frame)


def test_a_row_of_an_image_in_its_own_size_has_that_size() -> None:
    by = made("crop = 'none'\nshort_side = 20", [-1, 3, -1, -1])
    assert preprocess(scene(40, 60), by).shape == (3, 20, 30)


def test_a_side_out_of_all_proportion_is_refused_before_it_takes_memory() -> None:
    with pytest.raises(ImageTooLarge, match="70000 x 1 pixels; expected at most 65535 on a side"):
        preprocess(np.zeros((1, 70_000, 3), np.uint8), made("preset = 'unit'", [-1, 3, 24, 32]))


@pytest.mark.parametrize("resize", ["short_side", "squash", "letterbox"])
@pytest.mark.parametrize("size", [(1, 65_535), (65_535, 1), (1, 1)])
def test_a_line_a_column_and_a_dot_are_images_too(resize: str, size: tuple[int, int]) -> None:
    row = preprocess(np.full((*size, 3), 255, np.uint8), made(f"preset = 'unit'\nresize = '{resize}'", [-1, 3, 24, 32]))
    assert row.shape == (3, 24, 32)
    assert row.max() == 1


def test_threads_do_not_disturb_each_other() -> None:
    by = made("", [-1, 3, 64, 64])
    pictures = [scene(60 + number, 90) for number in range(16)]
    expected = [preprocess(pixels, by) for pixels in pictures]
    with ThreadPoolExecutor(8) as pool:
        for row, same in zip(pool.map(lambda pixels: preprocess(pixels, by), pictures * 4), expected * 4, strict=True):
            assert (row == same).all()
