"""What `tureen status` makes of what it saw: pure functions, no server."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.commands.client import Client, Unreachable
from service.commands.counts import Counted
from service.commands.exposition import Sample, quantile, samples
from service.commands.look import Look, look
from service.commands.standing import report, text
from tests.service.listening import Answering, listening

URL = "http://127.0.0.1:8000"
SERVER = {"name": "tureen", "version": "0.1.0"}


def entry(name: str, version: str = "1", state: str = "READY", reason: str = "") -> dict[str, Any]:
    return {"name": name, **({"version": version} if version else {}), "state": state, "reason": reason}


def statistics(name: str, done: int, failed: int = 0, ns: int = 0, rows: int = 0, calls: int = 0) -> dict[str, Any]:
    counts = {"success": {"count": done, "ns": ns}, "fail": {"count": failed, "ns": 0}}
    return {"name": name, "version": "1", "inference_count": rows, "execution_count": calls, "inference_stats": counts}


def scrape(requests: int, errors: int = 0, slow: int = 0) -> tuple[Sample, ...]:
    return tuple(
        samples(f"""
# HELP tureen_requests_total Inference requests that ended
# TYPE tureen_requests_total counter
tureen_requests_total{{model="digits",version="1",code="200"}} {requests}
tureen_requests_total{{model="digits",version="1",code="503"}} {errors}
tureen_request_duration_seconds_bucket{{model="digits",version="1",le="0.001"}} {requests}
tureen_request_duration_seconds_bucket{{model="digits",version="1",le="0.1"}} {requests + slow}
tureen_request_duration_seconds_bucket{{model="digits",version="1",le="+Inf"}} {requests + slow}
tureen_request_duration_seconds_count{{model="digits",version="1"}} {requests + slow}
tureen_request_duration_seconds_sum{{model="digits",version="1"}} {requests * 0.0005}
tureen_rows_total{{model="digits",version="1"}} {requests * 2}
tureen_batches_total{{model="digits",version="1",reason="full"}} {requests / 4}
tureen_batches_total{{model="digits",version="1",reason="early"}} {requests / 4}
tureen_queued_rows{{model="digits",version="1"}} 7
tureen_model_memory_bytes{{model="digits",version="1"}} 3145728
tureen_workers{{phase="serving"}} 2
tureen_workers{{phase="starting"}} 0
tureen_connections{{worker="0"}} 5
tureen_connections{{worker="1"}} 6
""")
    )


def seen(at: float = 10.0, ready: bool = True, **more: Any) -> Look:
    return Look(at, SERVER, ready, **{"index": [entry("digits")], "platforms": {("digits", "1"): "onnxruntime_onnx"}, **more})


def test_without_metrics_the_numbers_are_those_of_the_statistics() -> None:
    told = report(URL, seen(statistics=[statistics("digits", done=8, failed=2, ns=16_000_000, rows=24, calls=6)]))
    (row,) = told.models
    assert (row.requests, row.errors, row.mean_ms, row.batch_rows) == (10, 2, 2.0, 4.0)
    assert (row.rate, row.p50_ms, row.queued) == (None, None, None)
    assert "of the worker that answered" in text(told)


def test_with_metrics_the_numbers_are_those_of_all_workers() -> None:
    told = report(URL, seen(samples=scrape(100, errors=3)))
    (row,) = told.models
    assert (row.requests, row.errors, row.mean_ms, row.batch_rows, row.queued) == (103, 3, 0.5, 4.0, 7)
    assert row.p50_ms == 0.5
    assert row.p99_ms == pytest.approx(0.99)
    assert (dict(told.workers), told.connections) == ({"serving": 2}, 11)
    assert "workers: 2 serving, 11 connections" in text(told)


def test_a_second_look_gives_the_rate_and_the_latencies_since_the_first() -> None:
    before, now = seen(10.0, samples=scrape(100)), seen(12.0, samples=scrape(150, slow=50))
    (row,) = report(URL, now, before).models
    assert (row.requests, row.rate) == (150, 25.0)
    assert row.p99_ms is not None
    assert row.p99_ms > 1.0  # the fifty slow ones are all of the interval's second half


def test_latencies_are_those_of_answered_requests_however_many_are_refused_in_no_time() -> None:
    refused = samples("""
