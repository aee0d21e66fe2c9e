"""How load tests tell right answers from wrong ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from loadtests.asks import classed, classes, like, outputs, ranked
from models.tensor import Array

K = 10
SCORES = np.array([[0.25, 0.75]], np.float32)
LABEL = np.array([1], np.int64)
IN_JSON = json.dumps(
    {
        "outputs": [
            {"name": "scores", "datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.75]},
            {"name": "label", "datatype": "INT64", "shape": [1], "data": [1]},
        ]
    }
).encode()
HEAD = json.dumps(
    {
        "outputs": [
            {"name": "scores", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
            {"name": "label", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}},
        ]
    }
).encode()
RIGHT: dict[str, Array] = {"scores": SCORES, "label": LABEL}


def test_an_answer_is_the_same_in_json_and_in_binary() -> None:
    binary = HEAD + SCORES.tobytes() + LABEL.tobytes()
    assert like(outputs(IN_JSON))(binary, len(HEAD)) is None
    assert like(outputs(binary, len(HEAD)))(IN_JSON, None) is None


def test_the_last_bits_of_floats_may_differ_and_nothing_else_may() -> None:
    judge = like(RIGHT)
    assert judge(IN_JSON.replace(b"0.75", b"0.7500001"), None) is None
    assert "scores" in (judge(IN_JSON.replace(b"0.75", b"0.76"), None) or "")
    assert "label" in (judge(IN_JSON.replace(b"[1]}", b"[2]}"), None) or "")
    assert "expected outputs" in (like({"scores": SCORES})(IN_JSON, None) or "")
    assert "cannot be read" in (judge(b"{}", None) or "")


def test_a_recommendation_has_ten_different_items_best_first() -> None:
    def said(items: list[int], scores: list[int]) -> str | None:
        return ranked(K)(json.dumps({"predictions": [{"items": items, "scores": scores}]}).encode(), None)

    best_first = list(range(K, 0, -1))
    assert said(list(range(K)), best_first) is None
    assert "different" in (said([1] * K, best_first) or "")
    assert "order" in (said(list(range(K)), best_first[::-1]) or "")
    assert "one prediction" in (ranked(K)(b"no JSON", None) or "")


def told(*scores: tuple[int, float]) -> bytes:
    found = [{"label": str(index), "index": index, "score": score} for index, score in scores]
    return json.dumps({"predictions": [{"name": None, "status": 200, "classes": found}]}).encode()


def test_an_images_classes_are_right_whatever_their_order_and_last_bits() -> None:
    judge = classed(classes(told((3, 0.5), (1, 0.25))))
    assert judge(told((1, 0.250001), (3, 0.5)), None) is None


@pytest.mark.parametrize("body", [told((3, 0.5)), told((3, 0.5), (1, 0.26)), told((3, 0.5), (2, 0.25)), b"{}", b"no"])
def test_other_classes_are_wrong(body: bytes) -> None:
    assert classed({3: 0.5, 1: 0.25})(body, None) is not None
