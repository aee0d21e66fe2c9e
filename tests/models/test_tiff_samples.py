"""Whatever a TIFF's samples are: the picture, or a refusal by name; never another picture, and no damage where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from image_files import COLOURS, GREY, Values, encoded, recipe, tiff_of
from PIL import Image

from models.errors import NotAnImage
from models.vision.decode import decode
from models.vision.header import Bounds, look
from models.vision.recipe import Recipe

LEVELS = np.random.default_rng(7).integers(0, 256, (5, 7, 6), dtype=np.uint8)
LEVELS[0, :2] = [[0] * 6, [255] * 6]
WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
MULTIPLIED, ALPHA = 1, 2
#: None, Deflate and PackBits.
COMPRESSIONS = [1, 8, 32773]


def shown(data: bytes, to: Recipe = GREY) -> npt.NDArray[np.int64]:
    return np.asarray(decode(data, look(data, Bounds()), to).image).astype(np.int64)


def samples(count: int, datatype: str = "u1") -> npt.NDArray[Any]:
    """The levels as samples of that datatype; of signed ones half of them, as INT16 has no more."""
    levels = LEVELS[:, :, :count]
    if datatype.startswith("f"):
        return (levels / 255).astype(datatype)
    whole = (levels // 2 if datatype.startswith("i") else levels).astype(datatype)
    return whole if whole.itemsize == 1 else whole * whole.dtype.type(257)


def refusal(data: bytes) -> str:
    with pytest.raises(NotAnImage) as caught:
        look(data, Bounds())
    assert len(str(caught.value)) < 200
    assert "grey up to 32 bits, RGB and CMYK of 8 and 16" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("colours", [WHITE_IS_0, BLACK_IS_0])
@pytest.mark.parametrize("datatype", ["u1", "u2", "i2", "u4", "i4", "f4"])
def test_grey_is_grey_whichever_way_its_bytes_lie(datatype: str, colours: int, order: str, compression: int) -> None:
    wanted = LEVELS[:, :, 0].astype(int) // (2 if datatype.startswith("i") else 1)
    found = shown(tiff_of(samples(1, datatype), colours, order, compression))
    assert (found == (255 - wanted if colours == WHITE_IS_0 else wanted)).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("datatype", ["u2", "i2", "u4", "i4"])
def test_differences_are_summed_up(datatype: str, order: str) -> None:
    found = shown(tiff_of(samples(1, datatype), BLACK_IS_0, order, 8, predictor=True))
    assert (found == LEVELS[:, :, 0] // (2 if datatype.startswith("i") else 1)).all()


@pytest.mark.parametrize("options", [{"planes": True}, {"turned": True}])
def test_one_sample_is_the_same_in_planes_and_in_bits_turned_round(options: dict[str, Any]) -> None:
    for datatype in ("u1", "u2"):
        assert (shown(tiff_of(samples(1, datatype), BLACK_IS_0, **options)) == LEVELS[:, :, 0]).all()


def test_whole_numbers_beyond_white_are_white() -> None:
    assert shown(tiff_of(np.array([[[0], [65_535], [1 << 31], [(1 << 32) - 1]]], np.uint32), BLACK_IS_0)).tolist() == [
        [0] + [255] * 3
    ]
    assert shown(tiff_of(np.array([[[np.nan], [-1], [2]]], np.float32), WHITE_IS_0)).tolist() == [[0, 255, 0]]


@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extra", [0, MULTIPLIED, ALPHA])
def test_grey_of_16_bits_has_alpha(extra: int, order: str, compression: int, predictor: bool) -> None:
    if predictor and compression != 8:
        return
    values = samples(2, "u2")
    alpha = values[:, :, 1].astype(float) / 65_535
    wanted = values[:, :, 0] / 257 * alpha + 99 * (1 - alpha) if extra else values[:, :, 0] / 257
    if extra == MULTIPLIED:
        values[:, :, 0] = np.rint(values[:, :, 0] * alpha)
    data = tiff_of(values, BLACK_IS_0, order, compression, extra=[extra], predictor=predictor)
    assert np.abs(shown(data, recipe(channels="L", background=(99, 99, 99))) - wanted).max() <= 1.5


def test_differences_begin_anew_in_each_tile() -> None:
    values = np.zeros((16, 32, 2), np.uint16)
    values[:, :, 0], values[:, :, 1] = np.arange(32) * 257, 65_535
    tiles = np.concatenate([values[:, :16], values[:, 16:]])
    tags = {256: ("I", [32]), 257: ("I", [16]), 322: ("I", [16]), 323: ("I", [16])}
    data = tiff_of(tiles, BLACK_IS_0, "<", 8, extra=[ALPHA], predictor=True, rows=16, tags=tags, tiled=True)
    assert (shown(data) == np.arange(32)).all()


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("datatype", ["u1", "u2"])
@pytest.mark.parametrize(("colours", "count"), [(RGB, 3), (CMYK, 4)])
def test_planes_are_the_same_picture_or_refused(colours: int, count: int, datatype: str, order: str, compression: int) -> None:
    values = samples(count, datatype)
    apart = tiff_of(values, colours, order, compression, planes=True)
    if datatype == "u2" and compression == 1:
        assert "of 16 bits, in uncompressed planes" in refusal(apart)
    else:
        assert (shown(apart, COLOURS) == shown(tiff_of(values, colours, order, compression), COLOURS)).all()


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("told", [[], [ALPHA]])
def test_a_fourth_sample_is_alpha_in_planes_too(told: list[int], compression: int) -> None:
    together = tiff_of(samples(4), RGB, "<", compression, extra=told)
    assert (shown(tiff_of(samples(4), RGB, "<", compression, extra=told, planes=True), COLOURS) == shown(together, COLOURS)).all()


@pytest.mark.parametrize(
    ("count", "datatype", "colours", "options", "words"),
    [
        (1, "i1", BLACK_IS_0, {}, "grey, signed numbers of 8 bits"),
        (1, "f2", BLACK_IS_0, {}, "grey, fractions of 16 bits"),
        (2, "u1", WHITE_IS_0, {"extra": [ALPHA]}, "grey with alpha, whole numbers of 8 bits"),
        (2, "u1", BLACK_IS_0, {}, "grey and 1 samples more, whole numbers of 8 bits"),
        (
            2,
            "u2",
            BLACK_IS_0,
            {"extra": [ALPHA], "planes": True},
            "16 bits, in uncompressed planes",
        ),
        (2, "u4", BLACK_IS_0, {"extra": [ALPHA]}, "grey with alpha, whole numbers of 32 bits"),
        (1, "u2", BLACK_IS_0, {"tags": {339: ("H", [4])}}, "grey, undefined values of 16 bits"),
        (1, "u2", BLACK_IS_0, {"tags": {259: ("H", [7])}}, "grey, whole numbers of 16 bits, by JPEG or CCITT's codes"),
        (1, "u4", BLACK_IS_0, {"turned": True}, "grey, whole numbers of 32 bits, its bits turned round"),
        (1, "u1", RGB, {}, "RGB in 1 samples a pixel"),
        (3, "u4", RGB, {}, "RGB, whole numbers of 32 bits"),
        (3, "f4", RGB, {}, "RGB, fractions of 32 bits"),
        (3, "u1", RGB, {"tags": {339: ("H", [1, 1, 2])}}, "RGB, values of several kinds of 8 bits"),
        (1, "u2", PALETTE, {}, "a palette, whole numbers of 16 bits"),
        (5, "u1", CMYK, {"extra": [ALPHA]}, "CMYK with alpha, whole numbers of 8 bits"),
        (3, "u1", YCBCR, {}, "YCbCr, whole numbers of 8 bits, its colours in fewer pixels, not compressed"),
        (3, "u1", LAB, {"planes": True}, "CIELab, whole numbers of 8 bits, in uncompressed planes"),
        (3, "u1", 9, {}, "ICCLab, whole numbers of 8 bits"),
        (1, "u1", 77, {}, "colours of code 77"),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_kind_that_is_not_taken_is_refused_by_name(
    count: int, datatype: str, colours: int, options: dict[str, Any], words: str, order: str
) -> None:
    assert words in refusal(tiff_of(samples(count, datatype), colours, order, **options))


def test_extra_samples_that_say_nothing_are_left_out() -> None:
    wanted: Values = LEVELS[:, :, :3]
    for count, extra in ((4, [0]), (5, [0, 0])):
        for data in (tiff_of(samples(count), RGB, extra=extra), tiff_of(samples(count), RGB, "<", 8, extra=extra, planes=True)):
            assert (shown(data, COLOURS) == wanted).all()


def test_lzw_and_predictors_of_an_encoder_are_undone() -> None:
    values = samples(1, "u2")[:, :, 0]
    assert (shown(encoded(Image.fromarray(values), "TIFF", compression="tiff_lzw", tiffinfo={317: 2})) == LEVELS[:, :, 0]).all()
