"""The ledger of jobs: what must hold whatever is asked of it, and whoever is killed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from service.errors import IdempotencyClash, JobsFull, StoreUnavailable, UnknownJob
from service.guard.principal import Budget, Principal, Scope
from service.jobs.ledger import LEASE_S, RECEIVE_S, Ledger
from service.jobs.ledger_schema import FILE
from service.jobs.record import Claim, Job, State
from service.sections import Jobs

ADA = Principal("key:ada", frozenset({Scope.INFER}), frozenset({"m"}), Budget(rows_per_s=3.0), 4e9)
BOB = Principal("address:127.0.0.1", frozenset(Scope))
MAX_AGE_S = 1000.0
BOUNDS = Jobs(max_jobs=20, max_bytes=100_000, max_age_s=MAX_AGE_S, chunk_rows=3)


class Clock:
    """Stands still but when it is moved."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    made = Ledger(tmp_path, BOUNDS, clock)
    yield made
    made.close()


def rows_of(*numbers: int) -> list[bytes]:
    return [b'{"x": %d}' % number for number in numbers]


def queued(ledger: Ledger, rows: int = 4, owner: Principal = ADA, key: str | None = None, callback: str | None = None) -> Job:
    job, _ = ledger.create(owner, "m", idempotency_key=key, callback=callback)
    ledger.append(job.id, rows_of(*range(rows)))
    return ledger.seal(job.id)


def claimed(ledger: Ledger) -> Claim:
    claim = ledger.claim()
    assert claim is not None
    return claim


def results(ledger: Ledger, job_id: str) -> list[bytes]:
    found: list[bytes] = []
    while more := ledger.results(job_id, len(found), 2):
        found += more
    return found


def finished(ledger: Ledger, rows: int = 2) -> Job:
    job = queued(ledger, rows)
    assert ledger.put_results(claimed(ledger), 0, [b"r"] * rows, 0)
    return ledger.get(job.id)


def swept(ledger: Ledger) -> None:
    while ledger.sweep():
        pass


# -- a job's way -----------------------------------------------------------------------------------------------------------


def test_a_job_is_shown_once_its_body_is_there(ledger: Ledger) -> None:
    job, there = ledger.create(ADA, "m", "3", None)
    assert not there
    ledger.append(job.id, rows_of(1, 2))
    with pytest.raises(UnknownJob):
        ledger.get(job.id)
    assert ledger.listed() == []
    assert ledger.seal(job.id) == ledger.get(job.id) == replace(job, state=State.QUEUED, rows=2)


def test_a_job_is_over_with_its_last_result(ledger: Ledger, clock: Clock) -> None:
    job = queued(ledger, 4)
    claim = claimed(ledger)
    assert claim.job == replace(job, state=State.RUNNING)
    assert ledger.put_results(claim, 0, [b"a", b"b", b"c"], 1)
    assert ledger.get(job.id) == replace(job, state=State.RUNNING, done=3, failed=1)
    clock.now += 1
    assert ledger.put_results(claim, 3, [b"d"], 0)
    assert ledger.get(job.id) == replace(job, state=State.SUCCEEDED, done=4, failed=1, finished=clock.now)
    assert results(ledger, job.id) == [b"a", b"b", b"c", b"d"]


def test_whoever_runs_a_job_knows_on_whose_behalf(ledger: Ledger) -> None:
    queued(ledger, owner=ADA)
    queued(ledger, owner=BOB)
    assert [claimed(ledger).principal, claimed(ledger).principal] == [ADA, BOB]


def test_a_job_without_rows_is_over_at_once(ledger: Ledger) -> None:
    assert queued(ledger, 0).state is State.SUCCEEDED


def test_a_row_may_have_line_feeds(ledger: Ledger) -> None:
    job, _ = ledger.create(ADA, "m")
    ledger.append(job.id, [b'{"x":\n 1}', b"2"])
    ledger.seal(job.id)
    assert ledger.rows_after(claimed(ledger), 0, 9) == [b'{"x":  1}', b"2"]


