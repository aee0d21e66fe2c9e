"""The total of each line of a shopping cart, priced by another model; 0 for what is not sold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models import Array, PythonModel, TensorSpec
from models.runtime import Models


class Cart(PythonModel):
    inputs = (TensorSpec("item", "BYTES", [-1]), TensorSpec("count", "INT64", [-1], optional=True))
    outputs = (TensorSpec("total", "FP64", [-1]),)

    def load(self, directory: Path, models: Models) -> None:
        self.price = models("price")

    def infer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        answer = self.price.infer({"item": inputs["item"]})  # one call for the whole batch
        unit = np.where(answer["known"], answer["price"], 0.0)
        return {"total": unit * inputs.get("count", np.ones(len(unit)))}
