"""A model's scores to the classes that are worth telling."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import InferenceError
from models.tensor import Array
from models.vision.declaration import Scores
from models.vision.recipe import Recipe

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Class:
    """``label`` is the index as text where the model has no labels."""

    label: str
    index: int
    score: float


def rank(scores: Array, recipe: Recipe, top_k: int | None = None, threshold: float | None = None) -> list[list[Class]]:
    """For each row of [rows, classes] the best classes, the best first, equal ones by index, without those below the threshold.

    [rows] is one class a row, and dims of 1 behind the rows are none. top_k, threshold of None: the recipe's. Raises InferenceError
    where the scores have another shape, or are not finite.
    """
    told = probabilities(_by_rows(scores, recipe.output), recipe.scores)
    if not np.isfinite(told).all():
        raise InferenceError(f"output {recipe.output!r} has scores that are not finite: NaN, or infinite")
    most = min(recipe.top_k if top_k is None else top_k, told.shape[1])
    if not most:
        return [[] for _ in told]
    with np.errstate(over="ignore"):  # above all FP32, no score comes up to it
        least = told.dtype.type(recipe.threshold if threshold is None else threshold)
    place = told.shape[1] - most
    # All that are no worse than the last place, so that of equal ones there the lowest index has it.
    lasts = np.maximum(np.partition(told, place, axis=1)[:, place], least)
    return [_best(row, np.flatnonzero(row >= last), most, recipe.labels) for row, last in zip(told, lasts, strict=True)]


def probabilities(scores: Array, kind: Scores) -> Floats:
    """[rows, classes], each row as ``kind`` says; in FP32, wider scores in FP64. No exponent is above 0, so none overflows."""
    wide = scores.dtype.itemsize > 4 or scores.dtype.kind in "iu"
    values: Floats = scores.astype(np.float64 if wide else np.float32, copy=False)
    if kind == "none" or not values.size:
        return values
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is told; what is too far below the best is 0
        if kind == "softmax":
            powers: Floats = np.exp(values - values.max(axis=1, keepdims=True))
            powers /= powers.sum(axis=1, keepdims=True)
            return powers
        powers = np.exp(-np.abs(values))
        numerators: Floats = np.where(values >= 0, powers.dtype.type(1), powers)
        return numerators / (1 + powers)


def _by_rows(scores: Array, output: str) -> Array:
    shape = scores.shape
    if not shape or sum(dim != 1 for dim in shape[1:]) > 1:
        raise InferenceError(f"output {output!r} has the shape {list(shape)}; expected [rows, classes]")
    return scores.reshape(shape[0], prod(shape[1:]))


def _best(row: Floats, chosen: npt.NDArray[np.intp], most: int, labels: tuple[str, ...]) -> list[Class]:
    order = chosen[np.argsort(-row[chosen], kind="stable")[:most]]
    return [
        # The shortest decimal that stands for this FP32, as a reader expects it: 0.9, not 0.8999999761581421.
        Class(labels[index] if index < len(labels) else str(index), index, float(str(score)))
        for index, score in zip(order.tolist(), row[order], strict=True)
    ]
