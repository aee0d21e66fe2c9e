"""What the end of a worker means."""

from __future__ import annotations

import signal

from hypothesis import given
from hypothesis import strategies as st

from service.processes.board import Phase
from service.processes.restarts import AT_ONCE, FIRST_S, GOOD_S, HOPELESS, LONGEST_S, STALL_S, Exit, delay, stalled, verdict, words


def short(at: float, code: int = -9) -> Exit:
    """The end of a worker that did not last."""
    return Exit(at, code, 0.1)


def test_the_first_deaths_are_made_good_at_once() -> None:
    for deaths in range(1, AT_ONCE + 1):
        assert delay([short(float(at)) for at in range(deaths)], 10.0) == 0


def test_a_crash_loop_waits_twice_as_long_each_time_up_to_the_longest() -> None:
    waits = [delay([short(5.0)] * deaths, 5.0) for deaths in range(AT_ONCE + 1, AT_ONCE + 9)]
    assert waits == [min(FIRST_S * 2**doubled, LONGEST_S) for doubled in range(8)]
    assert delay([short(5.0)] * 64, 5.0) == LONGEST_S


def test_a_wait_counts_from_the_death() -> None:
    exits = [short(5.0)] * (AT_ONCE + 1)
    assert delay(exits, 5.0 + FIRST_S / 4) == FIRST_S * 3 / 4
    assert delay(exits, 5.0 + 2 * FIRST_S) == 0


def test_a_worker_that_served_well_for_a_while_makes_up_for_those_before_it() -> None:
    assert delay([*[short(5.0)] * 20, Exit(60.0, -9, GOOD_S)], 60.0) == 0


@given(
    st.lists(st.builds(Exit, st.floats(0, 1e6), st.integers(-64, 255), st.none() | st.floats(0, 1e6)), min_size=1),
    st.floats(0, 1e3),
)
def test_no_wait_is_negative_or_longer_than_the_longest(exits: list[Exit], passed: float) -> None:
    assert 0 <= delay(exits, exits[-1].at + passed) <= LONGEST_S


@given(st.lists(st.sampled_from((1, -6, -9, 0)), max_size=HOPELESS - 1))
def test_workers_that_die_before_any_has_served_are_tried_again_some_times(codes: list[int]) -> None:
    exits = [Exit(1.0, code, None) for code in codes]
    assert verdict(exits) is None
    assert verdict([*exits, *[Exit(2.0, 1, None)] * HOPELESS]) == 1


@given(st.lists(st.integers(-64, 255), max_size=9), st.integers(0, 9))
def test_a_refused_configuration_ends_the_server_with_its_own_code(codes: list[int], at: int) -> None:
    codes.insert(at, 2)
    assert verdict([Exit(1.0, code, None) for code in codes]) == 2


def test_an_end_is_told_in_words() -> None:
    assert words(3) == "ended with exit code 3"
    assert words(-signal.SIGSEGV) == "was killed by SIGSEGV"
    assert words(-250) == "was killed by signal 250"


def test_a_worker_stalls_when_its_loop_has_not_turned_for_long_while_it_serves() -> None:
    assert stalled(Phase.SERVING, beat=10.0, watched_since=0.0, now=10.1 + STALL_S)
    assert not stalled(Phase.SERVING, beat=10.0, watched_since=0.0, now=10.0 + STALL_S)
    for phase in (Phase.STARTING, Phase.DRAINING, Phase.GONE, Phase.NONE):
        assert not stalled(phase, beat=0.0, watched_since=0.0, now=1e6)


def test_no_worker_is_blamed_for_the_time_in_which_the_supervisor_stood_still_too() -> None:
    assert not stalled(Phase.SERVING, beat=10.0, watched_since=900.0, now=901.0)
