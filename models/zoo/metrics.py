"""The figures by which the demo models are judged, on held-out data."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.tensor import Array


def ndcg(relevance: Array, scores: Array, k: int) -> float:
    """Mean NDCG@k over queries, both [queries, documents]; gain 2^relevance - 1, discount 1/log2(rank + 1), ranks from 1.

    Queries without a relevant document are left out, as there is no order to get right. Ties keep the documents' order.
    """
    gains = np.exp2(relevance.astype(np.float64)) - 1.0
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(gains, order, axis=1) @ discount
    ideal = -np.sort(-gains, axis=1)[:, :k] @ discount
    answerable = ideal > 0
    return float(np.mean(found[answerable] / ideal[answerable]))


def roc_auc(positive: npt.NDArray[np.bool_], scores: Array) -> float:
    """The chance that a positive scores above a negative, [n] each; a tie counts half (the Mann-Whitney statistic)."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2.0)[inverse]
    positives = int(positive.sum())
    negatives = len(positive) - positives
    return float((ranks[positive].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


def average_precision(positive: npt.NDArray[np.bool_], scores: Array) -> float:
    """The mean of the precision at each positive, [n] each, ties taken together: sum of (recall step x precision)."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    precision = hits[ends] / (ends + 1.0)
    recall = hits[ends] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))
