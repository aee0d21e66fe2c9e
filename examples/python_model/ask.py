"""Asks a running `tureen serve examples/python_model` for the totals of a cart's lines."""

from __future__ import annotations

import json
import sys
from urllib.request import Request, urlopen


def ask(lines: list[dict[str, object]], address: str = "http://127.0.0.1:8000") -> list[float]:
    """The total of each line, such as {"item": "tea", "count": 3}."""
    body = json.dumps({"instances": lines}).encode()
    request = Request(f"{address}/v1/models/cart:predict", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=10) as response:
        return [float(total) for total in json.load(response)["predictions"]]


if __name__ == "__main__":
    print(ask([{"item": "tea", "count": 3}, {"item": "pot", "count": 1}], *sys.argv[1:2]))
