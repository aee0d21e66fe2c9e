from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

import pytest

from models.errors import LoadError
from models.manifest import Manifest
from models.signature import Signature
from models.tensor import TensorSpec
from models.vision.declaration import Image, Preset
from models.vision.presets import PRESETS
from models.vision.recipe import Recipe, recipe

INPUT = TensorSpec("x", "FP32", [-1, 3, 224, 224])
OUTPUT = TensorSpec("y", "FP32", [-1, 1000])


def image(section: str) -> Image:
    found = Manifest.parse(f"[image]\n{section}", model="m").image
    assert found is not None
    return found


def made(section: str = "", shape: Sequence[int] = INPUT.shape, datatype: str = "FP32", labels: Sequence[str] = ()) -> Recipe:
    return recipe(image(section), Signature((TensorSpec("x", datatype, shape),), (OUTPUT,)), labels)


def refusal(section: str, *inputs: TensorSpec, outputs: Sequence[TensorSpec] = (OUTPUT,), labels: Sequence[str] = ()) -> str:
    batched = all(tuple(spec.shape[:1]) == (-1,) for spec in (*inputs, *outputs))
    with pytest.raises(LoadError) as caught:
        recipe(image(section), Signature(inputs or (INPUT,), tuple(outputs), batched), labels)
    return str(caught.value)


def test_a_model_without_the_section_takes_no_images() -> None:
    assert Manifest.parse("", model="m").image is None


def test_an_empty_section_is_imagenet_in_the_models_own_layout_and_size() -> None:
    by = made("", [-1, 160, 160, 3])
    assert (by.height, by.width, by.layout, by.channels, by.resize, by.crop) == (160, 160, "NHWC", "RGB", "short_side", True)
    assert (by.short_side, by.interpolation, by.scores, by.top_k, by.threshold) == (183, "bilinear", "softmax", 5, -math.inf)
    assert by.mean == (0.485, 0.456, 0.406)


def test_every_preset_can_be_named() -> None:
    assert tuple(PRESETS) == get_args(Preset)
    for preset in PRESETS:
        assert made(f"preset = '{preset}'").shape == (3, 224, 224)


@pytest.mark.parametrize(
    ("shape", "section", "expected"),
    [
        ([-1, 3, 224, 224], "", (3, 224, 224)),
        ([-1, 224, 160, 3], "", (224, 160, 3)),
        ([-1, 1, 28, 20], "preset = 'unit'", (1, 28, 20)),
        ([-1, 28, 20], "preset = 'unit'", (28, 20)),
        ([-1, 3, -1, -1], "", (3, 224, 224)),
        ([-1, 3, -1, -1], "size = [96, 128]", (3, 96, 128)),
        ([-1, -1, -1, 3], "preset = 'unit'\nsize = 32", (32, 32, 3)),
        ([-1, 3, -1, 128], "size = [96, 128]", (3, 96, 128)),
        ([-1, -1, -1, -1], "layout = 'NHWC'", (224, 224, 3)),
        ([-1, 3, 5, 3], "layout = 'NCHW'", (3, 5, 3)),
        ([-1, 3, 5, 1], "preset = 'unit'\nchannels = 'L'", (3, 5, 1)),
        ([-1, 784], "preset = 'unit'", (784,)),
        ([-1, 3072], "layout = 'NCHW'", (3072,)),
        ([-1, 560], "preset = 'unit'\nsize = [28, 20]", (560,)),
        ([-1, 1680], "layout = 'NHWC'\nsize = [28, 20]", (1680,)),
        ([-1, -1], "preset = 'unit'\nchannels = 'L'\nsize = 8", (64,)),
        ([-1, 3, -1, -1], "crop = 'none'", None),
    ],
)
def test_the_shape_follows_from_the_tensor_and_what_it_leaves_open_from_the_section(
    shape: list[int], section: str, expected: tuple[int, ...] | None
) -> None:
    assert made(section, shape).shape == expected


