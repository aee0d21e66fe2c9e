"""Two LightGBM models that score card transactions, a stable one and a better canary, on simulated transactions."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np

from models.tensor import Array
from models.zoo.metrics import average_precision, roc_auc
from models.zoo.trained import Metric, Report, Trained
from models.zoo.transactions import DAY, DELAY, FEATURES, features, simulate

SEED = 11
CUSTOMERS, TERMINALS, DAYS = 2_000, 4_000, 126
# The windows fill first. After training comes a gap as long as a fraud takes to be known; the last weeks are held out.
LEARN_FROM, HOLD_FROM = 37, 98
# Version: (trees, leaves, learning rate).
VERSIONS = {1: (20, 7, 0.1), 2: (80, 31, 0.1)}
MODEL_TOML = f"""\
# The probability that a card transaction is a fraud: "input" FP64 [-1, {len(FEATURES)}], in this order:
{"".join(f"#   {index:2d}  {name}" + chr(10) for index, name in enumerate(FEATURES))}#
# Amounts are in the customer's currency; a customer's windows end with the transaction itself, a terminal's {DELAY} days before.

[versions]
policy = "all"                          # both are served; without a version or label, the latest answers
labels = {{ stable = 1, canary = 2 }}

[batching]
max_rows = 256      # rows in one call
window_ms = 2.0     # how long the oldest request may wait for company
"""


def train(directory: Path, report: Report) -> Trained:
    """Writes both versions into ``directory``."""
    report("transactions", 0.0)
    seen = simulate(CUSTOMERS, TERMINALS, DAYS, SEED)
    report("features", 0.2)
    rows = features(seen)
    day = seen.time // DAY
    learn = (day >= LEARN_FROM) & (day < HOLD_FROM - DELAY)
    held = day >= HOLD_FROM
    data = lightgbm.Dataset(rows[learn], seen.fraud[learn].astype(int), feature_name=list(FEATURES), free_raw_data=False)
    scores: dict[int, Array] = {}
    for index, (version, (trees, leaves, rate)) in enumerate(VERSIONS.items()):
        report(f"version {version}: {trees} trees", 0.4 + 0.3 * index)
        booster = lightgbm.train(
            {
                "objective": "binary",
                "num_leaves": leaves,
                "learning_rate": rate,
                "min_data_in_leaf": 50,
                "deterministic": True,
                "force_row_wise": True,
                "num_threads": 1,
                "seed": SEED,
                "verbose": -1,
            },
            data,
            trees,
        )
        target = directory / str(version)
        target.mkdir(parents=True)
        (target / "model.txt").write_text(booster.model_to_string())
        scores[version] = np.asarray(booster.predict(rows[held], num_threads=1))
    (directory / "model.toml").write_text(MODEL_TOML)
    report("done", 1.0)
    fraud = seen.fraud[held]
    example = np.round(rows[held][np.flatnonzero(fraud)[0]], 4)
    return Trained(
        name="fraud",
        summary="card transactions, two LightGBM versions, stable and canary",
        versions=tuple(VERSIONS),
        metrics=(
            Metric("AUC", roc_auc(fraud, scores[2]), "version 1", roc_auc(fraud, scores[1])),
            Metric("average precision", average_precision(fraud, scores[2]), "version 1", average_precision(fraud, scores[1])),
        ),
        example={"input": example.tolist()},
    )