def test_what_was_put_is_there_for_who_opens_the_file_later(ledger: Ledger, tmp_path: Path) -> None:
    job = queued(ledger)
    assert ledger.put_results(claimed(ledger), 0, [b"a", b"b"], 0)
    other = Ledger(tmp_path, BOUNDS)
    assert results(other, job.id) == [b"a", b"b"]
    other.close()


def test_the_ledger_is_its_owners_alone(ledger: Ledger, tmp_path: Path) -> None:
    queued(ledger)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


# -- leases ----------------------------------------------------------------------------------------------------------------


def test_a_job_is_claimed_once(ledger: Ledger) -> None:
    queued(ledger)
    claimed(ledger)
    assert ledger.claim() is None


def test_a_worker_that_is_gone_is_taken_over_from_and_comes_too_late(ledger: Ledger, clock: Clock) -> None:
    job = queued(ledger, 3)
    gone = claimed(ledger)
    assert ledger.put_results(gone, 0, [b"a"], 0)
    clock.now += LEASE_S
    taken = claimed(ledger)
    assert taken.job.done == 1
    assert ledger.rows_after(taken, 1, 9) == rows_of(1, 2)
    assert not ledger.put_results(gone, 1, [b"x"], 0)
    assert not ledger.renew(gone)
    assert not ledger.settle(gone, State.FAILED, "gone")
    assert ledger.rows_after(gone, 1, 9) == []
    assert results(ledger, job.id) == [b"a"]


def test_a_lease_that_is_renewed_holds(ledger: Ledger, clock: Clock) -> None:
    queued(ledger)
    claim = claimed(ledger)
    clock.now += LEASE_S - 1
    assert ledger.renew(claim)
    clock.now += LEASE_S - 1
    assert ledger.claim() is None


@pytest.mark.parametrize("first", [0, 2])
def test_results_that_do_not_follow_the_last_are_not_written(ledger: Ledger, first: int) -> None:
    job = queued(ledger)
    claim = claimed(ledger)
    assert ledger.put_results(claim, 0, [b"a"], 0)
    assert not ledger.put_results(claim, first, [b"x"], 0)
    assert not ledger.put_results(claim, 1, [b"x"] * 4, 0)  # of 3 rows that are left
    assert results(ledger, job.id) == [b"a"]


def test_a_job_that_was_given_back_is_claimed_when_it_is_due(ledger: Ledger, clock: Clock) -> None:
    queued(ledger)
    claim = claimed(ledger)
    ledger.defer(claim, 5.0)
    assert ledger.claim() is None
    assert not ledger.put_results(claim, 0, [b"x"], 0)
    clock.now += 5
    assert claimed(ledger).job.state is State.RUNNING


def test_who_has_few_jobs_running_goes_before_who_has_many_waiting(ledger: Ledger) -> None:
    for _ in range(3):
        queued(ledger, owner=ADA)
    queued(ledger, owner=BOB)
    assert [claimed(ledger).principal for _ in range(4)] == [ADA, BOB, ADA, ADA]


# -- ends ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("running", [False, True])
def test_a_cancelled_job_keeps_its_results_and_gets_no_more(ledger: Ledger, running: bool) -> None:
    job = queued(ledger)
    claim = claimed(ledger)
    assert ledger.put_results(claim, 0, [b"a"], 0)
    if not running:
        ledger.defer(claim, 0.0)
    assert ledger.cancel(job.id).state is State.CANCELLED
    assert not ledger.put_results(claim, 1, [b"x"], 0)
    swept(ledger)
    assert results(ledger, job.id) == [b"a"]
    assert ledger.claim() is None


def test_a_job_that_is_over_is_not_cancelled(ledger: Ledger) -> None:
    job = finished(ledger)
    assert ledger.cancel(job.id) == job


def test_a_deleted_job_is_gone_with_all_it_took(ledger: Ledger, tmp_path: Path) -> None:
    running, over = queued(ledger), finished
    claim = claimed(ledger)
    assert ledger.put_results(claim, 0, [b"a"], 0)
    ledger.delete(running.id)
    with pytest.raises(UnknownJob):
        ledger.results(running.id, 0, 1)
    assert not ledger.put_results(claim, 1, [b"x"], 0)
    ledger.delete(over(ledger).id)
    swept(ledger)
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        assert [connection.execute(f"SELECT count(*) FROM {name}").fetchone() for name in ("jobs", "rows", "results")] == [(0,)] * 3