def test_the_short_side_keeps_the_presets_margin_around_the_longer_side_of_the_crop() -> None:
    assert [made(f"size = {size}", [-1, 3, -1, -1]).short_side for size in (224, 384, [96, 299])] == [256, 439, 342]
    assert made("preset = 'clip'\nsize = 336", [-1, 3, -1, -1]).short_side == 336
    assert made("short_side = 232").short_side == 232


def test_a_presets_means_follow_its_colours_into_another_order() -> None:
    assert made("channels = 'BGR'").mean == (0.406, 0.456, 0.485)
    assert made("preset = 'imagenet-caffe'\nchannels = 'RGB'").mean == (123.68, 116.779, 103.939)
    assert made("channels = 'BGR'\nmean = [1, 2, 3]").mean == (1, 2, 3)


def test_a_model_of_one_channel_gets_grey_images() -> None:
    by = made("preset = 'unit'", [-1, 1, 28, 28])
    assert (by.channels, by.mean, by.std) == ("L", (0.0,), (1.0,))
    assert made("mean = [0.1307]\nstd = [0.3081]", [-1, 1, 28, 28]).mean == (0.1307,)


def test_of_several_inputs_the_one_that_must_be_given_takes_the_image() -> None:
    optional = TensorSpec("k", "INT64", [-1], optional=True)
    assert recipe(image(""), Signature((optional, INPUT), (OUTPUT,))).spec == INPUT


def test_a_model_of_one_image_a_call_is_taken_too() -> None:
    fixed = Signature((TensorSpec("x", "FP32", [1, 3, 224, 224]),), (TensorSpec("y", "FP32", [1, 1000]),), batched=False)
    assert recipe(image(""), fixed).shape == (3, 224, 224)


def test_scores_may_have_dims_of_one_behind_the_classes() -> None:
    squeezed = Signature((INPUT,), (TensorSpec("y", "FP32", [-1, 2, 1, 1]),))
    assert recipe(image(""), squeezed, ["cat", "dog"]).labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("size = 256", "size: it is 256 x 256, height and width; expected what fits 'x', FP32 [-1, 3, 224, 224], or nothing"),
        ("channels = 'L'", "channels: 'x', FP32 [-1, 3, 224, 224], takes 3 channels, 'L' has 1; expected 'RGB' or 'BGR'"),
        ("layout = 'NHWC'", "channels: 'x', FP32 [-1, 3, 224, 224], takes 224 channels, 'RGB' has 3"),
        ("mean = [0.5]", "mean: it has 1; expected 3 numbers, in the order RGB"),
        ("channels = 'BGR'\nstd = []", "std: it has 0; expected 3 numbers, in the order BGR"),
        ("std = [1, 0, 1]", "std: it has 0, and pixels are divided by it; expected numbers of more than 0"),
        ("scale = 0", "scale: of a pixel's 256 levels 1 are left in"),
        ("scale = 1e300", "scale: 'x', FP32 [-1, 3, 224, 224], cannot hold what pixels become"),
        ("std = [1e-320, 1, 1]", "scale: 'x', FP32 [-1, 3, 224, 224], cannot hold what pixels become"),
        ("datatype = 'UINT8'", "datatype: it is 'UINT8'; expected 'FP32', which 'x' takes, or nothing"),
        ("input = 'z'", "input: the model has no input 'z'; expected 'x'"),
        ("output = 'z'", "output: the model has no output 'z'; expected 'y'"),
        ("crop = 'none'", "crop: 'x', FP32 [-1, 3, 224, 224], has a size, and without a crop each image has another"),
        ("resize = 'squash'\ncrop = 'center'", "crop: resize = 'squash' leaves nothing to cut off"),
        ("resize = 'letterbox'\nshort_side = 256", "short_side: resize = 'letterbox' does not go by it"),
        ("preset = 'unit'\nshort_side = 256", "short_side: resize = 'squash' does not go by it"),
    ],
)
def test_what_contradicts_the_model_is_told_with_key_and_fix(section: str, words: str) -> None:
    assert refusal(section).startswith(f"model.toml, image.{words}")


