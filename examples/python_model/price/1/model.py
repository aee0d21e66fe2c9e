"""What an item costs; NaN where nobody knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models import Array, PythonModel, TensorSpec
from models.runtime import Models

from .catalogue import read


class Price(PythonModel):
    inputs = (TensorSpec("item", "BYTES", [-1]),)
    outputs = (TensorSpec("price", "FP64", [-1]), TensorSpec("known", "BOOL", [-1]))

    def load(self, directory: Path, models: Models) -> None:
        self.prices = read(directory / "prices.csv")

    def infer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        price = np.array([self.prices.get(item, np.nan) for item in inputs["item"]])
        return {"price": price, "known": ~np.isnan(price)}
