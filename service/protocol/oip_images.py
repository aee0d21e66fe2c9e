"""Encoded images where the Open Inference Protocol's tensors stand: the model's input given as BYTES, [n] or [n, 1].

In binary an element is an image's bytes, in JSON their base64; one that is bad is the whole request's error.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.errors import InvalidInput, Problem
from models.tensor import Array, TensorSpec
from service.guard.input.content import Content
from service.protocol.json_data import clip
from service.protocol.pictures import Picture, Upload, from_base64


def holds_images(spec: TensorSpec, upload: Upload | None) -> bool:
    """Whether a tensor of BYTES in the place of that input is encoded images."""
    return upload is not None and spec.name == upload.recipe.spec.name


def check_images_shape(shape: Sequence[int], path: str, content: Content) -> None:
    """Raises InvalidInput, TooManyImages."""
    if len(shape) not in (1, 2) or tuple(shape[1:]) not in ((), (1,)) or not shape[0]:
        raise InvalidInput(Problem(path, "encoded images have another shape", "[n] or [n, 1]", clip(list(shape))))
    if shape[0] > content.images:
        raise content.too_many_images(shape[0])


def pictures_of(elements: Array, path: str, *, coded: bool) -> tuple[Picture, ...]:
    """The images in a tensor of BYTES, which are ``coded`` in base64 where they came in JSON."""
    found = []
    for index, element in enumerate(elements.ravel().tolist()):
        place = f"{path}[{index}]"
        found.append(from_base64(element, place, place) if coded else Picture(place, element, place))
    return tuple(found)
