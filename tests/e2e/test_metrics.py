"""One scrape for all workers: what a load has sent is what they have counted, and nothing that was counted is lost."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as parse

from service import Config, create_app
from service.sections import Metrics
from tests.e2e.patience import until
from tests.e2e.served import Server, serving

parse_open: Callable[[str], Iterable[Metric]] = text_string_to_metric_families

GOOD = "/v1/models/boost:predict", {"instances": [[0.1, 0.2, 0.3, 0.4]] * 3}
OLD = (
    "/v2/models/boost/versions/1/infer",
    {"inputs": [{"name": "input", "datatype": "FP64", "shape": [1, 4], "data": [1, 2, 3, 4]}]},
)
BAD = "/v1/models/boost:predict", {"instances": [[0.1]]}
NO_MODEL = "/v2/models/nix/infer", {"instances": [[0]]}
NO_VERSION = "/v2/models/boost/versions/77/infer", {"instances": [[0]]}
TOO_LARGE = "/v1/models/boost:predict", {"instances": [[0.1] * 4] * 2000}
#: What each is answered with, and how it is counted: model, version, code.
LOAD = {
    0: (GOOD, ("boost", "2", "200")),
    1: (OLD, ("boost", "1", "200")),
    2: (BAD, ("boost", "2", "400")),
    3: (NO_MODEL, ("", "", "404")),
    4: (NO_VERSION, ("boost", "", "404")),
    5: (TOO_LARGE, ("boost", "", "413")),
}

Samples = Mapping[tuple[str, tuple[str, ...]], float]


def scrape(server: Server) -> Samples:
    """Every sample, by its name and its labels' values in the order of their names."""
    reply = server.get("/metrics")
    assert reply.status == 200
    return {
        (sample.name, tuple([value for _, value in sorted(sample.labels.items())])): sample.value
        for metric in parse(reply.body.decode())
        for sample in metric.samples
    }


def by_code(samples: Samples) -> Counter[tuple[str, str, str]]:
    """Inference requests by model, version and code."""
    found = {labels: value for (name, labels), value in samples.items() if name == "tureen_requests_total"}
    return Counter({(model, version, code): int(value) for (code, model, version), value in found.items()})


def counts(samples: Samples, family: str) -> int:
    """How often a histogram was told, over all its series."""
    return int(sum([value for (name, _), value in samples.items() if name == f"{family}_count"]))


def total(samples: Samples, name: str) -> float:
    """A family's samples of that name, added up."""
    return sum([value for (found, _), value in samples.items() if found == name])


