"""The window's rules, as properties of (view, policy, now); no clock."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from batching.policy import Policy
from batching.window import Close, View, Wait, decide, share

NOW = 1000.0
times = st.floats(NOW - 1, NOW + 1)
durations = st.floats(0, 1)
policies = st.builds(
    Policy,
    max_rows=st.integers(1, 100),
    window_ms=st.floats(0, 2000),
    close=st.sampled_from(("early", "full")),
    instances=st.integers(1, 8),
)
views = st.builds(
    View,
    rows=st.integers(1, 200),
    oldest=st.floats(NOW - 3, NOW),
    deadline=st.one_of(st.floats(NOW, NOW + 3), st.just(math.inf)),
    rested=st.one_of(times, st.just(-math.inf)),
    call_s=durations,
    gap_s=st.one_of(durations, st.just(math.inf)),
)


def window(rows: int = 1, age_s: float = 0.0, left_s: float = math.inf, rested: bool = False, gap_s: float = 0.0) -> View:
    return View(rows, NOW - age_s, NOW + left_s, -math.inf if rested else NOW + 0.5, 0.1, gap_s)


EARLY = Policy(max_rows=8, window_ms=1000)
FULL = Policy(max_rows=8, window_ms=1000, close="full")


@given(views, policies)
def test_a_full_window_closes(view: View, policy: Policy) -> None:
    assume(view.rows >= policy.max_rows)
    assert decide(view, policy, NOW) == Close("full")


@given(views, policies)
def test_a_window_that_is_old_enough_closes(view: View, policy: Policy) -> None:
    assume(view.oldest + policy.window_s <= NOW)
    assert isinstance(decide(view, policy, NOW), Close)


@given(views, policies)
def test_no_window_waits_past_its_end_nor_until_it_is_too_late(view: View, policy: Policy) -> None:
    decision = decide(view, policy, NOW)
    if isinstance(decision, Wait):
        assert NOW < decision.until <= min(view.oldest + policy.window_s, view.deadline - view.call_s)


@given(views, policies)
def test_what_waits_closes_at_the_time_it_waits_for(view: View, policy: Policy) -> None:
    decision = decide(view, policy, NOW)
    if isinstance(decision, Wait):
        assert isinstance(decide(view, policy, decision.until), Close)


@given(views, policies, durations)
def test_what_closes_now_closes_later_too(view: View, policy: Policy, later: float) -> None:
    if isinstance(decide(view, policy, NOW), Close):
        assert isinstance(decide(view, policy, NOW + later), Close)


@given(views, policies)
def test_early_never_closes_later_than_full(view: View, policy: Policy) -> None:
    full = decide(view, Policy(policy.max_rows, policy.window_ms, "full", policy.instances), NOW)
    early = decide(view, Policy(policy.max_rows, policy.window_ms, "early", policy.instances), NOW)
    if isinstance(full, Close):
        assert early == full
    elif isinstance(early, Wait):
        assert early.until <= full.until


@given(views, policies)
def test_full_knows_neither_pace_nor_rest(view: View, policy: Policy) -> None:
    assume(policy.close == "full")
    decision = decide(view, policy, NOW)
    other = View(view.rows, view.oldest, view.deadline, -math.inf, view.call_s, math.inf)
    assert decide(other, policy, NOW) == decision
    assert not isinstance(decision, Close) or decision.reason in ("full", "window", "deadline")


@pytest.mark.parametrize(
    ("view", "policy", "decision"),
    [
        (window(rows=8), FULL, Close("full")),
        (window(rows=9), FULL, Close("full")),
        (window(rows=7), FULL, Wait(NOW + 1)),
        (window(age_s=0.25), FULL, Wait(NOW + 0.75)),
        (window(age_s=1), FULL, Close("window")),
        (window(left_s=0.1), FULL, Close("deadline")),
        (window(left_s=0.5), FULL, Wait(NOW + 0.4)),
        (window(gap_s=1.5), FULL, Wait(NOW + 1)),
        (window(gap_s=1.5), EARLY, Close("early")),
        (window(gap_s=math.inf), EARLY, Close("early")),
        (window(gap_s=0.9, age_s=0.25), EARLY, Close("early")),
        (window(gap_s=0.9), EARLY, Wait(NOW + 0.5)),
        (window(gap_s=0.9, rested=True), EARLY, Close("idle")),
        (window(gap_s=0.1, age_s=0.75), EARLY, Wait(NOW + 0.25)),
        (window(age_s=1), EARLY, Close("window")),
        (window(rows=8), EARLY, Close("full")),
        (window(), Policy(window_ms=0), Close("window")),
    ],
)
def test_the_rules_by_example(view: View, policy: Policy, decision: Close | Wait) -> None:
    assert decide(view, policy, NOW) == decision


@given(st.integers(1, 10_000), st.integers(1, 500), st.integers(1, 16))
def test_shares_taken_one_after_the_other_empty_the_backlog_evenly_or_fill_every_slot(rows: int, max_rows: int, slots: int) -> None:
    left, shares = rows, []
    for idle in range(slots, 0, -1):
        if left:
            shares.append(share(left, max_rows, idle))
            left -= shares[-1]
    assert all(0 < part <= max_rows for part in shares)
    assert max(shares) - min(shares) <= 1
    assert left == 0 or (len(shares) == slots and set(shares) == {max_rows})


def test_without_an_idle_slot_the_share_is_that_of_one() -> None:
    assert share(10, 64, 0) == 10
