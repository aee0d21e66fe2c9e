"""Answers that are given again, over HTTP: by both lanes and both servers, and never the wrong ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.patience import until
from tests.e2e.redis_server import redis_server
from tests.e2e.served import Server, serving

MODEL = '''
import time

import numpy as np

from models import PythonModel, TensorSpec


class Summed(PythonModel):
    """The sum of a row, and the number of the call that found it."""

    inputs = [TensorSpec("x", "FP64", [-1, -1])]
    outputs = [TensorSpec("y", "FP64", [-1]), TensorSpec("call", "INT64", [-1])]

    def load(self, directory, models):
        self.calls = 0

    def infer(self, inputs):
        self.calls += 1
        if inputs["x"][0, 0] == 7.0:
            time.sleep(0.3)
        rows = len(inputs["x"])
        return {"y": inputs["x"].sum(axis=1), "call": np.full(rows, self.calls)}
'''
#: Requests with an Origin go by way of Quart, the others by the express lane.
LANES: Mapping[str, Mapping[str, str]] = {"express": {}, "quart": {"Origin": "https://shop.example"}}
PREDICT = "/v1/models/summed:predict"


def repository(directory: Path) -> Path:
    (directory / "summed" / "1").mkdir(parents=True)
    (directory / "summed" / "1" / "model.py").write_text(MODEL)
    (directory / "summed" / "model.toml").write_text("[cache]\nttl_s = 600\n[warmup]\ncalls = 0\n")
    return directory


@pytest.fixture(scope="module", params=["hypercorn", "uvicorn"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("served")
    with serving(repository(directory / "repository"), kind=request.param, cwd=directory) as server:
        yield server


def asked(server: Server, row: list[float], headers: Mapping[str, str] | None = None) -> tuple[str | None, float, int]:
    reply = server.post(PREDICT, {"instances": [row]}, headers or {})
    assert reply.status == 200, reply.body
    (prediction,) = reply.json()["predictions"]
    return reply.headers.get("x-cache"), prediction["y"], prediction["call"]


def test_the_second_who_asks_has_the_first_ones_answer_by_either_lane(server: Server) -> None:
    how, _, call = asked(server, [1.0, 2.0])
    assert how == "miss"
    for headers in LANES.values():
        assert asked(server, [1.0, 2.0], headers) == ("hit", 3.0, call)


def test_either_protocol_has_what_the_other_had_computed(server: Server) -> None:
    _, _, call = asked(server, [11.0, 2.0])
    tensor = {"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [11.0, 2.0]}
    for name in ("one", "two"):
        reply = server.post("/v2/models/summed/infer", {"id": name, "inputs": [tensor]})
        assert reply.headers["x-cache"] == "hit"
        assert reply.json()["id"] == name
        assert [output["data"] for output in reply.json()["outputs"]] == [[13.0], [call]]


@pytest.mark.parametrize("lane", LANES)
def test_what_is_asked_again_and_again_in_the_same_words_has_the_same_answer(server: Server, lane: str) -> None:
    body = {"id": f"words {lane}", "inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [21.0, 2.0]}]}
    replies = [server.post("/v2/models/summed/infer", body, dict(LANES[lane])) for _ in range(4)]
    assert [reply.headers["x-cache"] for reply in replies[1:]] == ["hit"] * 3
    assert len({reply.body for reply in replies}) == 1
    assert len({reply.headers["x-request-id"] for reply in replies}) == 4
    assert {reply.headers["x-model-version"] for reply in replies} == {"1"}
    packed = server.post("/v2/models/summed/infer", body, {**LANES[lane], "Accept-Encoding": "gzip"})
    assert (packed.status, packed.headers["x-cache"]) == (200, "hit")


def test_a_wish_that_makes_no_sense_is_refused_however_well_the_body_is_known(server: Server) -> None:
    for _ in range(3):
        asked(server, [31.0, 2.0])
    for header in ({"X-Request-Timeout-Ms": "soon"}, {"X-Priority": "mine"}, {"Content-Type": "image/png"}):
        reply = server.post(PREDICT, {"instances": [[31.0, 2.0]]}, header)
        assert reply.status in (400, 415), header
    assert server.post(PREDICT, {"instances": [[31.0, 2.0]]}, {"Content-Encoding": "gzip"}).status == 400


def test_arrays_of_ten_thousand_that_differ_in_the_middle_get_different_answers(server: Server) -> None:
    row = [0.0] * 10_000
    assert asked(server, row)[1] == 0.0
    row[5_000] = 1.0
    assert asked(server, row)[:2] == ("miss", 1.0)


def test_a_hundred_who_ask_at_once_have_it_computed_once(server: Server) -> None:
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: asked(server, [7.0]), range(100)))
    assert len({call for _, _, call in answers}) == 1
    assert [how for how, _, _ in answers].count("miss") == 1


def test_errors_are_not_kept(server: Server) -> None:
    for _ in range(2):
        reply = server.post(PREDICT, {"instances": [["no number"]]})
        assert (reply.status, reply.headers.get("x-cache")) == (400, None)


def test_the_metrics_tell_hits_from_misses(server: Server) -> None:
    asked(server, [21.0])
    asked(server, [21.0])
    until(lambda: 'tureen_cache_lookups_total{model="summed",result="hit",version="1"}' in metrics(server), "it is counted")
    assert 'tureen_cache_costly{model="summed",version="1"}' in metrics(server)


def test_the_log_and_the_statistics_tell_how_an_answer_was_come_by(server: Server) -> None:
    before = server.statistics("summed")["inference_stats"]
    for how in ("miss", "hit"):
        reply = server.post(PREDICT, {"instances": [[41.0]]})
        told = (reply.headers["x-request-id"], f'"cache":"{how}"')
        until(partial(in_one_line, server, told), "it is told")
    after = server.statistics("summed")["inference_stats"]
    more = {total: after[total]["count"] - before[total]["count"] for total in ("success", "queue", "cache_hit", "cache_miss")}
    assert more == {"success": 2, "queue": 1, "cache_hit": 1, "cache_miss": 1}


def test_what_an_unloaded_version_had_answered_is_gone(server: Server) -> None:
    asked(server, [31.0])
    assert server.post("/v2/repository/models/summed/unload").status == 200
    until(lambda: values(server) == 0, "its answers are gone")
    assert server.post("/v2/repository/models/summed/load").status == 200
    assert asked(server, [31.0])[0] == "miss"


def in_one_line(server: Server, words: Sequence[str]) -> bool:
    return any(all(word in line for word in words) for line in server.log)


def metrics(server: Server) -> str:
    reply = server.get("/metrics")
    assert reply.status == 200
    return reply.body.decode()


def values(server: Server) -> float:
    return sum(float(line.split()[-1]) for line in metrics(server).splitlines() if line.startswith("tureen_cache_values"))


def test_two_workers_share_their_answers_by_redis_and_do_without_it(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        config = tmp_path / "tureen.toml"
        config.write_text(f'workers = 2\n[cache]\nurl = "{redis.url}"\ntimeout_ms = 5000\n')
        with serving(repository(tmp_path / "repository"), "--config", str(config), cwd=tmp_path) as server:
            asked(server, [1.0])
            until(lambda: "tureen:answer:" in redis.ask("keys", "*"), "it is kept")
            assert {asked(server, [1.0])[0] for _ in range(20)} == {"hit"}
            redis.stop()
            assert {asked(server, [float(number)])[0] for number in range(20)} == {"miss"}
            assert server.get("/v2/health/ready").status == 200
    assert sum("Redis does not keep answers" in line for line in server.log) >= 1


def test_however_many_ask_at_once_redis_is_not_given_up(tmp_path: Path) -> None:
    rows = [[float(row)] for row in range(100, 740)]
    with redis_server(tmp_path) as redis:
        config = tmp_path / "tureen.toml"
        config.write_text(f'workers = 1\n[cache]\nurl = "{redis.url}"\ntimeout_ms = 20000\n')
        with (
            serving(repository(tmp_path / "repository"), "--config", str(config), cwd=tmp_path) as server,
            ThreadPoolExecutor(16) as pool,
        ):
            assert {how for how, *_ in pool.map(partial(asked, server), rows)} == {"miss"}
            until(lambda: redis.ask("dbsize") == str(len(rows)), "they are kept")
            assert {how for how, *_ in pool.map(partial(asked, server), rows)} == {"hit"}
    assert not any("Redis does not keep answers" in line for line in server.log)