@pytest.mark.parametrize(
    ("shape", "section", "words"),
    [
        ([-1], "", "input: 'x', FP32 [-1], is none; expected the shape of images: [-1, channels, height, width]"),
        ([-1, 3, 8, 9000], "", "input: 'x', FP32 [-1, 3, 8, 9000], takes a larger image than is made; expected at most 8192"),
        ([-1, 0, 8, 8], "", "input: 'x', FP32 [-1, 0, 8, 8], has a dim of 0"),
        ([-1, 4, 8, 8], "", "layout: neither the second nor the last dim of"),
        ([-1, 4, 8, 8], "layout = 'NCHW'", "channels: 'x', FP32 [-1, 4, 8, 8], takes 4 channels"),
        ([-1, 3, 5, 3], "", "layout: both the second and the last dim of"),
        ([-1, 28, 28], "channels = 'RGB'", "channels: 'x', FP32 [-1, 28, 28], takes 1 channel, 'RGB' has 3; expected 'L', grey"),
        ([-1, 1, 28, 28], "", "mean: the preset's is one of colours, and the model takes grey; expected one number"),
        ([-1, 1, 28, 28], "mean = [0.5]", "std: the preset's is one of colours"),
        ([-1, 3, -1, 128], "", "size: 'x', FP32 [-1, 3, -1, 128], leaves it free; expected it named, such as 224"),
        ([-1, 3, -1, -1], "preset = 'unit'", "size: 'x', FP32 [-1, 3, -1, -1], leaves it free"),
        ([-1, 3, -1, -1], "crop = 'none'\nsize = 224", "crop: size is set, and without a crop each image has another"),
        ([-1, 3, -1, -1], "preset = 'unit'\nresize = 'short_side'\ncrop = 'none'", "short_side: the preset 'unit' has none"),
        ([-1, 500], "preset = 'unit'", "size: 'x', FP32 [-1, 500], is not a square of 1 or 3 channels"),
        ([-1, 784], "preset = 'unit'\nsize = 14", "size: 'x', FP32 [-1, 784], does not hold 14 x 14 pixels"),
        ([-1, 3072], "", "layout: 'x', FP32 [-1, 3072], does not say where its channels stand"),
        ([-1, -1], "preset = 'unit'\nchannels = 'L'", "size: 'x', FP32 [-1, -1], leaves it free"),
    ],
)
def test_a_tensor_that_is_no_image_or_says_too_little_is_told_with_what_to_name(shape: list[int], section: str, words: str) -> None:
    assert refusal(section, TensorSpec("x", "FP32", shape)).startswith(f"model.toml, image.{words}")


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ((), "input: the model has no input"),
        ((INPUT, TensorSpec("k", "INT64", [-1])), "input: the model has 2 inputs, 'x' and 'k'; expected the one to use named, as"),
        ((TensorSpec("x", "BYTES", [-1, 3, 8, 8]),), "input: 'x', BYTES [-1, 3, 8, 8], does not hold pixels"),
        ((TensorSpec("x", "BOOL", [-1, 3, 8, 8]),), "input: 'x', BOOL [-1, 3, 8, 8], does not hold pixels"),
        ((TensorSpec("x", "FP32", [8, 3, 8, 8]),), "input: 'x', FP32 [8, 3, 8, 8], has no first dim that counts images"),
        ((TensorSpec("x", "UINT8", [-1, 3, 8, 8]),), "scale: of a pixel's 256 levels 3 are left in 'x', UINT8 [-1, 3, 8, 8], once"),
    ],
)
def test_an_input_that_takes_no_image_is_told(inputs: tuple[TensorSpec, ...], words: str) -> None:
    batched = all(spec.shape[0] == -1 for spec in inputs)
    with pytest.raises(LoadError) as caught:
        recipe(image(""), Signature(inputs, (OUTPUT,), batched))
    assert str(caught.value).startswith(f"model.toml, image.{words}")


