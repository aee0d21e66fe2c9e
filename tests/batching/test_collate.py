"""Rows in and rows out: each entry gets its own, and only the guilty fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.collate import compute, join, scatter, stack
from batching.entry import Array, Arrays, Batch, Entry, Outcome
from batching.errors import RowsMismatch

sizes = st.lists(st.integers(1, 6), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def entries_of(loop: asyncio.AbstractEventLoop, rows: Sequence[Array]) -> list[Entry]:
    return [Entry({"x": each, "twice": 2 * each}, len(each), ("y",), None, 0, 1, 0, loop.create_future()) for each in rows]


def numbered(loop: asyncio.AbstractEventLoop, sizes: Sequence[int]) -> list[Entry]:
    numbers = np.split(np.arange(sum(sizes), dtype=np.float64), np.cumsum(sizes)[:-1])
    return entries_of(loop, numbers)


def outcomes(entries: list[Entry], call: Callable[..., Any], *, stacked: bool = True, pure: bool = True) -> list[Outcome]:
    batch = Batch("full", sum(entry.rows for entry in entries), entries, 0.0)
    compute(batch, call, stacked=stacked, pure=pure)
    assert len(batch.outcomes) == len(entries)
    return batch.outcomes


def total(inputs: Arrays, outputs: object) -> Arrays:
    return {"y": inputs["x"] + inputs["twice"], "wide": np.stack([inputs["x"]] * 3, axis=1)}


@given(sizes)
def test_every_entry_gets_its_own_rows_as_if_it_were_alone(loop: asyncio.AbstractEventLoop, sizes: list[int]) -> None:
    entries = numbered(loop, sizes)
    for entry, outcome in zip(entries, outcomes(entries, total), strict=True):
        alone = total(entry.inputs, ())
        assert not isinstance(outcome, BaseException)
        assert {name: array.tolist() for name, array in outcome.items()} == {name: alone[name].tolist() for name in alone}


@given(sizes)
def test_stacking_then_scattering_gives_back_what_came(loop: asyncio.AbstractEventLoop, sizes: list[int]) -> None:
    entries = numbered(loop, sizes)
    for entry, share in zip(entries, scatter(stack(entries), entries), strict=True):
        assert all(np.array_equal(share[name], array) for name, array in entry.inputs.items())
    alone = {"x": stack(entries)["x"]}  # one output takes a way of its own
    for entry, share in zip(entries, scatter(alone, entries), strict=True):
        assert np.array_equal(share["x"], entry.inputs["x"])


def test_a_single_entry_is_not_copied(loop: asyncio.AbstractEventLoop) -> None:
    (entry,) = numbered(loop, [3])
    assert stack([entry])["x"] is entry.inputs["x"]


@given(sizes, st.sets(st.integers(0, 11)))
def test_the_guilty_entries_fail_alone_and_each_with_its_own_error(
    loop: asyncio.AbstractEventLoop, sizes: list[int], guilty: set[int]
) -> None:
    entries = numbered(loop, sizes)
    bad = {float(entry.inputs["x"][0]): at for at, entry in enumerate(entries) if at in guilty}

    def call(inputs: Arrays, outputs: object) -> Arrays:
        for value in inputs["x"].tolist():
            if value in bad:
                raise ValueError(bad[value])
        return total(inputs, outputs)

    for at, (entry, outcome) in enumerate(zip(entries, outcomes(entries, call), strict=True)):
        if at in guilty:
            assert isinstance(outcome, ValueError)
            assert outcome.args == (at,)
        else:
            assert not isinstance(outcome, BaseException)
            assert np.array_equal(outcome["y"], 3 * entry.inputs["x"])


def test_one_guilty_of_64_costs_two_calls_for_each_halving(loop: asyncio.AbstractEventLoop) -> None:
    calls: list[int] = []

    def call(inputs: Arrays, outputs: object) -> Arrays:
        calls.append(len(inputs["x"]))
        if 40 in inputs["x"]:
            raise ValueError
        return total(inputs, outputs)

    outcomes(numbered(loop, [1] * 64), call)
    assert len(calls) == 1 + 2 * 6


def test_entries_that_do_not_stack_fail_alone(loop: asyncio.AbstractEventLoop) -> None:
    entries = entries_of(loop, [np.zeros((1, 2)), np.zeros((1, 3)), np.zeros((1, 3))])
    assert all(not isinstance(outcome, BaseException) for outcome in outcomes(entries, lambda inputs, _: {"y": inputs["x"]}))


def test_an_impure_call_is_made_once_and_all_its_entries_fail(loop: asyncio.AbstractEventLoop) -> None:
    calls = 0

    def call(inputs: Arrays, outputs: object) -> Arrays:
        nonlocal calls
        calls += 1
        raise ValueError("half done")

    assert [str(outcome) for outcome in outcomes(numbered(loop, [1, 2]), call, pure=False)] == ["half done"] * 2
    assert calls == 1


@given(sizes, st.integers(-3, 3).filter(bool))
def test_another_number_of_rows_is_everyones_error_after_a_single_call(
    loop: asyncio.AbstractEventLoop, sizes: list[int], more: int
) -> None:
    calls = 0

    def call(inputs: Arrays, outputs: object) -> Arrays:
        nonlocal calls
        calls += 1
        return {"fine": inputs["x"], "y": np.zeros(max(0, len(inputs["x"]) + more))}

    found = outcomes(numbered(loop, sizes), call)
    assert all(isinstance(outcome, RowsMismatch) and "'y'" in str(outcome) for outcome in found)
    assert calls == 1


@pytest.mark.parametrize(
    ("outputs", "problem"),
    [
        (None, "gave a NoneType; expected a mapping"),
        (np.zeros(2), "gave a ndarray; expected a mapping"),
        ({"y": [1, 2]}, "gave no rows in output 'y' for 2 rows"),
        ({"y": np.float64(1)}, "gave no rows in output 'y' for 2 rows"),
        ({"y": np.array(1)}, "gave no rows in output 'y' for 2 rows"),
    ],
)
def test_what_is_not_rows_of_arrays_is_named(loop: asyncio.AbstractEventLoop, outputs: object, problem: str) -> None:
    for outcome in outcomes(numbered(loop, [1, 1]), lambda *_: outputs):
        assert isinstance(outcome, RowsMismatch)
        assert problem in str(outcome)


@pytest.mark.parametrize("raised", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), StopIteration(), MemoryError()])
def test_whatever_a_call_raises_stays_in_the_batch(loop: asyncio.AbstractEventLoop, raised: BaseException) -> None:
    def call(inputs: Arrays, outputs: object) -> Arrays:
        if 0 in inputs["x"]:
            raise raised
        return total(inputs, outputs)

    guilty, innocent = outcomes(numbered(loop, [1, 1]), call)
    assert guilty is raised
    assert not isinstance(innocent, BaseException)


def test_a_call_that_raises_a_mismatch_of_its_own_is_halved_like_any_other(loop: asyncio.AbstractEventLoop) -> None:
    def call(inputs: Arrays, outputs: object) -> Arrays:
        if 0 in inputs["x"]:
            raise RowsMismatch("from a batcher further down")
        return total(inputs, outputs)

    guilty, innocent = outcomes(numbered(loop, [1, 1]), call)
    assert isinstance(guilty, RowsMismatch)
    assert not isinstance(innocent, BaseException)


def test_a_call_without_rows_may_give_any_shape(loop: asyncio.AbstractEventLoop) -> None:
    (outcome,) = outcomes(numbered(loop, [3]), lambda *_: {"y": np.zeros(())}, stacked=False)
    assert not isinstance(outcome, BaseException)


def test_a_batch_whose_entries_have_all_left_is_not_computed(loop: asyncio.AbstractEventLoop) -> None:
    entries = numbered(loop, [1, 1])
    for entry in entries:
        entry.future.cancel()
    batch = Batch("full", 2, entries, 0.0)
    compute(batch, total, stacked=True, pure=True)
    assert batch.calls == 0
    assert len(batch.outcomes) == 2


def test_the_named_outputs_reach_the_call(loop: asyncio.AbstractEventLoop) -> None:
    named: list[object] = []

    def call(inputs: Arrays, outputs: tuple[str, ...]) -> Arrays:
        named.append(outputs)
        return {"y": inputs["x"]}

    outcomes(numbered(loop, [1, 1]), call)
    assert named == [("y",)]


def test_a_batch_counts_its_calls_and_its_time(loop: asyncio.AbstractEventLoop) -> None:
    batch = Batch("full", 3, numbered(loop, [1, 2]), 0.0)
    compute(batch, total, stacked=True, pure=True)
    assert batch.calls == 1
    assert min(batch.collate_s, batch.call_s, batch.scatter_s) > 0


@given(sizes)
def test_joining_the_parts_of_a_cut_entry_gives_it_back(sizes: list[int]) -> None:
    rows = np.arange(sum(sizes))
    parts = [{"y": part} for part in np.split(rows, np.cumsum(sizes)[:-1])]
    assert np.array_equal(join(parts)["y"], rows)
