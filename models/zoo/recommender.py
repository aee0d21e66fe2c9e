"""Lays out the recommender: its tables, and the source of the class that serves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import lightgbm
import numpy as np

from models.runtime import Callee
from models.tensor import Array
from models.zoo import recommender_model
from models.zoo.recommender_model import TABLES, Recommender
from models.zoo.shop import Shop
from models.zoo.trained import Metric, Report, Trained

MODEL_TOML = """\
# Recommends items: "user_id" INT64 [-1], and "k" INT64 [-1], 10 where absent, give "items" and "scores", best first.
# It calls the model "ranker" with 100 candidates a user.

[batching]
max_rows = 64       # users in one call; 32 take about 3 ms on one thread
window_ms = 5.0     # how long the oldest request may wait for company: fewer, larger calls leave more of the CPU to HTTP
"""


def train(directory: Path, ranker: Path, shop: Shop, report: Report) -> Trained:
    """Writes the model into ``directory``; judged, with the ranker in that directory, by the true relevance of its ten best."""
    report("tables", 0.0)
    version = directory / "1"
    version.mkdir(parents=True)
    source = Path(recommender_model.__file__).read_text(encoding="utf-8")
    (version / "model.py").write_text(source, encoding="utf-8")
    np.savez(version / TABLES, allow_pickle=False, **shop.tables)
    (directory / "model.toml").write_text(MODEL_TOML)

    report("held-out users", 0.5)
    model = Recommender()
    model.load(version, OneModel(ranker / "1" / "model.txt"))
    users = shop.held_out
    items = model.infer({"user_id": users.astype(np.int64)})["items"].astype(np.int32)
    popular = np.broadcast_to(shop.tables["candidates"][-1, : items.shape[1]].astype(np.int32), items.shape)
    clicks = [float(shop.truth.relevance(users[:, None], shown).mean()) for shown in (items, popular)]
    return Trained(
        name="recommender",
        summary="ten items for a user, a Python model that calls the ranker",
        versions=(1,),
        metrics=(Metric("click rate of the ten", clicks[0], "most popular", clicks[1]),),
        example={"user_id": 3, "k": 10},
    )


class OneModel:
    """The models of a repository, as a Python model reaches them, where there is but one: a LightGBM text."""

    def __init__(self, path: Path) -> None:
        self._booster = lightgbm.Booster(model_file=str(path))

    def __call__(self, name: str, version: int | None = None) -> Callee:
        return self

    def infer(self, inputs: Mapping[str, Array], outputs: Sequence[str] = ()) -> dict[str, Array]:
        return {"output": np.asarray(self._booster.predict(inputs["input"], num_threads=1))}
