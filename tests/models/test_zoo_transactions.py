from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.zoo.transactions import DAY, DELAY, FEATURES, WINDOWS, Transactions, compromised, features, simulate


@pytest.fixture(scope="module")
def seen() -> Transactions:
    return simulate(customers=300, terminals=600, days=60, seed=3)


def test_the_same_seed_draws_the_same_transactions(seen: Transactions) -> None:
    again = simulate(customers=300, terminals=600, days=60, seed=3)
    for name in ("time", "customer", "terminal", "cents", "fraud"):
        assert np.array_equal(getattr(seen, name), getattr(again, name))


def test_transactions_come_in_order_of_time_and_within_the_days(seen: Transactions) -> None:
    assert (np.diff(seen.time) >= 0).all()
    assert seen.time[0] >= 0
    assert seen.time[-1] < 60 * DAY


def test_every_amount_over_220_is_a_fraud(seen: Transactions) -> None:
    assert seen.fraud[seen.cents > 22_000].all()


def test_frauds_are_rare_but_there(seen: Transactions) -> None:
    assert 0.001 < seen.fraud.mean() < 0.05


def test_what_is_compromised_stays_so_for_the_days_given() -> None:
    table = compromised(np.array([1, 0, 0, 0, 0, 0]), 5, 3, np.random.default_rng(1))
    assert table.sum(axis=0).tolist() == [1, 1, 1, 0, 0, 0]


rows = st.lists(
    st.tuples(st.integers(0, 45 * DAY), st.integers(0, 2), st.integers(0, 2), st.integers(0, 90_000), st.booleans()),
    min_size=1,
    max_size=25,
)


@given(rows)
def test_features_are_what_a_look_back_at_each_transaction_finds(drawn: list[tuple[int, int, int, int, bool]]) -> None:
    time, customer, terminal, cents, fraud = (np.array(column) for column in zip(*sorted(drawn), strict=True))
    found = features(Transactions(time, customer, terminal, cents, fraud))
    for row, now in enumerate(time):
        wanted = [cents[row] / 100, float(now // DAY % 7 >= 5), float(now % DAY // 3600 <= 6)]
        for days in WINDOWS:
            mine = (customer == customer[row]) & (time > now - days * DAY) & (time <= now)
            wanted += [mine.sum(), cents[mine].mean() / 100]
        for days in WINDOWS:
            until = now - DELAY * DAY
            theirs = (terminal == terminal[row]) & (time > until - days * DAY) & (time <= until)
            wanted += [theirs.sum(), fraud[theirs].mean() if theirs.any() else 0.0]
        assert found[row] == pytest.approx(wanted)


def test_there_are_fifteen_features() -> None:
    assert len(FEATURES) == len(set(FEATURES)) == 15
