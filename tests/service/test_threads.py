"""The threads beside the loop."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from service.threads import LATER
from tests.service.measured import repository, started


def own_nice() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells threads' priorities apart")
async def test_who_inflates_gives_way_to_who_answers(tmp_path: Path) -> None:
    async with started(repository(tmp_path)) as engine:
        assert engine.threads.inflating.submit(own_nice).result() == min(19, own_nice() + LATER)
        assert engine.threads.decoding.submit(own_nice).result() == engine.threads.calls.submit(own_nice).result() == own_nice()
