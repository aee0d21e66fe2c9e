"""Encoded images in the place of an Open Inference tensor: the same request with other data, and nothing new for tensors."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from struct import pack

import numpy as np
import pytest
from image_files import recipe

from models import InvalidInput, Problem, Signature, TensorSpec
from service.errors import TooManyImages
from service.guard.input.content import DEFAULT
from service.protocol.infer import Infer
from service.protocol.oip import decode
from service.protocol.pictures import Upload

PIXELS = TensorSpec("pixels", "FP32", [-1, 1, 2, 2])
UPLOAD = Upload(recipe(spec=PIXELS, height=2, width=2))
SIGNATURE = Signature((PIXELS, TensorSpec("hint", "FP32", [-1, 1], optional=True)), (TensorSpec("scores", "FP32", [-1, 3]),))
CONTENT = replace(DEFAULT, images=3)


def asked(body: bytes, header: str | None = None, upload: Upload | None = UPLOAD) -> Infer:
    return decode(body, SIGNATURE, header, CONTENT, upload)


def coded(*images: bytes, shape: list[int] | None = None, **more: object) -> bytes:
    """As JSON has them."""
    data = [b64encode(image).decode() for image in images]
    tensor = {"name": "pixels", "datatype": "BYTES", "shape": [len(images)] if shape is None else shape, "data": data}
    return json.dumps({"inputs": [{**tensor, **more}], "id": "a"}).encode()


def binary(*images: bytes) -> tuple[bytes, str]:
    """As binary data, and where it begins."""
    data = b"".join([pack("<I", len(image)) + image for image in images])
    tensor = {"name": "pixels", "datatype": "BYTES", "shape": [len(images)], "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + data, str(len(head))


@pytest.mark.parametrize("more", [{}, {"shape": [2, 1]}, {"parameters": {"content_type": "base64"}}])
def test_images_in_json_are_base64(more: dict[str, object]) -> None:
    infer = asked(coded(b"\x89PNG", b"GIF", **more))  # type: ignore[arg-type]
    assert [(picture.data, picture.path) for picture in infer.pictures] == [
        (b"\x89PNG", "inputs[0].data[0]"),
        (b"GIF", "inputs[0].data[1]"),
    ]
    assert (infer.inputs, infer.rows, infer.outputs, infer.id, infer.apart) == ({}, 2, ("scores",), "a", False)


def test_images_in_binary_are_their_bytes() -> None:
    infer = asked(*binary(b"\x89PNG\0", b""))
    assert [picture.data for picture in infer.pictures] == [b"\x89PNG\0", b""]


def test_another_input_goes_beside_them() -> None:
    request = json.loads(coded(b"a"))
    request["inputs"].insert(0, {"name": "hint", "datatype": "FP32", "shape": [1, 1], "data": [1]})
    infer = asked(json.dumps(request).encode())
    assert list(infer.inputs) == ["hint"]
    assert infer.pictures[0].path == "inputs[1].data[0]"


def test_what_is_no_base64_is_told_of_where_it_stands() -> None:
    infer = asked(coded(b"abc").replace(b"YWJj", b"YW Jj"))
    assert infer.pictures[0].problem == Problem(
        "inputs[0].data[0]", "white space is not base64", "base64 without spaces or line ends", "' ' at character 2"
    )


def test_tensors_are_taken_as_ever() -> None:
    body = json.dumps({"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 1, 2, 2], "data": [1, 2, 3, 4]}]}).encode()
    for upload in (UPLOAD, None):
        infer = asked(body, None, upload)
        assert infer.pictures == ()
        assert np.array_equal(infer.inputs["pixels"], np.array([[[[1, 2], [3, 4]]]], np.float32))


@pytest.mark.parametrize("shape", [[], [0], [2, 2], [1, 1, 1], [2, 1, 1, 1]])
def test_images_of_another_shape_are_refused(shape: list[int]) -> None:
    with pytest.raises(InvalidInput) as caught:
        asked(coded(b"a", b"b", shape=shape))
    assert caught.value.problems == (Problem("inputs[0].shape", "encoded images have another shape", "[n] or [n, 1]", str(shape)),)


def test_a_shape_that_its_data_belies_is_refused() -> None:
    with pytest.raises(InvalidInput, match="the shape has another number of elements"):
        asked(coded(b"a", b"b", shape=[1]))


def test_more_images_than_may_be_are_refused_by_their_shape() -> None:
    with pytest.raises(TooManyImages):
        asked(coded(b"a", shape=[4]))


def test_a_model_that_takes_no_images_has_no_bytes_for_a_tensor() -> None:
    with pytest.raises(InvalidInput, match="the datatype is not the model's"):
        asked(coded(b"a"), None, None)