def test_a_named_input_needs_no_other_beside_it() -> None:
    words = "input: beside 'x' the model needs 'k'; expected a model of one needed input"
    assert refusal("input = 'x'", INPUT, TensorSpec("k", "INT64", [-1])) == f"model.toml, image.{words}"


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (
            [OUTPUT, TensorSpec("z", "INT64", [-1])],
            "output: the model has 2 outputs, 'y' and 'z'; expected the one to use named, as",
        ),
        ([TensorSpec("y", "BYTES", [-1, 9])], "output: 'y', BYTES [-1, 9], has no scores; expected an output of numbers"),
        ([TensorSpec("y", "FP32", [-1, 9, 4])], "output: 'y', FP32 [-1, 9, 4], has more than a score for each class"),
        ([TensorSpec("y", "FP32", [-1, 1])], "scores: softmax of the one class of 'y', FP32 [-1, 1], is 1 whatever it is"),
        ([TensorSpec("y", "FP32", [-1])], "scores: softmax of the one class of 'y', FP32 [-1], is 1 whatever it is"),
    ],
)
def test_an_output_without_scores_of_classes_is_told(outputs: list[TensorSpec], words: str) -> None:
    assert refusal("", outputs=outputs).startswith(f"model.toml, image.{words}")


def test_labels_are_as_many_as_classes_where_those_are_known() -> None:
    told = refusal("", labels=["cat", "dog"])
    assert told == "labels.txt: it names 2 classes; expected 1000, one a line, as 'y', FP32 [-1, 1000], has"
    free = Signature((INPUT,), (TensorSpec("y", "FP32", [-1, -1]),))
    assert recipe(image(""), free, ["cat", "dog"]).labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("szie = 3", "image.szie: unknown key; the nearest known one is image.size"),
        ("size = 0", "image.size: expected a whole number from 1 to 8192, or two of them: height and width, got 0"),
        ("size = [1, 2, 3]", "image.size: expected a whole number from 1 to 8192, or two of them: height and width, got [1, 2, 3]"),
        ("size = true", "image.size: expected a whole number from 1 to 8192"),
        ("background = [1, 2]", "image.background: expected three whole numbers from 0 to 255: red, green and blue, got [1, 2]"),
        ("fill = [1, 2, 256]", "image.fill: expected three whole numbers from 0 to 255"),
        ("mean = 'x'", "image.mean: expected a list, got 'x'"),
        ("mean = [nan, 0, 0]", "image.mean.0: expected a finite number, got nan"),
        ("preset = 'resnet'", "image.preset: expected 'imagenet', 'imagenet-caffe', 'clip', 'unit' or 'none', got 'resnet'"),
        ("top_k = 0", "image.top_k: expected a number of at least 1, got 0"),
    ],
)
def test_a_section_that_makes_no_sense_is_told_by_its_key(section: str, words: str) -> None:
    with pytest.raises(LoadError) as caught:
        image(section)
    assert str(caught.value).startswith(f"model 'm', model.toml: {words}")


def test_a_key_of_the_section_without_its_section_is_told_where_it_belongs() -> None:
    with pytest.raises(LoadError, match=r"interpolation: unknown key; the nearest known one is image.interpolation"):
        Manifest.parse("interpolation = 'bilinear'", model="m")


def test_a_load_may_override_keys_of_the_section() -> None:
    base = Manifest.parse("[image]\nsize = [3, 4]\nmean = [1, 2, 3]", model="m")
    changed = Manifest.from_json_overrides('{"image": {"size": [5, 6], "top_k": 2}}', model="m", base=base)
    assert changed.image == Image(size=(5, 6), mean=(1, 2, 3), top_k=2)
    assert Manifest.from_json_overrides('{"image": {"preset": "unit"}}', model="m").image == Image(preset="unit")