tureen_requests_total{model="digits",version="1",code="429"} 5000
tureen_request_duration_seconds_bucket{model="digits",version="1",class="4xx",le="0.0001"} 5000
tureen_request_duration_seconds_bucket{model="digits",version="1",class="4xx",le="+Inf"} 5000
tureen_request_duration_seconds_count{model="digits",version="1",class="4xx"} 5000
tureen_request_duration_seconds_sum{model="digits",version="1",class="4xx"} 0.1
""")
    answered = tuple(replace(sample, labels={**sample.labels, "class": "2xx"}) for sample in scrape(100))
    (row,) = report(URL, seen(samples=(*answered, *refused))).models
    (alone,) = report(URL, seen(samples=answered)).models
    assert (row.requests, row.errors) == (5100, 5000)
    assert (row.mean_ms, row.p50_ms, row.p99_ms) == (alone.mean_ms, alone.p50_ms, alone.p99_ms)
    assert (row.mean_ms, row.p50_ms) == (0.5, 0.5)


def test_counters_that_went_back_count_from_zero() -> None:
    before, now = seen(10.0, samples=scrape(100)), seen(11.0, samples=scrape(40))
    assert report(URL, now, before).models[0].rate == 40.0


def test_metrics_that_were_turned_off_between_two_looks_are_not_compared_with_statistics() -> None:
    before = seen(10.0, samples=scrape(1000))
    now = seen(11.0, statistics=[statistics("digits", done=5)])
    assert report(URL, now, before).models[0].requests == 5


def test_a_version_that_does_not_answer_is_shown_with_its_reason() -> None:
    told = text(report(URL, seen(index=[entry("digits"), entry("fraud", "3", "UNAVAILABLE", "model.txt is cut short")])))
    assert "fraud   3        unavailable" in told
    assert "fraud/3: model.txt is cut short" in told


def test_a_server_that_is_not_ready_says_so_and_why() -> None:
    told = report(URL, seen(ready=False, reason="the server drains"))
    assert told.exit_code == 1
    assert text(told).startswith(f"tureen 0.1.0 on {URL}, NOT READY\n  the server drains\n")


def test_a_ready_server_without_models_says_what_to_do() -> None:
    assert "no model is there" in text(report(URL, seen(index=[])))
    assert "nothing has been loaded yet" in text(report(URL, seen(ready=False, index=[])))


def test_requests_that_reached_no_version_have_a_row_of_their_own() -> None:
    lost = Sample("tureen_requests_total", {"model": "fraud", "version": "", "code": "503"}, 4)
    rows = report(URL, seen(samples=(*scrape(1), lost))).models
    assert [(row.model, row.version, row.errors) for row in rows] == [("digits", "1", 0), ("fraud", "", 4)]


def test_versions_are_in_the_order_of_their_numbers() -> None:
    rows = report(URL, seen(index=[entry("a", "10"), entry("a", "9"), entry("a", "2")])).models
    assert [row.version for row in rows] == ["2", "9", "10"]


def test_columns_of_which_nothing_is_known_are_left_out() -> None:
    head = text(report(URL, seen())).splitlines()[2]
    assert head.split() == ["model", "version", "state", "platform", "requests", "errors"]


def test_the_json_holds_what_the_text_does() -> None:
    told = json.loads(json.dumps(report(URL, seen(samples=scrape(100))).json()))
    assert told["ready"] is True
    assert told["models"][0]["model"] == "digits"
    assert told["workers"] == {"serving": 2}


def test_what_is_not_ready_is_told_worker_by_worker() -> None:
    answers = {
        "/v2": (200, SERVER),
        "/v2/health/ready": (503, {"ready": False, "problems": [{"worker": 1, "pid": 42, "problem": "the server drains"}]}),
        "/v2/repository/index": (200, [entry("digits")]),
        "/v2/models/stats": (200, {"model_stats": []}),
        "/v2/models/digits/versions/1": (200, {"platform": "lightgbm"}),
    }
    with listening(Answering, answers=answers) as url, Client(url) as client:
        found = look(client)
    assert (found.ready, found.reason) == (False, "worker 1 (pid 42): the server drains")
    assert found.platforms == {("digits", "1"): "lightgbm"}
    assert found.samples is None


def test_labels_keep_their_quotes_braces_and_newlines() -> None:
    (sample,) = samples('a{x="1\\"2}\\n\\\\",y=""} 1.5 1700000000\n# a comment\nnonsense\n')
    assert (sample.name, dict(sample.labels), sample.value) == ("a", {"x": '1"2}\n\\', "y": ""}, 1.5)


@given(st.text())
def test_no_text_breaks_the_reading_of_a_scrape(scraped: str) -> None:
    for sample in samples(scraped):
        assert sample.name


def test_without_observations_there_is_no_quantile() -> None:
    assert quantile(0.5, []) is None
    assert quantile(0.5, [(1.0, 0), (math.inf, 0)]) is None


def test_beyond_the_last_bound_the_last_bound_is_given() -> None:
    assert quantile(0.99, [(1.0, 1), (math.inf, 100)]) == 1.0


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), st.floats(0, 1))
def test_a_quantile_lies_in_the_bucket_of_its_rank(counts: list[int], share: float) -> None:
    bounds = [float(n + 1) for n in range(len(counts))]
    cumulative = [sum(counts[: n + 1]) for n in range(len(counts))]
    value = quantile(share, [*zip(bounds, map(float, cumulative), strict=True), (math.inf, float(cumulative[-1]))])
    if not cumulative[-1]:
        assert value is None
        return
    assert value is not None
    rank = share * cumulative[-1]
    bucket = next(n for n, count in enumerate(cumulative) if count >= rank and count > 0)
    assert bounds[bucket] - 1 <= value <= bounds[bucket]


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_what_came_since_and_what_was_before_add_up(before: int, more: int) -> None:
    assert Counted(requests=before + more).since(Counted(requests=before)).requests == more


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://host", "http://", "http://host:port", "http://a:b@host", "http://h?q"]
)
def test_what_is_no_address_of_a_server_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ValueError, match=r"http://127\.0\.0\.1:8000"):
        Client(url)


def test_where_nothing_listens_the_sentence_says_what_to_do() -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(Unreachable, match="start a server with `tureen serve`"):
        client.get("/v2")
