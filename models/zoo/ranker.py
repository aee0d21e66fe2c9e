"""A LightGBM LambdaRank model that orders a user's candidates, learned from position-biased clicks."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np

from models.zoo.interactions import show
from models.zoo.metrics import ndcg
from models.zoo.recommender_model import FEATURES, features
from models.zoo.shop import SEED, Shop
from models.zoo.trained import Metric, Report, Trained

SLATES, SLATE = 3, 20
# With 100 candidates a user the ranker's cost is the recommender's: 20 trees of 8 leaves take 0.6 us a row on one thread, and
# reach 98% of the NDCG@10 of 40 trees of 15 leaves, which take more than twice as long.
TREES, LEAVES, RATE = 20, 8, 0.3
MODEL_TOML = f"""\
# Orders candidates for the recommender: "input" FP64 [-1, {len(FEATURES)}], a row a user and item, higher "output" is better:
{"".join(f"#   {index}  {name}" + chr(10) for index, name in enumerate(FEATURES))}
[batching]
max_rows = 3200     # rows in one call: 32 users' candidates
window_ms = 2.0     # how long the oldest request may wait for company
queue_rows = 32000
"""


def train(directory: Path, shop: Shop, report: Report) -> Trained:
    """Writes the model into ``directory``; judged by NDCG@10 on held-out users, every candidate of theirs looked at."""
    report("slates", 0.0)
    users = np.repeat(shop.learners, SLATES)
    places = np.random.default_rng(SEED).permuted(np.tile(np.arange(100), (len(users), 1)), axis=1)[:, :SLATE]
    slates = shop.tables["candidates"][users[:, None], places].astype(np.int32)
    shown = show(shop.truth, users, slates, SEED + 3)
    rows = features(shop.tables, users, slates, shop.tables["candidate_scores"][users[:, None], places])
    report(f"{TREES} trees", 0.3)
    booster = lightgbm.train(
        {
            "objective": "lambdarank",
            "num_leaves": LEAVES,
            "learning_rate": RATE,
            "min_data_in_leaf": 100,
            "lambdarank_truncation_level": SLATE,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "seed": SEED,
            "verbose": -1,
        },
        lightgbm.Dataset(
            rows.reshape(-1, len(FEATURES)),
            shown.clicked.astype(int),
            group=np.full(len(users), SLATE),
            # LightGBM learns the clicks' position bias along with the trees, and leaves it out of its predictions.
            position=shown.position,
            feature_name=list(FEATURES),
        ),
        TREES,
    )
    version = directory / "1"
    version.mkdir(parents=True)
    (version / "model.txt").write_text(booster.model_to_string())
    (directory / "model.toml").write_text(MODEL_TOML)
    report("held-out users", 0.9)
    return _judged(booster, shop)


def _judged(booster: lightgbm.Booster, shop: Shop) -> Trained:
    users = shop.held_out
    items = shop.tables["candidates"][users].astype(np.int32)
    rows = features(shop.tables, users, items, shop.tables["candidate_scores"][users])
    chance = np.random.default_rng(SEED + 4).random(items.shape)
    clicked = chance < shop.truth.relevance(users[:, None], items)
    scores = np.asarray(booster.predict(rows.reshape(-1, len(FEATURES)), num_threads=1)).reshape(items.shape)
    popularity = rows[..., FEATURES.index("item_log_clicks")]
    return Trained(
        name="ranker",
        summary="orders candidates, LightGBM LambdaRank",
        versions=(1,),
        metrics=(Metric("NDCG@10", ndcg(clicked, scores, 10), "by popularity", ndcg(clicked, popularity, 10)),),
        example={"input": np.round(rows[0, 0], 4).tolist()},
    )
