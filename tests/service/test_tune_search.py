"""The search of `tureen tune`, against a machine whose best settings are known."""

from __future__ import annotations

from collections import Counter

import pytest

from service.commands.tune.choice import Goal, sustained
from service.commands.tune.plan import plan
from service.commands.tune.search import Outcome, Search
from service.commands.tune.settings import Settings, Space
from tests.service.simulated import Machine

SPACE = Space(1024, 10.0, 2, 1)
POOR = Settings(2, 2.0, "early", 1, 1)
GOOD = Settings(64, 0.0, "early", 2, 1)


def found(machine: Machine, current: Settings, goal: Goal, seconds: float = 120.0) -> Outcome:
    planned = plan(seconds, 0.1, len(SPACE.coarse(current)), 2 if goal.rate is None else 1)
    search = Search(machine.measure, goal, SPACE, current, planned, machine.now)
    search.run()
    return search.outcome()


@pytest.mark.parametrize("noise", [0.0, 0.2])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_much_better_settings_are_found_and_advised(noise: float, seed: int) -> None:
    machine, goal = Machine(noise, seed), Goal(20.0)
    outcome = found(machine, POOR, goal)
    assert outcome.met
    assert machine.capacity(outcome.advised.settings) >= 4 * machine.capacity(POOR)
    assert (sustained(outcome.advised, goal) or 0) > 3 * (sustained(outcome.current, goal) or 0)


@pytest.mark.parametrize("seed", range(1, 9))
@pytest.mark.parametrize("goal", [Goal(20.0), Goal(20.0, 1000.0)], ids=["highest", "rate"])
def test_other_settings_are_advised_only_where_they_were_better_in_pairs(goal: Goal, seed: int) -> None:
    outcome = found(Machine(0.3, seed), GOOD, goal)
    assert outcome.advised is outcome.current or (outcome.verdict is not None and outcome.verdict.better)


def test_noise_alone_seldom_changes_settings() -> None:
    changed = [
        outcome
        for seed in range(40)
        if (outcome := found(Machine(0.3, seed), GOOD, Goal(20.0, 500.0))).advised is not outcome.current
    ]
    assert len(changed) <= 6  # 5 % of 40 are 2, and what is better by a few percent is better


def test_at_a_rate_that_the_current_settings_cannot_take_others_are_advised() -> None:
    outcome = found(Machine(0.2), POOR, Goal(20.0, 2000.0))
    assert outcome.met
    assert outcome.advised.settings.max_rows > 2
    assert outcome.verdict is not None
    assert outcome.verdict.better


def test_a_goal_that_nothing_meets_is_said_not_to_be_met() -> None:
    outcome = found(Machine(0.1), GOOD, Goal(5.0))
    assert not outcome.met
    assert outcome.advised.paced


@pytest.mark.parametrize("seconds", [6.0, 20.0, 120.0, 1200.0])
def test_the_time_is_kept_to_a_turn_or_two(seconds: float) -> None:
    machine = Machine(0.2)
    outcome = found(machine, POOR, Goal(20.0), seconds)
    assert outcome.seconds <= seconds + 4 * 3.1 * min(1.0, seconds / 60)
    assert outcome.seconds == machine.clock


def test_the_current_settings_take_part_in_every_round() -> None:
    machine = Machine(0.2)
    found(machine, POOR, Goal(20.0))
    turns = Counter(settings for settings, _ in machine.turns)
    assert turns[POOR] >= turns.most_common(2)[1][1]
    last = max(n for n, (settings, _) in enumerate(machine.turns) if settings == POOR)
    assert last >= len(machine.turns) - 2


def test_pairs_are_of_one_rate_and_take_turns_at_going_first() -> None:
    machine = Machine(0.0)
    outcome = found(machine, POOR, Goal(20.0, 2000.0))
    assert outcome.verdict is not None
    pairs = machine.turns[-2 * outcome.verdict.pairs :]
    firsts = [pairs[n][0] for n in range(0, len(pairs), 2)]
    assert {rate for _, rate in pairs} == {2000.0}
    assert [settings == POOR for settings in firsts] == [n % 2 == 0 for n in range(len(firsts))]


@pytest.mark.parametrize("turns", [1, 5, 20, 50])
def test_an_interrupt_gives_the_best_so_far(turns: int) -> None:
    outcome = found(Machine(0.1, interrupt_after=turns), POOR, Goal(20.0))
    assert outcome.interrupted
    assert sum(len(one.points) for one in outcome.tried) == turns
    assert outcome.tried[0] in outcome.tried
