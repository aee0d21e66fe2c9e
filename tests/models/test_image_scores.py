from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.errors import InferenceError
from models.signature import Signature
from models.tensor import DTYPES, Array, TensorSpec
from models.vision.declaration import Image
from models.vision.recipe import Recipe, recipe
from models.vision.scores import Class, probabilities, rank


def made(scores: Literal["softmax", "sigmoid", "none"] = "none", **changes: Any) -> Recipe:
    signature = Signature((TensorSpec("x", "FP32", [-1, 3, 8, 8]),), (TensorSpec("y", "FP32", [-1, -1]),))
    return replace(recipe(Image(scores=scores), signature), **changes)


def test_the_best_come_first_and_of_equal_ones_the_lower_index() -> None:
    by = made(labels=("cat", "dog", "emu", "fox"), top_k=3)
    assert rank(np.array([[0.2, 0.4, 0.2, 0.2], [0, 0, 0, 1]], np.float32), by) == [
        [Class("dog", 1, 0.4), Class("cat", 0, 0.2), Class("emu", 2, 0.2)],
        [Class("fox", 3, 1.0), Class("cat", 0, 0.0), Class("dog", 1, 0.0)],
    ]


def test_a_class_without_a_label_is_called_by_its_index() -> None:
    assert rank(np.array([[1, 2]]), made(labels=("cat",))) == [[Class("1", 1, 2.0), Class("cat", 0, 1.0)]]


def test_what_is_below_the_threshold_is_not_told_and_the_threshold_itself_is() -> None:
    scores = np.array([[0.1, 0.5, 0.4], [0.1, 0.2, 0.3]])
    assert [[told.index for told in row] for row in rank(scores, made(threshold=0.4))] == [[1, 2], []]
    assert [[told.index for told in row] for row in rank(scores, made(threshold=0.4), threshold=0.2)] == [[1, 2], [2, 1]]


def test_without_a_threshold_negative_scores_are_told_too() -> None:
    assert [told.score for told in rank(np.array([[-3.0, -2.0]]), made())[0]] == [-2.0, -3.0]


def test_a_caller_may_ask_for_more_than_there_are() -> None:
    assert len(rank(np.zeros((1, 3)), made(), top_k=1_000_000)[0]) == 3


@pytest.mark.parametrize(
    ("shape", "rows"), [((2, 4), 2), ((2, 4, 1, 1), 2), ((2, 1, 1, 4), 2), ((3,), 3), ((1, 1), 1), ((0, 4), 0), ((2, 0), 2)]
)
def test_a_row_is_told_for_each_image(shape: tuple[int, ...], rows: int) -> None:
    assert len(rank(np.zeros(shape, np.float32), made("sigmoid"))) == rows


@pytest.mark.parametrize("shape", [(), (2, 3, 4), (1, 2, 2)])
def test_scores_of_another_shape_are_the_models_fault(shape: tuple[int, ...]) -> None:
    with pytest.raises(InferenceError, match=r"output 'y' has the shape \[.*\]; expected \[rows, classes\]"):
        rank(np.zeros(shape), made())


@pytest.mark.parametrize("kind", ["softmax", "sigmoid", "none"])
def test_scores_that_are_no_numbers_are_the_models_fault(kind: Literal["softmax", "sigmoid", "none"]) -> None:
    with pytest.raises(InferenceError, match="not finite"):
        rank(np.array([[0, np.nan]], np.float32), made(kind))


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "FP64", "INT8", "UINT8", "INT64"])
def test_scores_of_every_datatype_can_be_ranked(datatype: str) -> None:
    scores = np.array([[0, 3, 1]]).astype(DTYPES[datatype])
    assert [told.index for told in rank(scores, made("softmax"))[0]] == [1, 2, 0]


def test_a_score_is_the_shortest_decimal_that_stands_for_it() -> None:
    assert rank(np.array([[0.9]], np.float32), made())[0][0].score == 0.9


SCORES = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 30)), elements=st.floats(-(2.0**127), 2.0**127, width=32)
)


@given(SCORES)
def test_softmax_is_of_any_scores_a_distribution_in_their_order(scores: Array) -> None:
    told = probabilities(scores, "softmax")
    np.testing.assert_allclose(told.sum(axis=1), 1, rtol=1e-5)
    assert (told >= 0).all()
    order = np.argsort(scores, axis=1)
    assert (np.diff(np.take_along_axis(told, order, axis=1), axis=1) >= 0).all()


@given(SCORES)
def test_sigmoid_is_of_any_scores_between_0_and_1_and_turns_with_their_sign(scores: Array) -> None:
    told = probabilities(scores, "sigmoid")
    assert ((told >= 0) & (told <= 1)).all()
    np.testing.assert_allclose(told, 1 - probabilities(-scores, "sigmoid"), atol=1e-6)


def test_softmax_and_sigmoid_are_what_they_are_called() -> None:
    np.testing.assert_allclose(probabilities(np.log([[1.0, 2.0, 5.0]]), "softmax"), [[0.125, 0.25, 0.625]])
    np.testing.assert_allclose(probabilities(np.log([[1.0, 3.0, 1 / 3]]), "sigmoid"), [[0.5, 0.75, 0.25]])


@given(arrays.arrays(np.int8, st.tuples(st.integers(1, 4), st.integers(1, 40))), st.integers(1, 50), st.integers(-130, 130))
def test_ranking_is_sorting_all_of_them(scores: Array, top_k: int, threshold: int) -> None:
    expected = [
        [index for score, index in sorted((-int(score), index) for index, score in enumerate(row))][:top_k] for row in scores
    ]
    told = rank(scores, made(), top_k, threshold)
    assert [[one.index for one in row] for row in told] == [
        [index for index in indices if row[index] >= threshold] for row, indices in zip(scores, expected, strict=True)
    ]