def test_a_finished_job_is_kept_for_its_time(ledger: Ledger, clock: Clock) -> None:
    job = finished(ledger)
    clock.now += MAX_AGE_S - 1
    assert ledger.expire() == 0
    clock.now += 2
    assert ledger.expire() == 1
    with pytest.raises(UnknownJob):
        ledger.get(job.id)
    assert ledger.expire() == 0


def test_a_job_that_is_not_done_in_time_fails(ledger: Ledger, clock: Clock) -> None:
    job = queued(ledger)
    clock.now += MAX_AGE_S + 1
    assert ledger.expire() == 1
    over = ledger.get(job.id)
    assert (over.state, over.error) == (State.FAILED, "the job was not done within [jobs] max_age_s, which is 1000")


def test_a_body_that_stopped_is_forgotten(ledger: Ledger, clock: Clock) -> None:
    job, _ = ledger.create(ADA, "m")
    clock.now += RECEIVE_S + 1
    assert ledger.expire() == 1
    with pytest.raises(UnknownJob):
        ledger.append(job.id, rows_of(1))


# -- bounds ----------------------------------------------------------------------------------------------------------------


def test_no_more_jobs_are_kept_than_may_be(ledger: Ledger, clock: Clock) -> None:
    first = finished(ledger)
    for _ in range(BOUNDS.max_jobs - 1):
        queued(ledger)
    clock.now += 400
    with pytest.raises(JobsFull, match="20 jobs are kept") as refused:
        ledger.create(ADA, "m")
    assert refused.value.retry_after_s == MAX_AGE_S - 400
    ledger.delete(first.id)
    ledger.create(ADA, "m")


def test_rows_over_the_bound_of_bytes_are_refused_and_leave_nothing(ledger: Ledger) -> None:
    job, _ = ledger.create(ADA, "m")
    ledger.append(job.id, rows_of(1))
    large = [os.urandom(100).hex().encode() for _ in range(2000)]
    with pytest.raises(JobsFull, match="max_bytes"):
        ledger.append(job.id, large)
    ledger.append(job.id, rows_of(2))
    assert ledger.seal(job.id).rows == 2


# -- the same request again ------------------------------------------------------------------------------------------------


def test_a_request_that_comes_again_finds_its_job(ledger: Ledger) -> None:
    job = queued(ledger, key="k")
    assert ledger.create(ADA, "m", idempotency_key="k") == (job, True)
    assert ledger.create(BOB, "m", idempotency_key="k")[1] is False


def test_a_key_is_of_one_request(ledger: Ledger) -> None:
    job, _ = ledger.create(ADA, "m", idempotency_key="k")
    with pytest.raises(IdempotencyClash, match="still arrives"):
        ledger.create(ADA, "m", idempotency_key="k")
    ledger.append(job.id, rows_of(1))
    ledger.seal(job.id, b"digest")
    ledger.check(job.id, b"digest")
    with pytest.raises(IdempotencyClash, match="another request"):
        ledger.check(job.id, b"other")
    with pytest.raises(IdempotencyClash, match="another request"):
        ledger.create(ADA, "other", idempotency_key="k")
    with pytest.raises(IdempotencyClash, match="another request"):
        ledger.create(ADA, "m", idempotency_key="k", body_digest=b"other")


def test_the_key_of_a_forgotten_job_may_be_used_again(ledger: Ledger) -> None:
    ledger.delete(queued(ledger, key="k").id)
    job, _ = ledger.create(ADA, "m", idempotency_key="k")
    ledger.abandon(job.id)
    assert ledger.create(ADA, "m", idempotency_key="k")[1] is False


# -- callbacks -------------------------------------------------------------------------------------------------------------


