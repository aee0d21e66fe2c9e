"""What a burst took is given back once there is little to do."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from service.processes.slack import AGAIN_S, GROWN, WORKED_S, Growth, keep_giving_back, malloc_trim

SMALL = 100 << 20


def test_a_worker_that_has_grown_gives_back_when_it_has_little_to_do() -> None:
    growth = Growth(0.0)
    assert not growth.due(SMALL, 1.0, 10.0)
    assert not growth.due(SMALL + GROWN, 11.0, 20.0)  # it is at work
    assert growth.due(SMALL + GROWN, 11.5, 30.0)


def test_what_could_not_be_given_back_is_not_tried_for_again() -> None:
    growth = Growth(0.0)
    growth.due(SMALL, 0.0, 10.0)
    growth.gave_back(SMALL + GROWN)
    assert not growth.due(SMALL + 2 * GROWN - 1, 0.0, 20.0)
    assert growth.due(SMALL + 2 * GROWN, 0.0, 30.0)


def test_what_was_still_held_the_last_time_is_given_back_later() -> None:
    growth = Growth(0.0)
    growth.due(SMALL, 0.0, 10.0)
    growth.due(SMALL + GROWN, 0.0, 20.0)
    growth.gave_back(SMALL + GROWN)
    assert not growth.due(SMALL + GROWN, WORKED_S, 20.0 + AGAIN_S - 1)
    assert growth.due(SMALL + GROWN, WORKED_S, 20.0 + AGAIN_S)
    growth.gave_back(SMALL)
    assert not growth.due(SMALL, WORKED_S, 20.0 + 3 * AGAIN_S)  # it has done nothing since


def test_who_has_become_smaller_by_himself_is_measured_by_that() -> None:
    growth = Growth(0.0)
    growth.due(SMALL, 0.0, 10.0)
    growth.due(SMALL - GROWN, 0.0, 20.0)
    assert growth.due(SMALL, 0.0, 30.0)


PROGRAM = """
import asyncio, random
from models.footprint import resident_bytes
from service.processes import slack

async def main():
    slack.LOOK_S, slack.LITTLE = 0.01, 1e9
    giving = asyncio.create_task(slack.keep_giving_back(slack.malloc_trim()))
    await asyncio.sleep(0.05)
    chance = random.Random(1)
    held = [bytearray(chance.randint(600, 4000)) for _ in range(30_000)]
    full = resident_bytes()
    for _ in range(4):
        del held[1::2]
    for _ in range(2000):
        await asyncio.sleep(0.01)
        if resident_bytes() < full - (30 << 20):
            print("given back")
            return

asyncio.run(main())
"""


def test_what_was_freed_between_other_things_goes_back_to_the_system() -> None:
    if malloc_trim() is None:
        pytest.skip("the C library has no malloc_trim")
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("given back\n", "")


async def test_another_allocator_is_left_alone() -> None:
    await asyncio.wait_for(keep_giving_back(None), 1.0)
