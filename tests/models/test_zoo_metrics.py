"""The demo's own metrics, held against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from models.zoo.metrics import average_precision, ndcg, roc_auc

# Few distinct scores, so that ties are common.
binary = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40).filter(
    lambda rows: len({positive for positive, _ in rows}) == 2
)


@given(binary)
def test_roc_auc_is_scikit_learns(rows: list[tuple[bool, int]]) -> None:
    positive, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], dtype=float)
    assert roc_auc(positive, scores) == pytest.approx(roc_auc_score(positive, scores))


@given(binary)
def test_average_precision_is_scikit_learns(rows: list[tuple[bool, int]]) -> None:
    positive, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], dtype=float)
    assert average_precision(positive, scores) == pytest.approx(average_precision_score(positive, scores))


@given(st.lists(st.booleans(), min_size=12, max_size=12).filter(any), st.permutations(range(12)))
def test_ndcg_is_scikit_learns(relevant: list[bool], scores: list[int]) -> None:
    truth, found = np.array([relevant]), np.array([scores], dtype=float)
    assert ndcg(truth, found, 10) == pytest.approx(ndcg_score(truth.astype(int), found, k=10))


def test_ndcg_leaves_out_queries_with_nothing_to_find() -> None:
    truth = np.array([[True, False], [False, False]])
    assert ndcg(truth, np.array([[2.0, 1.0], [1.0, 2.0]]), 2) == 1.0
