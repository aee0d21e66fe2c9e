"""What is counted of each request that ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching import Answer
from service.account import Plain
from service.engine import Engine
from service.metrics.cells import Cells, Key
from service.metrics.families import COUNTED, ROWS, SECONDS
from service.metrics.meter import METHODS, Meter
from service.protocol.infer import Infer
from service.request import Request
from service.response import Response
from service.routing import target
from tests.service.measured import repository, started

DURATIONS = ("tureen_queue_duration_seconds", "tureen_infer_duration_seconds", "tureen_batch_rows")


@dataclass(frozen=True, slots=True)
class Metered:
    """An engine, a meter of its requests, and what that has counted."""

    engine: Engine
    cells: Cells
    meter: Meter

    @property
    def values(self) -> Mapping[Key, list[float]]:
        """Every series' cells."""
        return dict(self.cells.read(0))

    def counts(self, family: str) -> dict[tuple[str, ...], int]:
        """Of each series of a histogram how often it was told."""
        return {key[1:]: int(sum(cells[:-1])) for key, cells in self.values.items() if key[0] == family}

    async def answered(self, *x: float) -> tuple[Request, Answer]:
        """A request to `double`, and its answer."""
        request = asked("/v2/models/double/infer")
        request.served = self.engine.served("double")
        request.infer = Infer({"x": np.array(x)}, len(x), ("y",))
        return request, await self.engine.submit(request.served, request.infer)


@pytest.fixture
async def metered(tmp_path: Path) -> AsyncIterator[Metered]:
    async with started(repository(tmp_path / "repository")) as engine:
        cells = Cells.create(1)
        yield Metered(engine, cells, Meter(cells.region(0), engine.registry.knows))


def asked(path: str) -> Request:
    found = target(path)
    assert found is not None
    return Request(found, {}, b"")


def response(status: int) -> Response:
    return Response(status, b"", b"")


async def test_an_answer_is_counted_once_in_every_family(metered: Metered) -> None:
    request, answer = await metered.answered(1, 2, 3)
    metered.meter.inference(request, response(200), answer, 0.002)
    values = metered.values
    assert values["tureen_requests", "double", "1", "200"] == [1]
    assert values["tureen_rows", "double", "1"] == [3]
    assert values["tureen_request_duration_seconds", "double", "1", "2xx"][-1] == 0.002
    assert values["tureen_batch_rows", "double", "1"][-1] == 3
    assert metered.counts("tureen_request_duration_seconds") == {("double", "1", "2xx"): 1}
    for family in DURATIONS:
        assert metered.counts(family) == {("double", "1"): 1}


async def test_requests_by_code_and_the_count_of_durations_add_up(metered: Metered) -> None:
    request, answer = await metered.answered(1)
    for status in (200, 200, 503, 504, 500):
        metered.meter.inference(request, response(status), answer if status == 200 else None, 0.002)
    metered.meter.inference(request, None, None, 0.1)
    by_code = {key[3]: int(cells[0]) for key, cells in metered.values.items() if key[0] == "tureen_requests"}
    assert by_code == {"200": 2, "503": 1, "504": 1, "500": 1, "499": 1}
    by_class = {("double", "1", "2xx"): 2, ("double", "1", "4xx"): 1, ("double", "1", "5xx"): 3}
    assert metered.counts("tureen_request_duration_seconds") == by_class
    assert sum(by_class.values()) == sum(by_code.values())
    for family in DURATIONS:
        assert metered.counts(family) == {("double", "1"): by_code["200"]}


async def test_an_answer_that_could_not_be_written_is_no_answered_request(metered: Metered) -> None:
    request, answer = await metered.answered(1)
    metered.meter.inference(request, response(500), answer, 0.002)
    metered.meter.inference(request, None, answer, 0.002)
    assert [metered.counts(family) for family in DURATIONS] == [{}, {}, {}]


async def test_names_that_only_callers_know_are_no_labels(metered: Metered) -> None:
    for path in ("/v2/models/nix/infer", "/v2/models/nix2/infer", "/v1/models/double/versions/77:predict"):
        metered.meter.inference(asked(path), response(404), None, 0.001)
    requests = {key[1:]: cells for key, cells in metered.values.items() if key[0] == "tureen_requests"}
    assert requests == {("", "", "404"): [2], ("double", "", "404"): [1]}


async def test_what_callers_send_never_makes_more_than_a_few_series(metered: Metered) -> None:
    for number in range(300):
        metered.meter.inference(asked(f"/v2/models/m{number}/versions/{number}/infer"), response(404), None, 0.001)
        metered.meter.plain(Plain("id", f"BREW{number}", "", "/nobody", 405, 0.001))
        metered.meter.plain(Plain("id", "GET", "", "/nobody", 1000 + number, 0.001))
    assert len(metered.values) == 5


@pytest.mark.parametrize("method", sorted(METHODS))
async def test_other_requests_are_counted_by_route_method_and_code(metered: Metered, method: str) -> None:
    metered.meter.plain(Plain("id", method, "/v2/models/<model:name>", "/v2/models/m", 404, 0.25))
    assert metered.values["tureen_http_requests", "/v2/models/<model:name>", method, "404"] == [1]
    assert metered.counts("tureen_http_request_duration_seconds") == {("/v2/models/<model:name>",): 1}


async def test_a_meter_goes_on_with_what_the_one_before_it_has_counted(metered: Metered) -> None:
    request, answer = await metered.answered(1)
    metered.meter.inference(request, response(200), answer, 0.002)
    again = Meter(Cells(metered.cells.memory, 1).region(0), metered.engine.registry.knows)
    again.inference(request, response(200), answer, 0.002)
    assert metered.values["tureen_requests", "double", "1", "200"] == [2]


@given(st.floats(0, 100))
def test_a_duration_falls_into_the_bucket_that_ends_at_or_above_it(seconds: float) -> None:
    cells = Cells.create(1)
    Meter(cells.region(0), lambda _: False).plain(Plain("id", "GET", "/", "/", 200, seconds))
    (counts,) = [values for key, values in cells.read(0) if key[0] == "tureen_http_request_duration_seconds"]
    wanted = [sum([seconds <= bound for bound in SECONDS][: place + 1]) for place in range(len(SECONDS))]
    assert [min(1, count) for count in wanted] == [int(sum(counts[: place + 1])) for place in range(len(SECONDS))]
    assert (sum(counts[:-1]), counts[-1]) == (1, seconds)


async def test_a_batch_is_counted_by_the_power_of_two_that_holds_it(metered: Metered) -> None:
    request, answer = await metered.answered(1)
    for rows in (1, 2, 3, 4, 5, 64, 5000):
        answer.batch_rows = rows
        metered.meter.inference(request, response(200), answer, 0.002)
    counts = metered.values["tureen_batch_rows", "double", "1"]
    told = dict(zip([*ROWS, "+Inf"], counts[:-1], strict=True))
    assert {bound: count for bound, count in told.items() if count} == {1: 1, 2: 1, 4: 2, 8: 1, 64: 1, "+Inf": 1}


async def test_many_requests_at_once_are_all_counted(metered: Metered) -> None:
    for request, answer in await asyncio.gather(*(metered.answered(number) for number in range(8))):
        metered.meter.inference(request, response(200), answer, 0.002)
    assert metered.counts("tureen_batch_rows") == {("double", "1"): 8}


def test_what_is_counted_has_a_family() -> None:
    for family in DURATIONS:
        assert COUNTED[family].kind == "histogram"
