"""The door's rules, as a function of what waits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batching import DeadlineExceeded, Policy, QueueFull, TooManyRows
from batching.admission import refusal
from batching.pace import Pace


def paced(*measured: tuple[int, float]) -> Pace:
    pace = Pace()
    for rows, seconds in measured:
        pace.called(rows, seconds, 0)
    return pace


paces = st.lists(st.tuples(st.integers(1, 200), st.floats(0, 5)), max_size=6).map(lambda measured: paced(*measured))
policies = st.builds(Policy, max_rows=st.integers(1, 100), queue_rows=st.integers(1, 300), instances=st.integers(1, 4))


def plainly(rows: int, left_s: float, queued: int, ahead: int, pace: Pace, policy: Policy) -> type | None:
    """The rules without the short cut."""
    if rows < 1:
        return ValueError
    if rows > policy.queue_rows:
        return TooManyRows
    if not left_s > 0:
        return DeadlineExceeded
    if queued + rows > policy.queue_rows:
        return QueueFull
    calls = -(-ahead // policy.max_rows)
    late = ahead and calls * pace.call_s(min(ahead, policy.max_rows)) / policy.instances > left_s
    return DeadlineExceeded if late else None


lefts = st.one_of(st.floats(-1, 10), st.just(float("nan")))


@given(st.integers(-1, 301), lefts, st.integers(0, 300), st.integers(0, 300), paces, policies)
def test_the_short_cut_decides_as_the_rules_do(
    rows: int, left_s: float, queued: int, ahead: int, pace: Pace, policy: Policy
) -> None:
    queued = min(queued, policy.queue_rows)
    ahead = min(ahead, queued)
    refused = refusal(rows, left_s, queued, pace, policy, ahead)
    assert (None if refused is None else type(refused)) == plainly(rows, left_s, queued, ahead, pace, policy)


@given(st.integers(1, 300), st.floats(0, 10), st.integers(0, 300), paces, policies)
def test_all_that_waits_goes_before_an_entry_unless_it_is_said_what_does(
    rows: int, left_s: float, queued: int, pace: Pace, policy: Policy
) -> None:
    assert str(refusal(rows, left_s, queued, pace, policy)) == str(refusal(rows, left_s, queued, pace, policy, queued))


def test_an_empty_queue_takes_whatever_fits_however_slow_the_calls_are() -> None:
    assert refusal(4, 0.001, 0, paced((64, 10.0)), Policy(queue_rows=4)) is None


def test_what_is_slow_in_another_size_does_not_refuse() -> None:
    assert refusal(1, 0.5, 1, paced((1, 0.1), (64, 10.0)), Policy()) is None


def test_retry_after_is_the_time_in_which_the_queue_drains() -> None:
    refused = refusal(1, 1e3, 128, paced((64, 3.0)), Policy(max_rows=64, queue_rows=128, instances=2))
    assert isinstance(refused, QueueFull)
    assert refused.retry_after_s == 3.0
    assert "128 of at most 128 rows" in str(refused)
