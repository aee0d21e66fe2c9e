"""A simulated shop: who is shown what, and clicks on what.

Preferences are latent factors, after Chaney, Stewart and Engelhardt, "How algorithmic confounding in recommendation systems
increases homogeneity and decreases utility" (RecSys 2018): a user's tastes and an item's traits are drawn independently, and
their product, with the item's own quality, makes its utility to that user. What is shown follows popularity, a Zipf law over
items. Clicks are biased by position, after Joachims, Swaminathan and Schnabel, "Unbiased learning-to-rank with biased
feedback" (WSDM 2017): a position r, from 1, is looked at with probability (1/r)^eta, and what is looked at is clicked
with the probability of its relevance. What a recommender may see is the catalogue and the impressions, never the tastes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

GENRES = 16
TRAITS = 4
ETA = 0.7
SLATE = 10


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What anybody can see of the items: two genres each, [items, 2], and a price level, [items], about N(0, 1)."""

    genres: Ints
    price: Floats


@dataclass(frozen=True, slots=True)
class Market:
    """The simulated truth. Tastes: for genres [users, GENRES] and for traits that no catalogue lists [users, TRAITS]."""

    catalogue: Catalogue
    genre_taste: Floats
    trait_taste: Floats
    traits: Floats
    quality: Floats
    budget: Floats
    activity: Floats
    popularity: npt.NDArray[np.float64]

    @property
    def users(self) -> int:
        return len(self.genre_taste)

    @property
    def items(self) -> int:
        return len(self.traits)

    def relevance(self, users: Ints, items: Ints) -> Floats:
        """The probability that each user, looking at the item, clicks on it; any two shapes that broadcast to one."""
        genres = self.catalogue.genres[items]
        liking = self.genre_taste[users, genres[..., 0]] + 0.5 * self.genre_taste[users, genres[..., 1]]
        hidden = np.einsum("...t,...t->...", self.trait_taste[users], self.traits[items])
        gap = self.catalogue.price[items] - self.budget[users]
        utility = -2.4 + 1.2 * liking + 1.0 * hidden + 0.6 * self.quality[items] - 0.4 * gap * gap
        chance: Floats = (1.0 / (1.0 + np.exp(-utility))).astype(np.float32)
        return chance


@dataclass(frozen=True, slots=True)
class Impressions:
    """One row an item shown, [n] each; ``position`` counts from 0, and rows of one slate follow each other."""

    user: Ints
    item: Ints
    position: Ints
    clicked: Bools


def market(users: int, items: int, seed: int) -> Market:
    """Draws a market: users' tastes, items' traits, and a Zipf law of popularity that quality bends a little."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=items)
    # An item's place in the charts is luck more than merit, which is what makes popularity a baseline that can be beaten.
    places = np.argsort(np.argsort(-(0.4 * quality + rng.normal(size=items))))
    popularity = 1.0 / (places + 8.0) ** 0.8
    first = rng.integers(GENRES, size=items)
    second = (first + rng.integers(1, GENRES, size=items)) % GENRES
    # Sparse: most people like two or three genres, and care little for the rest.
    share = rng.dirichlet(np.full(GENRES, 0.15), size=users)
    return Market(
        catalogue=Catalogue(
            genres=np.stack([first, second], axis=1).astype(np.int32),
            price=rng.normal(size=items).astype(np.float32),
        ),
        genre_taste=(3.0 * np.sqrt(share) - 0.5).astype(np.float32),
        trait_taste=rng.normal(size=(users, TRAITS)).astype(np.float32) / np.float32(np.sqrt(TRAITS / 2)),
        traits=rng.normal(size=(items, TRAITS)).astype(np.float32),
        quality=quality.astype(np.float32),
        budget=rng.normal(scale=0.8, size=users).astype(np.float32),
        activity=rng.lognormal(sigma=0.5, size=users).astype(np.float32),
        popularity=popularity / popularity.sum(),
    )


def browse(truth: Market, sessions: int, seed: int) -> Impressions:
    """About ``sessions`` slates a user, of SLATE items drawn by popularity, in random order."""
    rng = np.random.default_rng(seed)
    count = np.maximum(rng.poisson(truth.activity * sessions), 1)
    user = np.repeat(np.arange(truth.users, dtype=np.int32), count)
    edges = np.cumsum(truth.popularity)
    item = np.searchsorted(edges, rng.random((len(user), SLATE)) * edges[-1], side="right").astype(np.int32)
    return show(truth, user, item, seed + 1)


def show(truth: Market, user: Ints, slates: Ints, seed: int) -> Impressions:
    """Shows each user, [n], a slate, [n, length], and records which items were clicked. An item is shown once a slate."""
    rng = np.random.default_rng(seed)
    length = slates.shape[1]
    position = np.broadcast_to(np.arange(length, dtype=np.int32), slates.shape)
    looked = rng.random(slates.shape) < 1.0 / (position + 1.0) ** ETA
    clicked = looked & (rng.random(slates.shape) < truth.relevance(user[:, None], slates))
    order = np.argsort(slates, axis=1, kind="stable")
    ordered = np.take_along_axis(slates, order, axis=1)
    repeated = np.zeros(slates.shape, dtype=bool)
    np.put_along_axis(repeated, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    kept = ~repeated
    return Impressions(
        user=np.broadcast_to(user[:, None], slates.shape)[kept],
        item=slates[kept],
        position=position[kept],
        clicked=clicked[kept],
    )
