"""A model that takes its time on the CPU: a LightGBM forest, trained on numbers drawn at random, which is as deep as any."""

from __future__ import annotations

from pathlib import Path

import numpy as np

NAME = "forest"
FEATURES = 16
#: A call of 64 rows takes some 5 ms of a core.
TREES, LEAVES = 400, 63
_SAMPLES, _SEED = 4_000, 1
#: As many requests may wait as of a model on its defaults whose requests have one row each.
_WAITING = 1024
_MODEL_TOML = """\
[batching]
max_rows = {most}
queue_rows = {waiting}
"""


def plant(repository: Path) -> None:
    """Trains the forest, and writes it into ``repository`` as the model NAME."""
    import lightgbm

    random = np.random.default_rng(_SEED)
    features = random.random((_SAMPLES, FEATURES))
    wanted = random.standard_normal(_SAMPLES)  # noise is never learned to the end: every tree has all its leaves
    settings = {"objective": "regression", "num_leaves": LEAVES, "verbose": -1, "num_threads": 1, "seed": _SEED}
    booster = lightgbm.train(settings, lightgbm.Dataset(features, wanted), num_boost_round=TREES)
    version = repository / NAME / "1"
    version.mkdir(parents=True)
    booster.save_model(str(version / "model.txt"))


def settle(repository: Path, rows: int) -> None:
    """Says how the forest is batched where each request has so many rows."""
    text = _MODEL_TOML.format(most=max(64, rows), waiting=rows * _WAITING)
    (repository / NAME / "model.toml").write_text(text, encoding="utf-8")


def rows_for(wanted: float, rate: float, rows: int) -> int:
    """Rows a request for ``wanted`` requests a second, where requests of ``rows`` rows came to ``rate``; 1 to 64."""
    return max(1, min(64, round(rows * rate / wanted)))
