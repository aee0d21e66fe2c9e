from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.lease import Hold
from models.signature import Signature
from models.tensor import Array


class Counted:
    """A runtime that counts how often it is closed."""

    platform, signature, pure, notes = "python", Signature((), ()), True, ()

    def __init__(self, trouble: Exception | None = None) -> None:
        self.closed = 0
        self.trouble = trouble

    def infer(self, inputs: object, outputs: object) -> dict[str, Array]:
        return {}

    def close(self) -> None:
        self.closed += 1
        if self.trouble is not None:
            raise self.trouble


@given(st.lists(st.sampled_from(["acquire", "release", "retire"]), max_size=30))
def test_a_runtime_is_closed_once_and_exactly_when_it_is_retired_and_nobody_holds_it(steps: list[str]) -> None:
    runtime = Counted()
    hold = Hold(runtime)
    held, retired = 0, False
    for step in steps:
        if step == "acquire":
            assert hold.acquire() is not (retired and held == 0)
            held += not (retired and held == 0)
        elif step == "release" and held == 0:
            with pytest.raises(RuntimeError, match="a lease was released that nobody holds"):
                hold.release()
        elif step == "release":
            hold.release()
            held -= 1
        else:
            hold.retire()
            retired = True
        assert runtime.closed == int(retired and held == 0)
        assert hold.closed is (retired and held == 0)


def test_a_runtime_that_raises_while_closed_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    hold = Hold(Counted(ValueError("stuck")))
    hold.acquire()
    hold.retire()
    hold.release()
    assert hold.closed
    assert "a model raised while it was closed" in caplog.text


def test_threads_that_come_and_go_close_it_once() -> None:
    runtime = Counted()
    hold = Hold(runtime)

    def come_and_go(turn: int) -> None:
        if turn == 500:
            hold.retire()
        elif hold.acquire():
            assert runtime.closed == 0
            hold.release()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(come_and_go, range(1000)))
    assert runtime.closed == 1
