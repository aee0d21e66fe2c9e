"""Connections that are late at once are ended one after the other."""

from __future__ import annotations

from service.connections.departures import A_SECOND, AT_ONCE, Departures


def test_a_few_go_at_once_and_each_other_has_a_time_of_its_own() -> None:
    departures = Departures()
    waits = [departures.wait(100.0) for _ in range(AT_ONCE + A_SECOND)]
    assert max(waits[:AT_ONCE]) < 1e-9
    assert waits == sorted(waits)
    assert abs(waits[-1] - 1.0) < 1e-6


def test_nobody_waits_for_those_that_are_gone() -> None:
    departures = Departures()
    for _ in range(2 * A_SECOND):
        departures.wait(0.0)
    assert departures.wait(3.0) == 0.0
