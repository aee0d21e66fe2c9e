"""The simulated shop of the recommender and its ranker: what was shown in the first weeks, and what was learned from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.tensor import Array
from models.zoo.interactions import Ints, Market, browse, market
from models.zoo.retrieval import tables

SEED = 5
USERS, ITEMS = 10_000, 2_000
SESSIONS = 20
LEARNERS = 7_000


@dataclass(frozen=True, slots=True)
class Shop:
    """The truth, for clicks and for judging; the tables, all that a model sees. Users from LEARNERS on are held out."""

    truth: Market
    tables: Mapping[str, Array]

    @property
    def learners(self) -> Ints:
        """The users whose clicks on their candidates a ranker may learn from."""
        return np.arange(LEARNERS, dtype=np.int32)

    @property
    def held_out(self) -> Ints:
        """The users on whom models are judged: their history is known, as for any user, their next clicks are not."""
        return np.arange(LEARNERS, self.truth.users, dtype=np.int32)


def opened() -> Shop:
    """The shop after its first weeks."""
    truth = market(USERS, ITEMS, SEED)
    seen = browse(truth, SESSIONS, SEED + 1)
    return Shop(truth, tables(seen, truth.catalogue, USERS, SEED + 2))