@pytest.fixture(scope="module", params=["hypercorn", "uvicorn"])
def crew(kitchen: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Two workers, on each server."""
    env = {"TUREEN_LIMITS__BODY_BYTES": "20000"}
    with serving(kitchen, "--workers", 2, kind=request.param, cwd=tmp_path_factory.mktemp("crew"), env=env) as server:
        yield server


def send(server: Server, number: int) -> tuple[str, str, str]:
    """One request of the load; how it is to be counted."""
    (path, body), counted = LOAD[number % len(LOAD)]
    reply = server.post(path, body, {"X-Request-Id": str(number)} if number % 7 else None)
    assert str(reply.status) == counted[2]
    return counted


def load(server: Server, requests: int) -> Counter[tuple[str, str, str]]:
    """Sends so many, some at once, each on a connection of its own; how they are to be counted."""
    with ThreadPoolExecutor(6) as callers:
        return Counter(callers.map(lambda number: send(server, number), range(requests)))


def test_a_load_is_what_all_workers_have_counted_by_code(crew: Server) -> None:
    before = scrape(crew)
    sent = load(crew, 120)
    after = scrape(crew)
    assert by_code(after) - by_code(before) == sent
    answered = sum([count for (_, _, code), count in sent.items() if code == "200"])
    for family in ("tureen_queue_duration_seconds", "tureen_infer_duration_seconds", "tureen_batch_rows"):
        assert counts(after, family) - counts(before, family) == answered
    assert counts(after, "tureen_request_duration_seconds") - counts(before, "tureen_request_duration_seconds") == sent.total()
    rows = total(after, "tureen_rows_total") - total(before, "tureen_rows_total")
    assert rows == 3 * sent["boost", "2", "200"] + sent["boost", "1", "200"]


def test_no_counter_falls_while_workers_count(crew: Server) -> None:
    with ThreadPoolExecutor(1) as caller:
        sending = caller.submit(load, crew, 60)
        seen = [scrape(crew)]
        while not sending.done():
            seen.append(scrape(crew))
        sending.result()
    for before, after in pairwise(seen):
        assert_nothing_fell(before, after)


def assert_nothing_fell(before: Samples, after: Samples) -> None:
    grows = ("_total", "_count", "_bucket", "_sum")
    for sample, value in before.items():
        if sample[0].endswith(grows):
            assert after[sample] >= value, sample


def test_other_requests_are_counted_by_route(crew: Server) -> None:
    before = scrape(crew)
    for path in ("/v2/models/boost", "/v2/models/greet", "/nothing/here", "/nor/here"):
        crew.get(path)
    after = scrape(crew)
    for labels, wanted in (
        (("200", "GET", "/v2/models/<model:name>"), 2),
        (("404", "GET", ""), 2),
        (("200", "GET", "/metrics"), 1),
    ):
        sample = ("tureen_http_requests_total", labels)
        assert after[sample] - before.get(sample, 0) == wanted


def test_models_workers_and_processes_are_shown(crew: Server) -> None:
    until(lambda: scrape(crew).get(("tureen_workers_ready", ())) == 2, "both workers are ready")
    until(lambda: len([name for name, _ in scrape(crew) if name == "tureen_process_threads"]) == 2, "both have published")
    samples = scrape(crew)
    assert samples["tureen_model_ready", ("boost", "2")] == 1
    assert samples["tureen_slots", ("boost", "2")] == 2
    assert samples["tureen_workers", ("serving",)] == 2
    assert total(samples, "tureen_worker_starts_total") >= 2
    assert total(samples, "tureen_connections") >= 1
    assert total(samples, "tureen_log_lines_total") > 0
    assert samples["tureen_log_dropped_lines_total", ()] == 0
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "event_loop_lag_max_seconds"):
        assert len([labels for found, labels in samples if found == f"tureen_{name}"]) == 2


def test_nothing_goes_back_when_a_worker_is_killed(crew: Server) -> None:
    load(crew, 60)
    before = scrape(crew)
    victim = crew.workers[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in crew.workers and len(crew.workers) == 2, "another has taken its place")
    until(lambda: scrape(crew).get(("tureen_workers_ready", ())) == 2, "it is ready")
    after = scrape(crew)
    assert_nothing_fell(before, after)
    assert by_code(after) == by_code(before)
    sent = load(crew, 60)
    assert by_code(scrape(crew)) - by_code(after) == sent
    starts = "tureen_worker_starts_total"
    assert total(after, starts) - total(before, starts) == 1


def test_each_lane_of_each_server_counts_the_same(server: Server) -> None:
    before = by_code(scrape(server))
    sent = Counter([send(server, number) for number in range(5)])
    assert by_code(scrape(server)) - before == sent


def test_openmetrics_is_given_to_who_asks_for_it(hypercorn_server: Server) -> None:
    reply = hypercorn_server.get("/metrics", {"Accept": "application/openmetrics-text; version=1.0.0, text/plain;q=0.5"})
    assert reply.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "tureen_requests" in {metric.name for metric in parse_open(reply.body.decode())}


def test_a_scrape_is_compressed_for_who_takes_that(hypercorn_server: Server) -> None:
    load(hypercorn_server, 4)
    reply = hypercorn_server.get("/metrics", {"Accept-Encoding": "gzip"})
    assert (reply.headers["content-encoding"], reply.body[:2]) == ("gzip", b"\x1f\x8b")


async def test_where_nothing_is_counted_it_says_how_to_turn_it_on(kitchen: Path) -> None:
    app = create_app(Config(repository=kitchen / "boost" / "1" / "model.txt", metrics=Metrics(enabled=False)))
    reply = await app.test_client().get("/metrics")
    told = await reply.get_json()
    assert (reply.status_code, told["code"]) == (404, "not_found")
    assert "enabled = true" in told["error"]
