"""Which user asks next: a Zipf law, the few active users and the long tail of a real audience."""

from __future__ import annotations

import random
from itertools import accumulate


def users(population: int, alpha: float, count: int, seed: int) -> list[int]:
    """``count`` draws of 0..population - 1, user u with a probability proportional to (u + 1)^-alpha."""
    edges = list(accumulate((rank + 1) ** -alpha for rank in range(population)))
    return random.Random(seed).choices(range(population), cum_weights=edges, k=count)