def test_a_callback_is_due_until_it_was_delivered(ledger: Ledger, clock: Clock) -> None:
    job = queued(ledger, 1, callback="https://shop.example/done")
    assert ledger.claim_callback(9.0) is None
    ledger.put_results(claimed(ledger), 0, [b"a"], 0)
    first = ledger.claim_callback(9.0)
    assert first is not None
    assert (first.job.id, first.tries) == (job.id, 0)
    assert ledger.claim_callback(9.0) is None
    clock.now += 9
    second = ledger.claim_callback(9.0)
    assert second is not None
    assert second.tries == 1
    ledger.called(job.id, 60.0)
    clock.now += 60
    assert ledger.claim_callback(9.0) is not None
    ledger.called(job.id)
    clock.now += 100
    assert ledger.claim_callback(9.0) is None


# -- trouble ---------------------------------------------------------------------------------------------------------------


def test_a_damaged_ledger_is_told_of_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(StoreUnavailable, match="the ledger of jobs cannot be used: its file is damaged"):
        Ledger(tmp_path, BOUNDS).listed()
    assert (tmp_path / FILE).read_bytes() == b"no database" * 1000


def test_a_newer_ledger_is_left_alone(ledger: Ledger, tmp_path: Path) -> None:
    queued(ledger)
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreUnavailable, match="newer Tureen"):
        Ledger(tmp_path, BOUNDS).listed()


# -- all of it, in any order -----------------------------------------------------------------------------------------------


@dataclass
class Expected:
    """What is known of a job from what was done to it."""

    rows: list[bytes] = field(default_factory=list)
    done: list[bytes] = field(default_factory=list)
    state: State = State.RECEIVING
    lease: str | None = None
    created: float = 0.0
    heard: float = 0.0
    finished: float = 0.0


