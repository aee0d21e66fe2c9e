"""What is to be refused is refused before it is decoded."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from batching import Batcher, DeadlineExceeded, Policy, QueueFull
from batching.entry import Arrays

ROW = {"x": np.zeros((1, 1))}


async def test_who_knocks_is_refused_what_a_row_would_be_and_nothing_is_kept_of_him() -> None:
    started, go = threading.Event(), threading.Event()

    def wait(inputs: Arrays, outputs: tuple[str, ...]) -> Arrays:
        started.set()
        go.wait()
        return dict(inputs)

    def crowded() -> bool:
        return batcher.crowded

    with ThreadPoolExecutor(1) as pool:
        batcher = Batcher(wait, Policy(max_rows=1, queue_rows=2), pool)
        batcher.knock()
        running = batcher.submit(ROW, 1)
        await asyncio.to_thread(started.wait)
        assert not crowded()
        waiting = [batcher.submit(ROW, 1) for _ in range(2)]
        assert crowded()
        with pytest.raises(QueueFull):
            batcher.knock()
        with pytest.raises(DeadlineExceeded):
            batcher.knock(0.0)
        assert batcher.queued_rows == 2
        assert batcher.statistics.refused == 2
        go.set()
        await asyncio.gather(running, *waiting)
        await batcher.close()
