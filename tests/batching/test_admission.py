"""The door's rules, as a function of what waits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batching import DeadlineExceeded, Policy, QueueFull, TooManyRows
from batching.admission import AIM, refusal, room
from batching.pace import Pace


def paced(*measured: tuple[int, float], lag_s: float = 0.0, fill: float = 1.0) -> Pace:
    pace = Pace()
    pace.fill = fill
    for rows, seconds in measured:
        pace.called(rows, seconds, 0, 0.0)
        pace.free = 100.0
        pace.started(rows, 100.0 + lag_s, 1)
    return pace


calls = st.lists(st.tuples(st.integers(1, 200), st.floats(0, 5)), max_size=6)
fills = st.one_of(st.just(1.0), st.floats(0.01, 1))
paces = st.builds(lambda measured, lag_s, fill: paced(*measured, lag_s=lag_s, fill=fill), calls, st.floats(0, 1), fills)
policies = st.builds(Policy, max_rows=st.integers(1, 100), queue_rows=st.integers(1, 300), instances=st.integers(1, 4))


def plainly(rows: int, left_s: float, queued: int, ahead: int, slot_s: float, pace: Pace, policy: Policy) -> type | None:
    """The rules without the short cut."""
    if rows < 1:
        return ValueError
    if rows > policy.queue_rows:
        return TooManyRows
    if not left_s > 0:
        return DeadlineExceeded
    if queued + rows > policy.queue_rows:
        return QueueFull
    before = (ahead + rows - 1) // max(1.0, policy.max_rows * pace.fill)
    call_s = pace.call_s(min(ahead + rows, policy.max_rows)) + pace.lag_s
    late = ahead and slot_s + (before // policy.instances + 1) * call_s > AIM * left_s
    return DeadlineExceeded if late else None


lefts = st.one_of(st.floats(-1, 10), st.just(float("nan")))


@given(st.integers(-1, 301), lefts, st.integers(0, 300), st.integers(0, 300), st.floats(0, 5), paces, policies)
def test_the_short_cut_decides_as_the_rules_do(
    rows: int, left_s: float, queued: int, ahead: int, slot_s: float, pace: Pace, policy: Policy
) -> None:
    queued = min(queued, policy.queue_rows)
    ahead = min(ahead, queued)
    refused = refusal(rows, left_s, queued, pace, policy, ahead, slot_s)
    assert (None if refused is None else type(refused)) == plainly(rows, left_s, queued, ahead, slot_s, pace, policy)


@given(st.integers(1, 300), st.floats(0, 10), st.integers(0, 300), paces, policies)
def test_all_that_waits_goes_before_an_entry_unless_it_is_said_what_does(
    rows: int, left_s: float, queued: int, pace: Pace, policy: Policy
) -> None:
    assert str(refusal(rows, left_s, queued, pace, policy)) == str(refusal(rows, left_s, queued, pace, policy, queued))


def test_an_empty_queue_takes_whatever_fits_however_slow_the_calls_are() -> None:
    assert refusal(4, 0.001, 0, paced((64, 10.0)), Policy(queue_rows=4)) is None


def test_what_is_slow_in_another_size_does_not_refuse() -> None:
    assert refusal(1, 0.5, 1, paced((1, 0.1), (64, 10.0)), Policy()) is None


def test_the_lag_between_calls_counts_for_each_call_ahead() -> None:
    policy = Policy(max_rows=1)
    assert refusal(1, 4.1 / AIM, 3, paced((1, 1.0)), policy) is None
    assert isinstance(refusal(1, 4.1 / AIM, 3, paced((1, 1.0), lag_s=0.125), policy), DeadlineExceeded)
    assert refusal(1, 4.6 / AIM, 3, paced((1, 1.0), lag_s=0.125), policy) is None


def test_the_call_in_flight_counts_with_what_is_left_of_it() -> None:
    assert refusal(1, 2.6 / AIM, 1, paced((1, 1.0)), Policy(max_rows=1), slot_s=0.5) is None
    assert isinstance(refusal(1, 2.4 / AIM, 1, paced((1, 1.0)), Policy(max_rows=1), slot_s=0.5), DeadlineExceeded)


def test_who_joins_the_next_call_waits_for_that_one_alone() -> None:
    assert refusal(1, 1.1 / AIM, 3, paced((4, 1.0)), Policy(max_rows=4)) is None
    assert isinstance(refusal(1, 1.1 / AIM, 4, paced((4, 1.0)), Policy(max_rows=4)), DeadlineExceeded)


def test_as_many_as_there_are_slots_are_called_at_once() -> None:
    policy = Policy(max_rows=1, instances=2)
    assert refusal(1, 1.1 / AIM, 1, paced((1, 1.0)), policy) is None
    assert isinstance(refusal(1, 1.1 / AIM, 2, paced((1, 1.0)), policy), DeadlineExceeded)


def test_calls_are_counted_by_the_rows_that_they_have_not_by_those_that_they_may_have() -> None:
    assert refusal(1, 2.1 / AIM, 7, paced((4, 1.0)), Policy(max_rows=4)) is None
    assert isinstance(refusal(1, 2.1 / AIM, 7, paced((4, 1.0), fill=0.75), Policy(max_rows=4)), DeadlineExceeded)


def test_retry_after_is_the_time_in_which_the_queue_drains() -> None:
    refused = refusal(1, 1e3, 128, paced((64, 3.0)), Policy(max_rows=64, queue_rows=128, instances=2))
    assert isinstance(refused, QueueFull)
    assert refused.retry_after_s == 3.0
    assert "128 of at most 128 rows" in str(refused)


@given(st.floats(0, 10), st.floats(0, 10), st.integers(0, 300), st.floats(0, 5), st.floats(0, 5), paces, policies)
def test_whoever_finds_room_is_not_refused(
    left_s: float, more_s: float, queued: int, slot_s: float, sooner_s: float, pace: Pace, policy: Policy
) -> None:
    if queued < room(left_s, pace, policy, slot_s):
        assert refusal(1, left_s + more_s, queued, pace, policy, queued, max(0.0, slot_s - sooner_s)) is None
