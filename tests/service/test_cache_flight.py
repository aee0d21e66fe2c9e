"""One computation for all who ask at once, whoever of them leaves or runs out of time."""

from __future__ import annotations

import asyncio

import looptime  # noqa: F401
import pytest

from batching import Answer, DeadlineExceeded
from service.cache.flight import Flight, Given

pytestmark = pytest.mark.looptime


class Model:
    """Computations that end when they are told to."""

    def __init__(self) -> None:
        self.begun: list[tuple[float, asyncio.Future[Answer]]] = []
        self.landed: list[Answer | None] = []

    def compute(self, timeout_s: float) -> asyncio.Future[Answer]:
        self.begun.append((timeout_s, asyncio.get_running_loop().create_future()))
        return self.begun[-1][1]

    def flight(self) -> Flight:
        return Flight(asyncio.get_running_loop(), self.landed.append)

    def answer(self) -> Answer:
        answer = Answer({}, 0.1, 0.2, 3, "early", 7)
        self.begun[-1][1].set_result(answer)
        return answer


async def test_all_have_the_one_answer_and_know_how_they_came_by_it() -> None:
    model = Model()
    flight = model.flight()
    waiting = [flight.first(model.compute, 5.0), *[flight.join(5.0) for _ in range(99)]]
    answer = model.answer()
    answers = await asyncio.gather(*waiting)
    assert len(model.begun) == 1
    assert [one.how for one in answers if isinstance(one, Given)] == ["miss", *["joined"] * 99]
    assert all(one.outputs is answer.outputs for one in answers)
    assert model.landed == [answer]


@pytest.mark.parametrize("leaver", range(3))
async def test_whoever_leaves_the_others_have_their_answer(leaver: int) -> None:
    model = Model()
    flight = model.flight()
    waiting = [flight.first(model.compute, 5.0), flight.join(5.0), flight.join(5.0)]
    waiting[leaver].cancel()
    await asyncio.sleep(0)
    assert not model.begun[0][1].cancelled()
    model.answer()
    assert len(await asyncio.gather(*[one for one in waiting if not one.cancelled()])) == 2


async def test_once_all_have_left_nothing_is_computed_any_more() -> None:
    model = Model()
    flight = model.flight()
    for one in (flight.first(model.compute, 5.0), flight.join(5.0)):
        one.cancel()
    await asyncio.sleep(0)
    assert model.begun[0][1].cancelled()
    assert model.landed == [None]


async def test_who_has_less_time_than_the_computation_is_told_in_time() -> None:
    model = Model()
    flight = model.flight()
    first, hurried = flight.first(model.compute, 5.0), flight.join(1.0)
    with pytest.raises(DeadlineExceeded):
        await hurried
    assert asyncio.get_running_loop().time() == 1.0
    model.answer()
    await first


async def test_who_has_more_time_than_the_first_has_it_computed_again() -> None:
    model = Model()
    flight = model.flight()
    first, patient = flight.first(model.compute, 1.0), flight.join(5.0)
    await asyncio.sleep(1.0)
    model.begun[0][1].set_exception(DeadlineExceeded("too late", "queue"))
    with pytest.raises(DeadlineExceeded):
        await first
    assert model.begun[1][0] == pytest.approx(4.0)
    model.answer()
    await patient


async def test_who_has_more_time_has_it_computed_again_though_the_first_has_left() -> None:
    model = Model()
    flight = model.flight()
    first, patient = flight.first(model.compute, 1.0), flight.join(5.0)
    first.cancel()
    await asyncio.sleep(1.0)
    model.begun[0][1].set_exception(DeadlineExceeded("too late", "queue"))
    await asyncio.sleep(0)
    assert model.begun[1][0] == pytest.approx(4.0)
    model.answer()
    await patient


async def test_who_has_no_more_time_than_the_first_had_does_not_have_it_computed_again() -> None:
    model = Model()
    flight = model.flight()
    waiting = [flight.first(model.compute, 1.0), flight.join(1.0), flight.join(0.9)]
    model.begun[0][1].set_exception(DeadlineExceeded("a call takes 2 s", "queue"))
    for one in waiting:
        with pytest.raises(DeadlineExceeded, match="a call takes"):
            await one
    assert len(model.begun) == 1


async def test_whom_a_computation_fails_before_his_time_is_over_does_not_wait_for_the_next() -> None:
    model = Model()
    flight = model.flight()
    first, patient = flight.first(model.compute, 1.0), flight.join(5.0)
    model.begun[0][1].set_exception(DeadlineExceeded("a call takes 2 s", "queue"))
    with pytest.raises(DeadlineExceeded, match="a call takes"):
        await first
    assert asyncio.get_running_loop().time() == 0.0
    assert model.begun[1][0] == pytest.approx(5.0)
    model.answer()
    await patient


async def test_an_error_is_everybodys() -> None:
    model = Model()
    flight = model.flight()
    waiting = [flight.first(model.compute, 5.0), flight.join(5.0)]
    model.begun[0][1].set_exception(ZeroDivisionError())
    for one in waiting:
        with pytest.raises(ZeroDivisionError):
            await one
    assert model.landed == [None]


async def test_what_is_refused_at_once_is_no_flight() -> None:
    model = Model()

    def refuse(timeout_s: float) -> asyncio.Future[Answer]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.flight().first(refuse, 1.0)
    assert model.landed == []