class Keeping(RuleBasedStateMachine):
    """Two workers on one file, of which either is killed at any time, and callers who ask for anything."""

    jobs = Bundle("jobs")
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.clock = Clock()
        self.ledgers = [self.opened(), self.opened()]
        self.expected: dict[str, Expected] = {}
        self.number = 0

    def opened(self) -> Ledger:
        return Ledger(Path(self.directory.name), BOUNDS, self.clock)

    def teardown(self) -> None:
        for ledger in self.ledgers:
            ledger.close()
        self.directory.cleanup()

    def fresh(self, count: int) -> list[bytes]:
        """Lines that nobody else has."""
        self.number += count
        return [b"%d" % number for number in range(self.number - count, self.number)]

    @rule(target=jobs, worker=st.integers(0, 1), owner=st.sampled_from([ADA, BOB]))
    def create(self, worker: int, owner: Principal) -> object:
        self.expired()
        try:
            job, _ = self.ledgers[worker].create(owner, "m")
        except JobsFull:
            assert len(self.expected) >= BOUNDS.max_jobs
            return multiple()
        self.expected[job.id] = Expected(created=self.clock.now, heard=self.clock.now)
        return job.id

    @rule(worker=st.integers(0, 1), job_id=jobs, count=st.integers(1, 8))
    def append(self, worker: int, job_id: str, count: int) -> None:
        expected, rows = self.expected.get(job_id), self.fresh(count)
        if expected is None or expected.state is not State.RECEIVING:
            with pytest.raises(UnknownJob):
                self.ledgers[worker].append(job_id, rows)
        else:
            expected.rows += rows
            expected.heard = self.clock.now
            assert self.ledgers[worker].append(job_id, rows) == len(expected.rows)

    @rule(worker=st.integers(0, 1), job_id=jobs)
    def seal(self, worker: int, job_id: str) -> None:
        expected = self.expected.get(job_id)
        if expected is not None and expected.state is State.RECEIVING:
            self.ledgers[worker].seal(job_id)
            self.end(expected, State.QUEUED if expected.rows else State.SUCCEEDED)

    @rule(worker=st.integers(0, 1), job_id=jobs)
    def abandon(self, worker: int, job_id: str) -> None:
        self.ledgers[worker].abandon(job_id)
        if job_id in self.expected and self.expected[job_id].state is State.RECEIVING:
            del self.expected[job_id]

    @rule(target=claims, worker=st.integers(0, 1))
    def claim(self, worker: int) -> object:
        claim = self.ledgers[worker].claim()
        if claim is None:
            assert not any(expected.state is State.QUEUED for expected in self.expected.values())
            return multiple()
        expected = self.expected[claim.job.id]
        assert expected.state in (State.QUEUED, State.RUNNING)
        expected.state, expected.lease = State.RUNNING, claim.lease
        assert (claim.job.rows, claim.job.done) == (len(expected.rows), len(expected.done))
        return claim

    @rule(worker=st.integers(0, 1), claim=claims, limit=st.integers(1, 8), skip=st.sampled_from([0, 0, 0, -1, 1]))
    def work(self, worker: int, claim: Claim, limit: int, skip: int) -> None:
        ledger, expected = self.ledgers[worker], self.expected.get(claim.job.id)
        if expected is None or expected.state is not State.RUNNING or expected.lease != claim.lease:
            assert not ledger.put_results(claim, 0 if expected is None else len(expected.done), [b"late"], 0)
            return
        first = len(expected.done)
        rows = ledger.rows_after(claim, first, limit)
        assert 0 < len(rows) <= limit
        assert rows == expected.rows[first : first + len(rows)]
        put = ledger.put_results(claim, first + skip, [b"of " + row for row in rows], 0)
        assert put is (skip == 0)
        if put:
            expected.done += [b"of " + row for row in rows]
            if len(expected.done) == len(expected.rows):
                self.end(expected, State.SUCCEEDED)

    @rule(worker=st.integers(0, 1), claim=consumes(claims))
    def give_back(self, worker: int, claim: Claim) -> None:
        self.ledgers[worker].defer(claim, 0.0)
        expected = self.expected.get(claim.job.id)
        if expected is not None and expected.state is State.RUNNING and expected.lease == claim.lease:
            expected.state = State.QUEUED

    @rule(worker=st.integers(0, 1))
    def crash(self, worker: int) -> None:
        self.ledgers[worker].close()
        self.ledgers[worker] = self.opened()

    @rule(seconds=st.sampled_from([1.0, LEASE_S, RECEIVE_S + 1, MAX_AGE_S / 2]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(worker=st.integers(0, 1), job_id=jobs)
    def cancel(self, worker: int, job_id: str) -> None:
        expected = self.expected.get(job_id)
        if expected is not None and expected.state is not State.RECEIVING:
            if not expected.state.final:
                self.end(expected, State.CANCELLED)
            assert self.ledgers[worker].cancel(job_id).state is expected.state

    @rule(worker=st.integers(0, 1), job_id=jobs)
    def delete(self, worker: int, job_id: str) -> None:
        expected = self.expected.get(job_id)
        if expected is not None and expected.state is not State.RECEIVING:
            self.ledgers[worker].delete(job_id)
            del self.expected[job_id]

    @rule(worker=st.integers(0, 1))
    def sweep(self, worker: int) -> None:
        self.ledgers[worker].sweep()

    @rule(worker=st.integers(0, 1))
    def expire(self, worker: int) -> None:
        self.ledgers[worker].expire()
        self.expired()

    def expired(self) -> None:
        """What is too old is over, or forgotten."""
        now = self.clock.now
        for job_id, expected in [*self.expected.items()]:
            if expected.state.final:
                if expected.finished < now - MAX_AGE_S:
                    del self.expected[job_id]
            elif expected.state is State.RECEIVING:
                if expected.heard < now - RECEIVE_S:
                    del self.expected[job_id]
            elif expected.created < now - MAX_AGE_S:
                self.end(expected, State.FAILED)

    def end(self, expected: Expected, state: State) -> None:
        expected.state, expected.finished = state, self.clock.now

    @invariant()
    def every_row_has_its_result_once_and_in_order(self) -> None:
        for ledger in self.ledgers:
            shown = {job.id: job for job in ledger.listed()}
            due = {job_id for job_id, expected in self.expected.items() if expected.state is not State.RECEIVING}
            assert shown.keys() == due
            for job_id, job in shown.items():
                expected = self.expected[job_id]
                assert (job.state, job.rows, job.done) == (expected.state, len(expected.rows), len(expected.done))
                assert results(ledger, job_id) == expected.done


Keeping.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestKeeping = Keeping.TestCase
