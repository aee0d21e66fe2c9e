from __future__ import annotations

import numpy as np
import pytest

from models.zoo.interactions import ETA, Impressions, browse, market, show


@pytest.fixture(scope="module")
def seen() -> Impressions:
    return browse(market(users=400, items=200, seed=1), sessions=40, seed=2)


def test_the_same_seed_draws_the_same_clicks(seen: Impressions) -> None:
    again = browse(market(users=400, items=200, seed=1), sessions=40, seed=2)
    for name in ("user", "item", "position", "clicked"):
        assert np.array_equal(getattr(seen, name), getattr(again, name))


def test_another_seed_draws_other_clicks(seen: Impressions) -> None:
    other = browse(market(users=400, items=200, seed=1), sessions=40, seed=3)
    assert not np.array_equal(seen.item[:100], other.item[:100])


def test_clicks_fall_with_the_position_by_the_examination_law(seen: Impressions) -> None:
    rate = [seen.clicked[seen.position == place].mean() for place in range(10)]
    assert rate[3] / rate[0] == pytest.approx(4**-ETA, rel=0.15)
    assert rate[9] / rate[0] == pytest.approx(10**-ETA, rel=0.25)


def test_an_item_is_shown_once_a_slate() -> None:
    truth = market(users=3, items=50, seed=1)
    slates = np.array([[7, 7, 9], [1, 2, 3], [4, 5, 4]], dtype=np.int32)
    shown = show(truth, np.arange(3, dtype=np.int32), slates, seed=1)
    assert list(zip(shown.user, shown.item, shown.position, strict=True)) == [
        (0, 7, 0),
        (0, 9, 2),
        (1, 1, 0),
        (1, 2, 1),
        (1, 3, 2),
        (2, 4, 0),
        (2, 5, 1),
    ]


def test_relevance_is_a_probability_and_differs_among_users() -> None:
    truth = market(users=50, items=40, seed=1)
    chance = truth.relevance(np.arange(50, dtype=np.int32)[:, None], np.arange(40, dtype=np.int32)[None, :])
    assert chance.shape == (50, 40)
    assert ((chance > 0) & (chance < 1)).all()
    assert chance.std(axis=0).min() > 0.01
