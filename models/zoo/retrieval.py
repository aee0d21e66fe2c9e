"""What is learned of users and items from impressions alone: candidates for each user, and the tables features come from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from models.tensor import Array
from models.zoo.interactions import ETA, GENRES, Catalogue, Impressions

CANDIDATES = 100
FACTORS = 24
#: Of a score: far more than a model can make use of, far less than machines differ in.
DECIMALS = 6


def tables(seen: Impressions, catalogue: Catalogue, users: int, seed: int) -> Mapping[str, Array]:
    """Tables by user ([users + 1, ...], the last row a stranger's) and by item, as ``recommender_model.features`` reads them.

    Candidates are the items that score highest by truncated SVD among those a user has not clicked; a stranger's are the
    most clicked ones.
    """
    items = len(catalogue.price)
    clicks = np.zeros((users, items))
    hit_user, hit_item = seen.user[seen.clicked], seen.item[seen.clicked]
    clicks[hit_user, hit_item] = 1.0
    item_clicks = np.bincount(hit_item, minlength=items)
    # A click rate by how often an item was looked at, not shown: the top of a slate would flatter whatever stood there.
    looks = np.bincount(seen.item, weights=1.0 / (seen.position + 1.0) ** ETA, minlength=items)
    prior = item_clicks.sum() / looks.sum()
    rate = (item_clicks + 20.0 * prior) / (looks + 20.0)

    scores = factorise(clicks, seed)
    unseen = np.where(clicks > 0, -np.inf, scores)
    best = highest(unseen, CANDIDATES)
    found = np.take_along_axis(unseen, best, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    popular = np.argsort(-item_clicks, kind="stable")[:CANDIDATES]

    user_clicks = np.bincount(hit_user, minlength=users)
    profile = np.zeros((users, GENRES))
    np.add.at(profile, (hit_user, catalogue.genres[hit_item, 0]), 1.0)
    np.add.at(profile, (hit_user, catalogue.genres[hit_item, 1]), 0.5)
    everyone = profile.sum(axis=0) / profile.sum()
    spent = np.bincount(hit_user, weights=catalogue.price[hit_item], minlength=users)
    typical = float(spent.sum() / user_clicks.sum())
    return {
        "candidates": np.vstack([np.take_along_axis(best, order, axis=1), popular]).astype(np.int16),
        "candidate_scores": np.vstack([np.take_along_axis(found, order, axis=1), scores[:, popular].mean(axis=0)]),
        # Both shrunk towards everybody's, by three clicks' worth: one click is not yet a taste.
        "user_genres": np.vstack([(profile + 3.0 * everyone) / (profile.sum(axis=1, keepdims=True) + 3.0), everyone]).astype(
            np.float32
        ),
        "user_price": np.append((spent + 3.0 * typical) / (user_clicks + 3.0), typical).astype(np.float32),
        "user_log_clicks": np.append(np.log1p(user_clicks), 0.0).astype(np.float32),
        "item_genres": catalogue.genres.astype(np.int8),
        "item_features": np.stack([catalogue.price, np.log1p(item_clicks), rate], axis=1).astype(np.float32),
    }


def highest(scores: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.intp]:
    """The places [rows, count] of each row's highest scores, from left to right; of equal ones those that stand first.

    Whom ``argpartition`` takes of equal ones depends on the processor.
    """
    last = np.partition(scores, -count, axis=1)[:, -count, None]
    above, equal = scores > last, scores == last
    wanted = count - above.sum(axis=1, keepdims=True)
    taken = above | (equal & (np.cumsum(equal, axis=1) <= wanted))
    return np.nonzero(taken)[1].reshape(-1, count)


def factorise(clicks: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float32]:
    """Scores [users, items] of rank FACTORS nearest to the clicks, rows and columns scaled by 1/sqrt of their sums.

    The same on every machine: BLAS adds up in the order that suits the processor, which doubles, rounded, do not show.
    Randomized subspace iteration, Halko, Martinsson and Tropp, "Finding structure with randomness" (2011), algorithm 4.4.
    """
    by_user = 1.0 / np.sqrt(clicks.sum(axis=1, keepdims=True) + 1.0)
    by_item = 1.0 / np.sqrt(clicks.sum(axis=0, keepdims=True) + 1.0)
    scaled = clicks * by_user * by_item
    start = np.random.default_rng(seed).normal(size=(clicks.shape[1], FACTORS + 8))
    basis, _ = np.linalg.qr(scaled @ start)
    for _ in range(3):
        across, _ = np.linalg.qr(scaled.T @ basis)
        basis, _ = np.linalg.qr(scaled @ across)
    left, values, right = np.linalg.svd(basis.T @ scaled, full_matrices=False)
    kept = (basis @ left[:, :FACTORS]) * values[:FACTORS]
    scores = kept @ right[:FACTORS] * np.sqrt(clicks.sum(axis=0, keepdims=True) + 1.0)
    return np.asarray(np.round(scores, DECIMALS) + 0.0, dtype=np.float32)  # -0.0 + 0.0 is 0.0
