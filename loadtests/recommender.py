"""Recommendations, one user a request, the users by Zipf's law. Exit code 1 where a threshold is missed.

python -m locust --config loadtests/locust.conf --host http://127.0.0.1:8000        a running server
python -m loadtests.run                                                             a server of its own
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from loadtests.asks import Ask, ranked
from loadtests.steady import Steady, Visitor
from loadtests.zipf import users

PATH = "/v1/models/recommender:predict"
K = 10
POPULATION, ALPHA = 10_000, 1.1
HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


class Shopper(Visitor):
    """Asks for recommendations."""


def asks(_: str) -> Sequence[Ask]:
    """A request for each of many draws of a user."""
    drawn = users(POPULATION, ALPHA, 1 << 16, seed=1)
    bodies = [json.dumps({"instances": [{"user_id": user, "k": K}]}).encode() for user in range(POPULATION)]
    made = [Ask("recommender", PATH, body, HEADERS, ranked(K)) for body in bodies]
    return [made[user] for user in drawn]


steady = Steady("recommender", Shopper, asks, lambda _: ["recommender"])
