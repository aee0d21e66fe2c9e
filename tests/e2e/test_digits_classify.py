"""The demo's digits, asked with images, answer as the model does when it is called with their tensors."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from models.zoo import digits
from tests.e2e.served import Server, serving

FORMATS: Mapping[str, Mapping[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95},
    "WEBP": {"lossless": True},
    "WEBP lossy": {"quality": 95},
}
AT_ONCE = 60
LEAST = 0.99


@pytest.fixture(scope="module")
def digits_server(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(demo / "digits", cwd=tmp_path_factory.mktemp("cwd")) as server:
        yield server


@pytest.fixture(scope="module")
def held_out(demo: Path) -> tuple[digits.Floats, digits.Floats]:
    """Images that the model was not trained on, and the probabilities that it gives them when it is called directly."""
    _, held, _, _ = digits.split()
    session = onnxruntime.InferenceSession(demo / "digits/1/model.onnx", providers=["CPUExecutionProvider"])
    return held, session.run(["probabilities"], {"image": held})[0]


def encoded(grey: digits.Floats, form: str, side: int) -> bytes:
    written = io.BytesIO()
    picture = digits.picture(grey).resize((side, side), Image.Resampling.NEAREST)
    picture.save(written, form.split(" ")[0], **FORMATS[form])
    return written.getvalue()


def classified(server: Server, files: Sequence[bytes], query: str = "") -> list[Any]:
    """The predictions, of several uploads in one form."""
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="file"; filename="{index}"\r\n\r\n'.encode() + file + b"\r\n"
        for index, file in enumerate(files)
    ]
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    reply = server.request("POST", f"/v1/models/digits:classify{query}", b"".join(parts) + b"--edge--\r\n", headers)
    assert reply.status == 200, reply.body
    predictions = reply.json()["predictions"]
    assert [prediction["name"] for prediction in predictions] == [str(index) for index in range(len(files))]
    return list(predictions)


@pytest.mark.parametrize("side", [8, 64])
@pytest.mark.parametrize("form", FORMATS)
def test_the_held_out_digits_are_classified_as_by_the_model_called_directly(
    digits_server: Server, held_out: tuple[digits.Floats, digits.Floats], form: str, side: int
) -> None:
    images, probabilities = held_out
    best: list[int] = []
    for begin in range(0, len(images), AT_ONCE):
        some = images[begin : begin + AT_ONCE, 0]
        predictions = classified(digits_server, [encoded(image, form, side) for image in some])
        best += [prediction["classes"][0]["index"] for prediction in predictions]
    agreement = float(np.mean(np.array(best) == probabilities.argmax(axis=1)))
    assert agreement >= LEAST


def test_probabilities_of_a_png_are_those_of_its_tensor(
    digits_server: Server, held_out: tuple[digits.Floats, digits.Floats]
) -> None:
    images, probabilities = held_out
    (prediction,) = classified(digits_server, [encoded(images[0, 0], "PNG", 8)], "?top_k=10")
    scores = {one["index"]: one["score"] for one in prediction["classes"]}
    assert (prediction["width"], prediction["height"]) == (8, 8)
    # A PNG has 256 greys, of which 16 shades are not quite a multiple.
    assert [scores[index] for index in range(10)] == pytest.approx(probabilities[0].tolist(), abs=0.02)


def test_the_examples_beside_the_model_are_called_by_what_they_show(digits_server: Server, demo: Path) -> None:
    files = [(demo / "digits" / "examples" / f"{digit}.png").read_bytes() for digit in range(10)]
    predictions = classified(digits_server, files, "?top_k=1")
    assert [prediction["classes"][0]["label"] for prediction in predictions] == [str(digit) for digit in range(10)]
