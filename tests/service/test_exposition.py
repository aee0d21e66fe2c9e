"""From many workers' cells to one scrape."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from service.account import Plain
from service.metrics import families
from service.metrics.cells import Cells
from service.metrics.exposition import OPEN, PLAIN, Exposition, wants_open
from service.metrics.families import COUNTED, READ, Family
from service.metrics.meter import Meter
from service.processes.board import Board, Phase

LINES = 3
parse_open: Callable[[str], Iterable[Metric]] = text_string_to_metric_families


class Machine:
    """A board of three workers that all serve, and their cells."""

    def __init__(self) -> None:
        self.board = Board.create(LINES)
        self.cells = Cells.create(LINES)
        self.exposition = Exposition(self.board, self.cells, 0, "hypercorn")
        for line in self.board:
            line.phase, line.ready, line.starts, line.beat = Phase.SERVING, True, 1, time.monotonic()

    def put(self, slot: int, family: Family, value: float, *labels: str) -> None:
        """The worker's cell has that value."""
        region = self.cells.region(slot)
        region.cells[region.cell((family.name, *labels), family.width)] = value

    def scraped(self, family: Family) -> dict[tuple[str, ...], float]:
        """The family's samples, but for buckets, by their labels' values."""
        body, _ = self.exposition.write(PLAIN)
        return {
            tuple([sample.labels[label] for label in family.labels]): sample.value
            for metric in parse_plain(body.decode())
            for sample in metric.samples
            if sample.name == family.exposed
        }


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_counters_are_those_of_all_lines_also_of_workers_that_are_gone(machine: Machine) -> None:
    for slot in range(LINES):
        machine.put(slot, families.ROWS_ANSWERED, 10.0**slot, "m", "1")
    machine.board[2].phase = Phase.GONE
    assert machine.scraped(families.ROWS_ANSWERED) == {("m", "1"): 111}


def test_gauges_are_those_of_workers_that_live(machine: Machine) -> None:
    for slot in range(LINES):
        machine.put(slot, families.QUEUED, 10.0**slot, "m", "1")
    machine.board[2].phase = Phase.GONE
    assert machine.scraped(families.QUEUED) == {("m", "1"): 11}


def test_a_gauge_that_says_nothing_is_not_there(machine: Machine) -> None:
    machine.put(1, families.QUEUED, math.nan, "m", "1")
    assert machine.scraped(families.QUEUED) == {}


@pytest.mark.parametrize("said", [[1, 1, 0], [1, 1, math.nan], [math.nan, 0, 1]])
def test_a_model_is_ready_where_every_serving_worker_says_so(machine: Machine, said: list[float]) -> None:
    for slot, value in enumerate(said):
        machine.put(slot, families.READY, value, "m", "1")
    assert machine.scraped(families.READY) == {("m", "1"): 0}
    machine.board[said.index(1) - 1].phase = Phase.STARTING
    for line in machine.board:
        line.phase = Phase.SERVING if said[line.slot] == 1 else Phase.STARTING
    assert machine.scraped(families.READY) == {("m", "1"): 1}


def test_the_board_is_read_too(machine: Machine) -> None:
    machine.board[1].connections, machine.board[2].phase = 7, Phase.STARTING
    machine.board[1].starts = 4
    workers = {("starting",): 1, ("serving",): 2, ("draining",): 0, ("gone",): 0}
    assert machine.scraped(families.WORKERS) == workers
    assert machine.scraped(families.WORKERS_READY) == {(): 2}
    assert machine.scraped(families.CONNECTIONS) == {("0",): 0, ("1",): 7, ("2",): 0}
    assert machine.scraped(families.STARTS) == {("0",): 1, ("1",): 4, ("2",): 1}


def test_a_loop_that_stands_still_is_seen_by_the_others(machine: Machine) -> None:
    machine.board[1].beat = time.monotonic() - 60
    assert machine.scraped(families.SILENCE)[("1",)] >= 60


