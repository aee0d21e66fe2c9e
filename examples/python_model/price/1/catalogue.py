"""The price list that lies beside the model."""

from __future__ import annotations

import csv
from pathlib import Path


def read(path: Path) -> dict[bytes, float]:
    """Item to price, from a file of two columns."""
    with path.open(newline="", encoding="utf-8") as file:
        return {item.encode(): float(price) for item, price in csv.reader(file)}
