from __future__ import annotations

import pytest

from service.health import Ailment, ailments
from service.processes.board import Board, Phase
from service.store.reconcile import Told

NOW = 1000.0


def board(*phases: Phase) -> Board:
    """Lines in those phases; who serves is ready, and one line is spare."""
    made = Board.create(len(phases) + 1)
    for line, phase in zip(made, phases, strict=False):
        line.phase, line.ready, line.beat, line.pid = phase, phase is Phase.SERVING, NOW - 0.5, 100 + line.slot
    return made


def test_a_server_is_ready_when_all_its_workers_are() -> None:
    assert ailments(board(Phase.SERVING, Phase.SERVING), 2, NOW) == []


@pytest.mark.parametrize(
    ("phase", "problem"),
    [
        (Phase.STARTING, "it starts"),
        (Phase.GONE, "it died, and nobody has taken its place yet"),
        (Phase.DRAINING, "it is about to stop"),
    ],
)
def test_a_worker_that_is_missing_is_named_with_the_reason(phase: Phase, problem: str) -> None:
    assert ailments(board(Phase.SERVING, phase), 2, NOW) == [Ailment(1, 101, problem)]


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.GONE, Phase.DRAINING])
def test_whoever_starts_or_leaves_beside_enough_others_does_not_count(phase: Phase) -> None:
    assert ailments(board(Phase.SERVING, phase, Phase.SERVING), 2, NOW) == []


def test_a_worker_that_is_not_ready_says_why() -> None:
    lines = board(Phase.SERVING, Phase.SERVING)
    lines[1].ready = False
    assert ailments(lines, 2, NOW) == [Ailment(1, 101, "it is not ready")]
    lines[1].text = Told("the batcher of model 'm' version 1 failed and starts again").text()
    assert ailments(lines, 2, NOW) == [Ailment(1, 101, "the batcher of model 'm' version 1 failed and starts again")]


def test_a_worker_whose_loop_stands_still_is_not_ready() -> None:
    lines = board(Phase.SERVING, Phase.SERVING)
    lines[0].beat = NOW - 4
    assert ailments(lines, 2, NOW) == [Ailment(0, 100, "its event loop has stood still for 4 s")]


def test_a_server_without_any_worker_is_not_ready() -> None:
    assert ailments(board(), 1, NOW) == [Ailment(None, 0, "0 of 1 workers serve")]
