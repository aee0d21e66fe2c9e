"""What the overload test makes of what it saw, and its client against servers that it knows."""

from __future__ import annotations

import os
import socket
import threading
import time
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.flood import LOST, OK, WRONG, Plan, Question, Tally, Unreadable, answer, flood, outcome
from loadtests.forest import rows_for
from loadtests.overload import Ran, doubts, faults, percentile_ms

REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
REFUSAL = "503 queue_full"


def ran(accepted: list[float], refused: list[float], deadline_ms: int | None = 200) -> Ran:
    """One second in which ten answers are the peak; latencies in seconds."""
    tally = Tally({OK: array("d", accepted), REFUSAL: array("d", refused)})
    return Ran(2.0, deadline_ms, 20.0, 10.0, 1.0, tally)


def test_a_server_that_keeps_its_goodput_and_refuses_fast_has_no_faults() -> None:
    assert list(faults(ran([0.2] * 9, [0.05] * 50))) == []


def test_an_answer_past_its_deadline_is_no_goodput() -> None:
    found = ran([0.1] * 8 + [0.201] * 2, [])
    assert found.goodput == 8
    assert [fault.split()[0] for fault in faults(found)] == ["goodput", "the"]
    assert list(faults(ran([0.1] * 8 + [0.201] * 2, [], None))) == []  # the model's own deadline is a second


def test_slow_refusals_and_whatever_is_neither_answer_nor_refusal_are_faults() -> None:
    assert [fault.split()[0] for fault in faults(ran([0.1] * 10, [0.001] * 50 + [0.06] * 5))] == ["refusals"]
    odd = ran([0.1] * 10, [])
    odd.tally.add(WRONG, 0.1)
    odd.tally.add(LOST, 0.1)
    assert list(faults(odd)) == ["1 requests: wrong answer", "1 requests: connection lost"]


def test_a_client_that_was_busy_late_or_out_of_connections_is_told_of() -> None:
    fine = ran([0.1], [])
    assert list(doubts(fine)) == []
    fine.tally.busy, fine.tally.unsent = 0.9, 7
    fine.tally.late.extend([0.03])
    assert len(list(doubts(fine))) == 3


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(0, 100))
def test_a_percentile_is_a_latency_that_so_many_do_not_exceed(latencies: list[float], percent: float) -> None:
    found = percentile_ms(latencies, percent)
    assert found in [1e3 * latency for latency in latencies]
    assert sum(1e3 * latency <= found for latency in latencies) >= percent / 100 * len(latencies) - 1e-6


@given(st.integers(0, len(REPLY) - 1))
def test_an_answer_is_read_when_it_is_whole(cut: int) -> None:
    assert answer(REPLY[:cut]) is None
    assert answer(REPLY) == (200, b"ok", True)


def test_what_is_no_answer_of_known_length_is_not_guessed_at() -> None:
    with pytest.raises(Unreadable, match="Content-Length"):
        answer(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")


def test_outcomes_are_told_apart_by_status_and_code() -> None:
    assert outcome(200, b"ok", b"ok") == OK
    assert outcome(200, b"no", b"ok") == WRONG
    assert outcome(504, b'{"error":"x","code":"deadline_exceeded"}', b"ok") == "504 deadline_exceeded"
    assert outcome(502, b"Bad Gateway", b"ok") == "502"


def test_rows_are_chosen_for_the_wanted_rate_within_bounds() -> None:
    assert rows_for(1000, 2000, 8) == 16
    assert rows_for(1000, 10, 8) == 1
    assert rows_for(1000, 1e6, 8) == 64


def test_the_client_counts_what_was_due_after_the_warm_up_and_finds_its_connections_again() -> None:
    """Every tenth connection is closed instead of answered."""

    def serve(listener: socket.socket) -> None:
        threads = []
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                break
            threads.append(threading.Thread(target=converse, args=(connection,), daemon=True))
            threads[-1].start()

    def converse(connection: socket.socket) -> None:
        with connection:
            for number in range(10):
                if connection.recv(4096) == b"" or number == 9:
                    return
                connection.sendall(REPLY)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        port = listener.getsockname()[1]
        cores = frozenset(os.sched_getaffinity(0))
        plan = Plan(port, [Question(b"?", b"ok")], 4, 200.0, time.monotonic() + 0.5, 0.1, 0.4, cores)
        tally = flood(plan)
        listener.shutdown(socket.SHUT_RDWR)
    assert sum(tally.outcomes.values()) + tally.unsent == 80
    assert tally.outcomes[LOST] > 0
    assert tally.outcomes[OK] > tally.outcomes[LOST]
