"""A simulated stream of card transactions with known frauds, and the features that give them away.

The simulator and the features are those of Le Borgne, Siblini, Lebichot and Bontempi, "Reproducible Machine Learning for
Credit Card Fraud Detection - Practical Handbook" (2022), chapters 3.2 and 3.3, written anew for whole arrays:

- customers and terminals lie on a 100 x 100 plane; a customer pays at the terminals within RADIUS of home, a Poisson number
  of times a day, at a time about noon, an amount about the customer's own mean;
- scenario 1: an amount over 220 is a fraud (never a hard one; it checks that a model learns at all);
- scenario 2: each day some terminals are compromised, and all their transactions of the next 28 days are frauds;
- scenario 3: each day some customers' cards are leaked: in the next 14 days a third of their amounts are five times as high
  and frauds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

DAY = 86_400
RADIUS = 5.0
WINDOWS = (1, 7, 30)
DELAY = 7
FEATURES = (
    "amount",
    "during_weekend",
    "during_night",
    *(f"customer_{what}_{days}d" for days in WINDOWS for what in ("count", "mean_amount")),
    *(f"terminal_{what}_{days}d" for days in WINDOWS for what in ("count", "risk")),
)


@dataclass(frozen=True, slots=True)
class Transactions:
    """One row a transaction, [n] each, by time in whole seconds from midnight of day 0, a Monday; amounts in cents."""

    time: Ints
    customer: Ints
    terminal: Ints
    cents: Ints
    fraud: Bools


def simulate(customers: int, terminals: int, days: int, seed: int) -> Transactions:
    """All transactions of ``days`` days, in order of time. Compromises a day are as rare as the handbook's, for its sizes."""
    rng = np.random.default_rng(seed)
    home = rng.uniform(0, 100, size=(customers, 2))
    place = rng.uniform(0, 100, size=(terminals, 2))
    mean_amount = rng.uniform(5, 100, size=customers)
    mean_count = rng.uniform(0, 4, size=customers)

    count = rng.poisson(mean_count[:, None], size=(customers, days))
    customer = np.repeat(np.arange(customers), count.sum(axis=1))
    day = np.repeat(np.tile(np.arange(days), customers), count.ravel())
    second = rng.normal(DAY / 2, 20_000, size=len(day)).astype(np.int64)
    amount = rng.normal(mean_amount[customer], mean_amount[customer] / 2)
    amount = np.where(amount < 0, rng.uniform(0, 2 * mean_amount[customer]), amount)
    terminal = _nearby(home, place, customer, rng)
    kept = (second > 0) & (second < DAY) & (terminal >= 0)
    time = (day * DAY + second)[kept]
    order = np.argsort(time, kind="stable")
    time, customer, terminal, amount = time[order], customer[kept][order], terminal[kept][order], amount[kept][order]

    day = time // DAY
    fraud = amount > 220
    # 2 of the handbook's 10,000 terminals and 3 of its 5,000 customers a day.
    fraud |= compromised(rng.binomial(terminals, 2 / 10_000, size=days), terminals, 28, rng)[terminal, day]
    leaked = compromised(rng.binomial(customers, 3 / 5_000, size=days), customers, 14, rng)[customer, day]
    leaked &= rng.random(len(day)) < 1 / 3
    amount = np.where(leaked, amount * 5, amount)
    return Transactions(time, customer, terminal, np.round(amount * 100).astype(np.int64), fraud | leaked)


def compromised(fresh: Ints, entities: int, days: int, rng: np.random.Generator) -> Bools:
    """[entities, days of ``fresh``]: who is compromised when, if ``fresh[day]`` more are drawn and each stays so ``days``."""
    table = np.zeros((entities, len(fresh)), dtype=bool)
    for day, count in enumerate(fresh):
        table[rng.choice(entities, size=count, replace=False), day : day + days] = True
    return table


def features(seen: Transactions) -> Doubles:
    """FEATURES of each transaction, [n, 15], from what was known at its time.

    A customer's windows end with the transaction itself. A terminal's end DELAY days before it, since a fraud is known only
    once a customer has complained; its risk is the share of frauds among its transactions in the window, 0 without any.
    """
    columns = [seen.cents / 100.0, (seen.time // DAY % 7 >= 5).astype(float), (seen.time % DAY // 3600 <= 6).astype(float)]
    mine = Timeline.of(seen.customer, seen.time)
    spent = mine.running(seen.cents)
    for days in WINDOWS:
        count, cents = mine.window(mine.running(np.ones_like(seen.cents)), days, 0), mine.window(spent, days, 0)
        columns += [count.astype(float), cents / count / 100.0]
    theirs = Timeline.of(seen.terminal, seen.time)
    frauds = theirs.running(seen.fraud.astype(np.int64))
    for days in WINDOWS:
        count = theirs.window(theirs.running(np.ones_like(seen.cents)), days, DELAY)
        bad = theirs.window(frauds, days, DELAY)
        columns += [count.astype(float), bad / np.maximum(count, 1)]
    return np.stack(columns, axis=1)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rows sorted by entity, then time: a window of an entity's past is a slice, and a sum over it two look-ups."""

    order: Ints
    keys: Ints
    span: int

    @classmethod
    def of(cls, entity: Ints, time: Ints) -> Timeline:
        span = int(time.max()) + 1 + (max(WINDOWS) + DELAY) * DAY
        order = np.lexsort((time, entity))
        return cls(order, entity[order] * span + time[order], span)

    def running(self, values: Ints) -> Ints:
        """Sums of the first 0, 1, ... n values in this order, [n + 1]; integers, so that differences are exact."""
        return np.concatenate([[0], np.cumsum(values[self.order])])

    def window(self, running: Ints, days: int, delay: int) -> Ints:
        """For each row, in the original order: the sum over its entity's rows in (t - delay - days, t - delay]."""
        floor = self.keys - self.keys % self.span
        last = np.maximum(self.keys - delay * DAY, floor - 1)
        first = np.maximum(self.keys - (delay + days) * DAY, floor - 1)
        until, since = (np.searchsorted(self.keys, edge, side="right") for edge in (last, first))
        sums = np.empty_like(self.keys)
        sums[self.order] = running[until] - running[since]
        return sums


def _nearby(home: Doubles, place: Doubles, customer: Ints, rng: np.random.Generator) -> Ints:
    """A terminal near home for each transaction, at random; -1 where there is none."""
    near = ((home[:, None, :] - place[None, :, :]) ** 2).sum(axis=2) < RADIUS**2
    count = near.sum(axis=1)
    _, flat = np.nonzero(near)
    start = np.cumsum(count) - count
    pick = start[customer] + (rng.random(len(customer)) * count[customer]).astype(np.int64)
    chosen: Ints = np.where(count[customer] > 0, flat[np.minimum(pick, len(flat) - 1)], -1)
    return chosen
