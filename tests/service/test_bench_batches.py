"""What `tureen bench` makes of a server's counters."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from service.commands.bench.batches import Batches, Counted, counted, formed, since
from service.commands.exposition import Sample, samples

BY_ROWS = st.dictionaries(st.integers(1, 64), st.integers(0, 1000), max_size=8)


def stats(requests: int, by_rows: dict[int, int], version: str = "1") -> dict[str, Any]:
    return {
        "name": "digits",
        "version": version,
        "inference_count": sum(rows * calls for rows, calls in by_rows.items()),
        "execution_count": sum(by_rows.values()),
        "inference_stats": {"success": {"count": requests, "ns": 1}, "fail": {"count": 2, "ns": 1}},
        "batch_stats": [{"batch_size": rows, "compute_infer": {"count": calls, "ns": 1}} for rows, calls in by_rows.items()],
    }


def scrape(workers: int, full: int, rows: int, other: int = 0) -> list[Sample]:
    return list(
        samples(f"""
tureen_workers{{phase="serving"}} {workers}
tureen_workers{{phase="draining"}} 9
tureen_batches_total{{model="digits",version="1",reason="full"}} {full}
tureen_batches_total{{model="digits",version="2",reason="full"}} {other}
tureen_batches_total{{model="other",version="1",reason="full"}} 77
tureen_rows_total{{model="digits",version="1"}} {rows}
""")
    )


def test_the_counters_are_those_of_all_versions_unless_one_is_named() -> None:
    both = {"model_stats": [stats(3, {1: 3}), stats(4, {1: 1, 2: 2}, "2")]}
    told = counted(both, scrape(2, 5, 9, other=4), "digits", None)
    assert told == Counted(7, 4, 8, 6, {1: 4, 2: 2}, {"full": 9}, 9, 2)
    assert counted(both, scrape(2, 5, 9, other=4), "digits", "1").reasons == {"full": 5}


def test_without_metrics_nothing_is_known_of_reasons_and_workers() -> None:
    told = counted({"model_stats": [stats(3, {1: 3})]}, None, "digits", None)
    assert (told.reasons, told.rows_of_all, told.workers) == (None, None, None)


@settings(deadline=None)
@given(BY_ROWS, BY_ROWS)
def test_what_was_before_and_what_came_since_add_up(before: dict[int, int], more: dict[int, int]) -> None:
    later = {rows: before.get(rows, 0) + more.get(rows, 0) for rows in {*before, *more}}
    first, second = (counted({"model_stats": [stats(1, each)]}, None, "digits", None) for each in (before, later))
    found = since(first, second)
    assert found is not None
    assert {rows: calls for rows, calls in found.by_rows.items() if calls} == {rows: calls for rows, calls in more.items() if calls}
    assert found.calls == sum(more.values())


def test_counters_that_went_back_say_nothing() -> None:
    assert since(Counted(requests=5, by_rows={1: 5}), Counted(requests=3, by_rows={1: 3})) is None
    assert since(Counted(reasons={"full": 5}), Counted(reasons={"full": 4})) is None


def test_one_workers_statistics_are_exact() -> None:
    told = Counted(10, 0, 10, 4, {1: 2, 4: 2, 8: 0}, {"full": 3, "early": 1, "idle": 0}, 10, 1)
    assert formed(told, {4: 8, 1: 2}, 10) == Batches(4, 10, {1: 2, 4: 2}, "statistics", {"full": 3, "early": 1})


def test_of_several_workers_calls_and_rows_are_of_all_and_sizes_those_of_the_answers() -> None:
    told = Counted(4, 0, 4, 2, {2: 2}, {"full": 5}, 10, 2)
    assert formed(told, {2: 8, 1: 2}, 10) == Batches(5, 10, {1: 2, 2: 4}, "answers", {"full": 5})


def test_statistics_that_know_of_fewer_requests_than_were_answered_are_of_one_worker_among_others() -> None:
    told = Counted(4, 0, 4, 2, {2: 2})
    found = formed(told, {2: 8, 1: 2}, 10)
    assert found == Batches(6, 10, {1: 2, 2: 4}, "answers")
    assert found.mean_rows == 10 / 6


def test_where_nobody_tells_of_batches_there_are_none() -> None:
    assert formed(None, {}, 10) is None
    assert formed(Counted(), {}, 0) is None


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=4),
        lambda inner: st.lists(inner) | st.dictionaries(st.just("model_stats"), inner),
    )
)
def test_no_answer_of_a_stranger_breaks_the_reading(content: Any) -> None:
    with contextlib.suppress(ValueError):
        assert counted(content, [], "digits", None).calls == 0
