"""One timer at a time, on loops with fine and with coarse clocks."""

from __future__ import annotations

import asyncio
import math
import time

import pytest
import uvloop
from bench import run

from batching.alarm import LONGEST_S, Alarm


def alarm() -> tuple[Alarm, list[float]]:
    rung: list[float] = []
    loop = asyncio.get_running_loop()
    return Alarm(loop, loop.time, rung.append), rung


@pytest.mark.looptime(start=100)
async def test_it_rings_once_and_tells_the_time_it_was_set_for() -> None:
    bell, rung = alarm()
    bell.set(100.5)
    await asyncio.sleep(0.4)
    assert rung == []
    await asyncio.sleep(1)
    assert rung == [100.5]
    assert bell.when == math.inf


@pytest.mark.looptime(start=100)
async def test_setting_it_again_replaces_the_time() -> None:
    bell, rung = alarm()
    for when in (101, 103, 102):
        bell.set(when)
    await asyncio.sleep(10)
    assert rung == [102]


@pytest.mark.looptime(start=100)
async def test_set_to_never_it_does_not_ring() -> None:
    bell, rung = alarm()
    bell.set(101)
    bell.set(math.inf)
    await asyncio.sleep(10)
    assert rung == []


@pytest.mark.looptime(start=100)
async def test_a_time_in_the_past_rings_in_the_next_turn() -> None:
    bell, rung = alarm()
    bell.set(99)
    assert rung == []
    await asyncio.sleep(0.001)
    assert rung == [99]


@pytest.mark.looptime(start=0)
async def test_times_beyond_a_days_wait_are_kept() -> None:
    bell, rung = alarm()
    bell.set(2.5 * LONGEST_S)
    await asyncio.sleep(2.4 * LONGEST_S)
    assert rung == []
    await asyncio.sleep(LONGEST_S)
    assert rung == [2.5 * LONGEST_S]


def test_a_timer_that_is_early_rings_once_rather_than_polling() -> None:
    async def ring() -> list[float]:
        loop, rung = asyncio.get_running_loop(), asyncio.Queue[float]()
        bell = Alarm(loop, time.monotonic, rung.put_nowait)
        when = time.monotonic() + 0.0003  # uvloop rounds it to no wait at all
        bell.set(when)
        late = await rung.get() - when
        bell.set(1e300)
        bell.set(math.inf)
        return [late, rung.qsize()]

    assert run(ring(), uvloop.new_event_loop()) == [0, 0]
