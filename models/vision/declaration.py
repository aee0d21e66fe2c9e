"""``[image]`` of ``model.toml``: how an image becomes the model's input, and its scores labels."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Preset = Literal["imagenet", "imagenet-caffe", "clip", "unit", "none"]
Resize = Literal["short_side", "squash", "letterbox"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Channels = Literal["RGB", "BGR", "L"]
Layout = Literal["NCHW", "NHWC"]
Scores = Literal["softmax", "sigmoid", "none"]

LONGEST: Final = 8192  # pixels of a side of what a model is given


def _size(value: object) -> object:
    if _whole(value, 1, LONGEST):
        return value
    if isinstance(value, list | tuple) and len(value) == 2 and all(_whole(side, 1, LONGEST) for side in value):
        return tuple(value)
    raise ValueError(f"a whole number from 1 to {LONGEST}, or two of them: height and width")


def _colour(value: object) -> object:
    if isinstance(value, list | tuple) and len(value) == 3 and all(_whole(part, 0, 255) for part in value):
        return tuple(value)
    raise ValueError("three whole numbers from 0 to 255: red, green and blue")


def _whole(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


Length = Annotated[int, Field(ge=1, le=LONGEST)]
Size = Annotated[int | tuple[int, int], BeforeValidator(_size)]
Colour = Annotated[tuple[int, int, int], BeforeValidator(_colour)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Numbers = Annotated[tuple[Number, ...], Field(strict=False)]


class Image(BaseModel):
    """What is not given is the preset's, or follows from the model's own tensors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    preset: Preset = "imagenet"
    size: Size | None = None  # both sides, or height and width
    resize: Resize | None = None
    short_side: Length | None = None  # what the short side becomes before the crop
    crop: Literal["center", "none"] | None = None
    interpolation: Interpolation | None = None
    channels: Channels | None = None
    layout: Layout | None = None
    scale: Number | None = None
    mean: Numbers | None = None
    std: Numbers | None = None
    datatype: str | None = None
    background: Colour = (255, 255, 255)  # under what is transparent
    fill: Colour = (0, 0, 0)  # beside an image that does not fill what the model is given
    input: str | None = None
    output: str | None = None
    scores: Scores | None = None
    top_k: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    threshold: Number | None = None
