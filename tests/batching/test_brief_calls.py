"""Which thread computes a call: the loop's own only where that costs it less than a hop to another."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from batching import Arrays, Batcher, Policy

ROW = {"x": np.ones((1, 2))}


class Watched:
    """A call that writes down whether the loop's thread computed it, and how many rows it had."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.loop = threading.current_thread()
        self.on_loop: list[bool] = []
        self.rows: list[int] = []

    def __call__(self, inputs: Arrays, outputs: tuple[str, ...]) -> Arrays:
        self.on_loop.append(threading.current_thread() is self.loop)
        self.rows.append(len(inputs["x"]))
        time.sleep(self.seconds)
        return {"y": inputs["x"] * 2}


async def answers(call: Watched, *, steady: bool, most: int) -> None:
    """Asks one row after another, until the loop has computed one."""
    with ThreadPoolExecutor(1) as pool:
        batcher = Batcher(call, Policy(window_ms=0, timeout_ms=60_000), pool, steady=steady)
        for _ in range(most):
            assert (await batcher.submit(ROW, 1)).outputs["y"].tolist() == [[2.0, 2.0]]
            if call.on_loop[-1]:
                break
        await batcher.close()


async def test_a_lone_steady_call_known_to_be_brief_runs_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batching.batcher.BRIEF_S", 60.0)  # so that no pause of the machine makes this call a long one
    call = Watched()
    await answers(call, steady=True, most=2)
    assert call.on_loop[0] is False  # nothing was known of it yet
    assert call.on_loop[-1] is True


async def test_a_call_that_may_take_any_time_never_runs_on_the_loop() -> None:
    call = Watched()
    await answers(call, steady=False, most=50)
    assert not any(call.on_loop)


async def test_a_call_that_takes_its_time_never_runs_on_the_loop() -> None:
    call = Watched(seconds=0.002)
    await answers(call, steady=True, most=20)
    assert not any(call.on_loop)


async def test_a_shared_call_never_runs_on_the_loop() -> None:
    call = Watched()
    with ThreadPoolExecutor(1) as pool:
        batcher = Batcher(call, Policy(window_ms=0, timeout_ms=60_000), pool, steady=True)
        for _ in range(50):
            entries = [batcher.submit(ROW, 1) for _ in range(4)]
            for entry in entries:
                await entry
        await batcher.close()
    assert not any(on_loop for on_loop, rows in zip(call.on_loop, call.rows, strict=True) if rows > 1)