def test_series_that_are_not_of_this_version_are_left_out(machine: Machine) -> None:
    region = machine.cells.region(0)
    for key, width in ((("tureen_requests", "m"), 1), (("tureen_queue_duration_seconds", "m", "1"), 3), (("foreign",), 1)):
        region.cells[region.cell(key, width)] = 1
    assert machine.scraped(families.REQUESTS) == {}
    assert b"foreign" not in machine.exposition.write(PLAIN)[0]


def test_series_that_found_no_room_are_told(machine: Machine) -> None:
    region = machine.cells.region(1)
    region.cell(("x" * 5000,))
    assert machine.scraped(families.DROPPED_SERIES) == {(): 1}


def test_buckets_are_cumulative_and_their_last_is_the_count(machine: Machine) -> None:
    meters = [Meter(machine.cells.region(slot), lambda _: False) for slot in range(LINES)]
    for number, seconds in enumerate([0.00005, 0.0001, 0.03, 7, 200]):
        meters[number % LINES].plain(Plain("id", "GET", "/", "/", 200, seconds))
    found = {metric.name: metric for metric in parse_plain(machine.exposition.write(PLAIN)[0].decode())}
    samples = found["tureen_http_request_duration_seconds"].samples
    buckets = {sample.labels["le"]: sample.value for sample in samples if sample.name.endswith("_bucket")}
    assert (buckets["0.0001"], buckets["0.025"], buckets["0.05"], buckets["10.0"], buckets["+Inf"]) == (2, 2, 3, 4, 5)
    assert [sample.value for sample in samples if sample.name.endswith("_count")] == [5]
    assert [sample.value for sample in samples if sample.name.endswith("_sum")] == [pytest.approx(207.03015)]


@given(st.lists(st.tuples(st.integers(0, LINES - 1), st.sampled_from("ab"), st.integers(1, 9)), max_size=20))
def test_both_formats_say_what_was_counted(additions: list[tuple[int, str, int]]) -> None:
    machine = Machine()
    wanted: dict[str, int] = {}
    for slot, model, amount in additions:
        region = machine.cells.region(slot)
        region.cells[region.cell(("tureen_rows", model, "1"))] += amount
        wanted[model] = wanted.get(model, 0) + amount
    for metrics in (
        parse_plain(machine.exposition.write(PLAIN)[0].decode()),
        parse_open(machine.exposition.write(OPEN)[0].decode()),
    ):
        assert rows(list(metrics)) == wanted


def rows(metrics: list[Metric]) -> dict[str, float]:
    """Each model's rows."""
    samples = [sample for metric in metrics for sample in metric.samples if sample.name == "tureen_rows_total"]
    return {sample.labels["model"]: sample.value for sample in samples}


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;q=0.3",
            True,
        ),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.9", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=x", False),
    ],
)
def test_openmetrics_is_written_where_it_is_taken_more_gladly(accept: str, wanted: bool) -> None:
    assert wants_open(accept) is wanted


@given(st.text())
def test_no_accept_header_is_too_odd(accept: str) -> None:
    assert isinstance(wants_open(accept), bool)
    wants_open(f"application/openmetrics-text;{accept};version={accept},text/plain;version={accept};q={accept}")


@pytest.mark.parametrize("family", [*COUNTED.values(), *READ.values()], ids=lambda family: family.exposed)
def test_names_keep_to_prometheus_conventions(family: Family) -> None:
    assert re.fullmatch(r"tureen(_[a-z]+)+", family.exposed)
    assert family.exposed.endswith("_total") == (family.kind == "counter")
    assert not family.exposed.endswith(("_count", "_sum", "_bucket"))
    assert not re.search(r"_(ms|milliseconds|us|minutes|kb|mb|percent)(_|$)", family.exposed)
    assert (family.bounds != ()) == (family.kind == "histogram")
    assert list(family.bounds) == sorted(set(family.bounds))
    assert family.help.endswith(".")
    assert all(re.fullmatch(r"[a-z]+", label) and label not in {"le", "quantile", "job", "instance"} for label in family.labels)
    if "duration" in family.name or "lag" in family.name:
        assert "_seconds" in family.name
    if "memory" in family.name:
        assert family.name.endswith("_bytes")
