"""Recommends items to users: 100 candidates each from a table, ordered by the model ``ranker``.

The demo copies this file into the repository as ``recommender/1/model.py``. Training imports ``features`` from here as well,
so that what the ranker is served is what it learned from.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from models import Array, InvalidInput, Problem, PythonModel, TensorSpec
from models.runtime import Models

TABLES = "tables.npz"
DEFAULT_K = 10
FEATURES = (
    "retrieval_score",
    "genre_share",
    "second_genre_share",
    "price_gap",
    "user_log_clicks",
    "item_price",
    "item_log_clicks",
    "item_click_rate",
)


def features(tables: Mapping[str, Array], users: Array, items: Array, retrieval: Array) -> Array:
    """What the ranker sees of users [n] and their items [n, m], found with scores [n, m]: FP64 [n, m, features].

    Gathered, never summed: so a user's features do not depend, to the last bit, on who else is in the batch.
    """
    owner = users[:, None]
    genres = tables["item_genres"][items]
    out = np.empty((*items.shape, len(FEATURES)), dtype=np.float64)
    out[..., 0] = retrieval
    out[..., 1] = tables["user_genres"][owner, genres[..., 0]]
    out[..., 2] = tables["user_genres"][owner, genres[..., 1]]
    out[..., 4] = tables["user_log_clicks"][owner]
    out[..., 5:] = tables["item_features"][items]
    out[..., 3] = out[..., 5] - tables["user_price"][owner]
    return out


class Recommender(PythonModel):
    """``user_id`` [n] and ``k`` (default 10) give the k best ``items`` [n, k] and their ``scores`` [n, k], best first.

    A user nobody has heard of is recommended from the popular items.
    """

    inputs: ClassVar = [
        TensorSpec("user_id", "INT64", [-1]),
        TensorSpec("k", "INT64", [-1], optional=True, uniform=True),
    ]
    outputs: ClassVar = [TensorSpec("items", "INT64", [-1, -1]), TensorSpec("scores", "FP32", [-1, -1])]

    def load(self, directory: Path, models: Models) -> None:
        with np.load(directory / TABLES, allow_pickle=False) as archive:
            self.tables: Mapping[str, Array] = {name: archive[name] for name in archive.files}
        self.models = models
        # The last row of every table of users is that of the stranger.
        self.users = len(self.tables["candidates"]) - 1

    def infer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        ids = inputs["user_id"]
        k = self._k(inputs)
        users = np.where((ids >= 0) & (ids < self.users), ids, self.users)
        candidates = self.tables["candidates"][users]
        rows = features(self.tables, users, candidates, self.tables["candidate_scores"][users])
        answer = self.models("ranker").infer({"input": rows.reshape(-1, len(FEATURES))})
        scores = answer["output"].reshape(candidates.shape).astype(np.float32)
        # Stable, so that equal scores keep the order in which the candidates were found.
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return {
            "items": np.take_along_axis(candidates, best, axis=1).astype(np.int64),
            "scores": np.take_along_axis(scores, best, axis=1),
        }

    def _k(self, inputs: Mapping[str, Array]) -> int:
        """The k that all rows share. Raises InvalidInput past the number of candidates."""
        if "k" not in inputs or not inputs["k"].size:
            return DEFAULT_K
        k = int(inputs["k"][0])
        most = self.tables["candidates"].shape[1]
        if not 1 <= k <= most:
            raise InvalidInput(Problem("inputs.k.data", "that many items cannot be recommended", f"1 to {most}", str(k)))
        return k
