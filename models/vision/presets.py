"""What a model was trained with, under the name by which its makers know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from models.vision.declaration import Channels, Interpolation, Preset, Resize, Scores


@dataclass(frozen=True, slots=True)
class Habit:
    """``size``: of a model whose own is free; None where such a model has to say it. ``margin``: the short side before the crop, in
    sizes. ``mean`` and ``std`` are in the order of ``channels``."""

    size: int | None
    resize: Resize
    margin: float
    interpolation: Interpolation
    channels: Channels
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scores: Scores


_ONES = (1.0, 1.0, 1.0)
_ZEROS = (0.0, 0.0, 0.0)

PRESETS: Final[Mapping[Preset, Habit]] = MappingProxyType(
    {
        # torchvision.transforms._presets.ImageClassification, with its defaults
        "imagenet": Habit(
            size=224,
            resize="short_side",
            margin=256 / 224,
            interpolation="bilinear",
            channels="RGB",
            scale=1 / 255,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            scores="softmax",
        ),
        # The means of Caffe's reference models, which Keras calls "caffe"
        "imagenet-caffe": Habit(
            size=224,
            resize="short_side",
            margin=256 / 224,
            interpolation="bilinear",
            channels="BGR",
            scale=1.0,
            mean=(103.939, 116.779, 123.68),
            std=_ONES,
            scores="softmax",
        ),
        # openai/CLIP, clip.clip._transform
        "clip": Habit(
            size=224,
            resize="short_side",
            margin=1.0,
            interpolation="bicubic",
            channels="RGB",
            scale=1 / 255,
            mean=(0.48145466, 0.4578275, 0.40821073),
            std=(0.26862954, 0.26130258, 0.27577711),
            scores="softmax",
        ),
        "unit": Habit(
            size=None,
            resize="squash",
            margin=1.0,
            interpolation="bilinear",
            channels="RGB",
            scale=1 / 255,
            mean=_ZEROS,
            std=_ONES,
            scores="none",
        ),
        "none": Habit(
            size=None,
            resize="squash",
            margin=1.0,
            interpolation="bilinear",
            channels="RGB",
            scale=1.0,
            mean=_ZEROS,
            std=_ONES,
            scores="none",
        ),
    }
)
