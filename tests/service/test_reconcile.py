from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from service.processes.board import LINE, Board, Phase
from service.store import Wanted, Wish
from service.store.reconcile import Baseline, Failure, Fate, Standing, State, Told, baseline, fate, serving, standing, steps

MODELS = st.sampled_from("abc")
WANTED = st.sampled_from(Wanted)


def load(generation: int, model: str = "m", config: str | None = None, *, settled: bool = False) -> Wish:
    return Wish(generation, model, Wanted.LOADED, config, settled)


def unload(generation: int, model: str = "m", *, settled: bool = False) -> Wish:
    return Wish(generation, model, Wanted.UNLOADED, None, settled)


@st.composite
def wishes(draw: st.DrawFn) -> list[Wish]:
    models = draw(st.lists(st.tuples(MODELS, WANTED), max_size=8))
    return [Wish(number, model, wanted) for number, (model, wanted) in enumerate(models, 1)]


def taken(due: Iterable[Wish], have: dict[str, int]) -> dict[str, int]:
    """What a worker has after it has done all that without a failure."""
    now = dict(have)
    for step in due:
        now[step.model] = step.generation
    return {model: number for model, number in now.items() if number}


def test_a_worker_starts_from_the_settled_wishes_alone() -> None:
    found = baseline([unload(1, "a", settled=True), load(2, "b", "{}", settled=True), load(3, "c", settled=True), unload(4, "b")])
    assert found == Baseline(frozenset("a"), {"b": "{}"}, {"a": 1, "b": 2, "c": 3})


def test_wishes_that_are_new_are_brought_about_in_order() -> None:
    assert steps([load(1, "b"), unload(2, "a"), unload(3, "b")], {}, ()) == [load(1, "b"), unload(2, "a"), unload(3, "b")]


def test_what_a_model_stands_at_is_not_done_again() -> None:
    assert steps([load(1), load(2)], {"m": 2}, ()) == []


def test_a_wish_that_failed_is_not_tried_again() -> None:
    assert steps([load(1), load(2)], {"m": 1}, {2}) == []


def test_a_model_whose_wish_was_withdrawn_goes_back_to_the_one_before() -> None:
    assert steps([load(1, config="{}", settled=True)], {"m": 5}, ()) == [load(1, config="{}", settled=True)]


def test_with_none_before_it_goes_back_to_the_repository() -> None:
    assert steps([], {"m": 5}, ()) == [load(0)]


def test_a_model_stays_where_it_is_while_a_later_wish_of_it_stands_that_failed_here() -> None:
    assert steps([load(6, settled=True)], {"m": 5}, {6}) == []


@given(wishes(), st.data())
def test_what_is_done_leaves_nothing_to_do(wanted: list[Wish], data: st.DataObject) -> None:
    have = data.draw(st.dictionaries(MODELS, st.integers(1, 10), max_size=3))
    assert steps(wanted, taken(steps(wanted, have, ()), have), ()) == []


@given(wishes(), st.data())
def test_workers_that_followed_in_different_portions_end_alike(wanted: list[Wish], data: st.DataObject) -> None:
    have: dict[str, int] = {}
    for seen in sorted(data.draw(st.lists(st.integers(0, len(wanted)), max_size=4))):
        have = taken(steps(wanted[:seen], have, ()), have)
    assert taken(steps(wanted, have, ()), have) == taken(steps(wanted, {}, ()), {})


@given(st.text(), st.lists(st.builds(Failure, st.integers(1, 9), MODELS, st.text(), st.booleans()), max_size=4))
def test_what_a_line_says_is_read_as_it_was_meant(unready: str, failures: list[Failure]) -> None:
    told = Told(unready, tuple(failures))
    read = Told.parse(told.text())
    assert read.unready == " ".join(unready.split())
    assert [(its.generation, its.settled, its.model, its.reason) for its in read.failures] == sorted(
        ((its.generation, its.settled, its.model, " ".join(its.reason.split())) for its in failures), key=lambda its: -its[0]
    )


def test_a_line_without_room_keeps_the_newest_failure() -> None:
    line = Board.create(1)[0]
    line.text = Told("", tuple(Failure(number, "m", "x" * (LINE // 2)) for number in range(1, 5))).text()
    assert Told.parse(line.text).failures[0] == Failure(4, "m", "x" * (LINE // 2))


def test_how_a_worker_stands_to_a_wish_is_on_its_line() -> None:
    line = Board.create(1)[0]
    line.pid = 7
    assert standing(line, load(5)).state is State.BEHIND
    line.followed = 5
    assert standing(line, load(5)) == Standing(0, 7, State.DONE)
    line.text = Told("", (Failure(5, "m", "it is out of salt"),)).text()
    assert standing(line, load(5)) == Standing(0, 7, State.FAILED, "it is out of salt")
    assert standing(line, load(4)) == Standing(0, 7, State.DONE)


def test_only_workers_that_serve_have_to_follow() -> None:
    board = Board.create(len(Phase))
    for line, phase in zip(board, Phase, strict=True):
        line.phase = phase
    assert [line.phase for line in serving(board)] == [Phase.SERVING]


def test_a_wish_is_settled_when_all_have_it_withdrawn_when_none_has_and_else_kept_in_part() -> None:
    done, failed, behind = (Standing(0, 1, state) for state in (State.DONE, State.FAILED, State.BEHIND))
    assert fate([done, done]) is Fate.SETTLED
    assert fate([failed, behind]) is Fate.WITHDRAWN
    assert fate([done, failed]) is fate([done, behind]) is Fate.PARTLY
