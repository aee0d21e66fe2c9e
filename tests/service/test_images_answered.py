"""What ``:classify`` answers: a prediction for each image, in order, and valid JSON in any case."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from image_files import recipe

from models import InferenceError
from service.errors import NotFinite
from service.protocol.images import Form, encode
from service.protocol.infer import Infer
from service.protocol.pictures import Refused, Seen, Upload

RECIPE = recipe(scores="none", labels=("cat", "dog", "cow"), top_k=2)
BAD = Refused("the image is empty (0 bytes)", "bad_image", 400)


def answer(scores: Any, *seen: Seen | Refused, top_k: int | None = None, threshold: float | None = None) -> list[Any]:
    names = tuple([f"{index}.png" for index in range(len(seen))])
    rows = sum(isinstance(each, Seen) for each in seen)
    infer = Infer({}, rows, ("scores",), form=Form(names, Upload(RECIPE), top_k, threshold), seen=seen, apart=len(seen) > 1)
    told = json.loads(encode(infer, {"scores": np.array(scores, np.float32)} if rows else {}, "zoo", "7").body)
    assert (told["model_name"], told["model_version"], set(told)) == ("zoo", "7", {"model_name", "model_version", "predictions"})
    predictions: list[Any] = told["predictions"]
    return predictions


def test_an_image_has_its_name_its_size_and_its_best_classes() -> None:
    assert answer([[0.25, 0.5, 0.125]], Seen(640, 480)) == [
        {
            "name": "0.png",
            "width": 640,
            "height": 480,
            "status": 200,
            "classes": [{"label": "dog", "index": 1, "score": 0.5}, {"label": "cat", "index": 0, "score": 0.25}],
        }
    ]


def test_good_and_bad_images_keep_their_places() -> None:
    found = answer([[1, 0, 0], [0, 0, 1]], BAD, Seen(1, 1), BAD, Seen(2, 2), top_k=1)
    assert [each["name"] for each in found] == ["0.png", "1.png", "2.png", "3.png"]
    assert [each["status"] for each in found] == [400, 200, 400, 200]
    assert [each["classes"][0]["label"] for each in found if each["status"] == 200] == ["cat", "cow"]
    assert found[0] == {"name": "0.png", "error": BAD.error, "code": "bad_image", "status": 400}


def test_where_all_are_bad_the_model_has_said_nothing() -> None:
    assert [each["code"] for each in answer([], BAD, BAD)] == ["bad_image", "bad_image"]


def test_a_request_has_its_own_wishes_before_the_models() -> None:
    assert len(answer([[3, 2, 1]], Seen(1, 1))[0]["classes"]) == 2
    assert len(answer([[3, 2, 1]], Seen(1, 1), top_k=9)[0]["classes"]) == 3
    assert [each["score"] for each in answer([[3, 2, 1]], Seen(1, 1), top_k=9, threshold=2.0)[0]["classes"]] == [3, 2]
    assert answer([[3, 2, 1]], Seen(1, 1), threshold=4.0)[0]["classes"] == []
    assert answer([[3, 2, 1]], Seen(1, 1), threshold=1e300)[0]["classes"] == []


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
def test_scores_that_json_cannot_say_are_the_error_that_they_are_elsewhere(score: float) -> None:
    with pytest.raises(NotFinite, match="NaN or Infinity"):
        answer([[0, 1, score]], Seen(1, 1))


def test_scores_of_another_shape_are_the_models_failure() -> None:
    with pytest.raises(InferenceError):
        answer([[[0, 1], [2, 3]]], Seen(1, 1))


def test_a_request_of_another_protocol_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError):
        encode(Infer({}, 1, ("scores",)), {}, "zoo", "7")
