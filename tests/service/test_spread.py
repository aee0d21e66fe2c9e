"""Who takes the next connection."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.connections.spread import IMPATIENCE_S, PATIENCE_S, Turn, decide, leaves

counts = st.integers(0, 10_000)


def test_a_worker_alone_leaves_nothing_to_others() -> None:
    assert not leaves(1_000, [])


@given(counts, st.lists(counts, min_size=1))
def test_the_least_loaded_worker_always_takes(own: int, others: list[int]) -> None:
    assert not leaves(min(own, *others), others)


@given(st.lists(st.integers(0, 7), min_size=2, max_size=8))
def test_while_there_are_few_connections_only_a_least_loaded_worker_takes(loads: list[int]) -> None:
    for own in loads:
        assert leaves(own, loads) == (own > min(loads))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=200), st.integers(2, 6))
def test_workers_that_follow_the_rule_differ_by_an_eighth_at_most(choices: list[int], slots: int) -> None:
    loads = [0] * slots
    for choice in choices:
        takers = [slot for slot, own in enumerate(loads) if not leaves(own, loads)]
        loads[takers[choice % len(takers)]] += 1
        assert max(loads) <= min(loads) + min(loads) // 8 + 1


@given(st.floats(0, 1e6), counts, st.lists(counts, max_size=8))
def test_a_connection_is_left_to_others_for_a_bounded_time(now: float, own: int, others: list[int]) -> None:
    _, turn = decide(Turn(), now, own, others)
    assert decide(turn, now + 2 * PATIENCE_S, own, others)[0]


@given(st.floats(0, 1e6), counts, st.lists(counts, max_size=8))
def test_an_impatient_worker_leaves_nothing(now: float, own: int, others: list[int]) -> None:
    assert decide(Turn(None, now + IMPATIENCE_S), now, own, others)[0]
