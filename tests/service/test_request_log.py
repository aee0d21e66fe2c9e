"""A line for each request that ends: which fields, which requests, and what callers cannot do to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batching import Answer
from service.account import Plain
from service.failures import Failure
from service.logs.lines import Form
from service.logs.request_log import BURST_S, Pace, RequestLog, level_of
from service.logs.writer import LogWriter
from service.protocol.infer import Infer
from service.request import Request
from service.response import Response, explained
from service.routing import Target, target
from service.sections import Log

PATIENCE_S = 20.0
NOW_S = 1.8e9
ANSWER = Answer({"y": np.zeros(3)}, 0.0012345, 0.0004, 17, "full")


class Lines:
    """A request log into a file, and what it has written."""

    def __init__(self, path: Path, config: Log, form: Form) -> None:
        self._path = path
        with path.open("wb") as file:
            self.writer = LogWriter(file.fileno(), form)
        self.log = RequestLog(config, self.writer)

    def text(self) -> str:
        assert self.writer.flush(PATIENCE_S)
        return self._path.read_text()

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]

    def one(self) -> dict[str, Any]:
        (line,) = self.all()
        del line["timestamp"], line["pid"]
        return line


@contextmanager
def lines(path: Path, form: Form | None = None, **config: object) -> Iterator[Lines]:
    made = Lines(path, Log.model_validate(config), form or Form(2))
    yield made
    made.writer.close(PATIENCE_S)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Lines]:
    with lines(tmp_path / "log") as made:
        yield made


def found(path: str) -> Target:
    made = target(path)
    assert made is not None
    return made


def request(path: str = "/v2/models/fraud/infer", name: bytes = b"r1", *, read: bool = True) -> Request:
    made = Request(found(path), {b"x-request-id": name}, b'{"inputs": []}')
    if read:
        made.infer = Infer({}, 3, ("y",))
    return made


def refusal(status: int, code: str) -> Response:
    return explained(Failure(status, code, "no"), "r1")


def test_an_answer_tells_all_of_it(told: Lines) -> None:
    told.log.inference(request("/v1/models/fraud/versions/7:predict"), Response(200, b"12345", b""), ANSWER, 0.00234)
    assert list(told.one().items()) == [
        ("level", "info"),
        ("logger", "tureen.request"),
        ("event", "request"),
        ("worker", 2),
        ("request_id", "r1"),
        ("principal", None),
        ("method", "POST"),
        ("protocol", "tfserving"),
        ("model", "fraud"),
        ("version", "7"),
        ("status", 200),
        ("code", None),
        ("rows", 3),
        ("queue_ms", 1.234),
        ("batch_rows", 17),
        ("infer_ms", 0.4),
        ("total_ms", 2.34),
        ("cache", None),
        ("bytes_in", 14),
        ("bytes_out", 5),
    ]


def test_a_refusal_tells_its_code_and_not_what_never_was(told: Lines) -> None:
    response = refusal(400, "invalid_input")
    told.log.inference(request(read=False), response, None, 0.001)
    line = told.one()
    assert (line["status"], line["code"], line["level"], line["bytes_out"]) == (400, "invalid_input", "warning", len(response.body))
    assert [line[name] for name in ("version", "rows", "queue_ms", "batch_rows", "infer_ms")] == [None] * 5


def test_a_client_that_left_is_499(told: Lines) -> None:
    told.log.inference(request(), None, None, 0.001)
    line = told.one()
    assert (line["status"], line["code"], line["bytes_out"], line["rows"]) == (499, None, 0, 3)


def test_any_other_request_tells_its_route_and_its_path(told: Lines) -> None:
    told.log.plain(Plain("r2", "GET", "/v2/models/<model:name>", "/v2/models/m", 404, 0.0015, "unknown_model"))
    assert list(told.one().items()) == [
        ("level", "warning"),
        ("logger", "tureen.request"),
        ("event", "request"),
        ("worker", 2),
        ("request_id", "r2"),
        ("principal", None),
        ("method", "GET"),
        ("route", "/v2/models/<model:name>"),
        ("path", "/v2/models/m"),
        ("status", 404),
        ("code", "unknown_model"),
        ("total_ms", 1.5),
    ]


@pytest.mark.parametrize(
    ("status", "level"), [(200, "info"), (302, "info"), (404, "warning"), (499, "warning"), (503, "warning"), (500, "error")]
)
def test_a_defect_is_an_error_and_a_refusal_a_warning(status: int, level: str) -> None:
    assert level_of(status) == level


@pytest.mark.parametrize("route", ["/healthz", "/v2/health/ready", "/metrics", "/", "/v2/models/<model:name>/ready"])
def test_probes_are_told_of_at_level_debug_alone(tmp_path: Path, route: str) -> None:
    for level, expected in (("info", []), ("debug", ["debug", "debug"])):
        with lines(tmp_path / level, level=level) as told:
            told.log.plain(Plain("r", "GET", route, route, 200, 0.001))
            told.log.plain(Plain("r", "GET", route, route, 503, 0.001))
            assert [line["level"] for line in told.all()] == expected


def every(log: RequestLog) -> None:
    """A hundred answers, a refusal and a defect, of either kind."""
    for _ in range(100):
        log.inference(request(), Response(200, b"", b""), ANSWER, 0.001)
        log.plain(Plain("r", "GET", "/v2", "/v2", 200, 0.001))
    for status in (503, 500):
        log.inference(request(), refusal(status, "x"), None, 0.001)
        log.plain(Plain("r", "GET", "/v2", "/v2", status, 0.001))


def test_sampled_are_the_requests_that_succeed_alone(tmp_path: Path) -> None:
    with lines(tmp_path / "none", sample=0.0) as told:
        every(told.log)
        assert [line["status"] for line in told.all()] == [503, 503, 500, 500]
    with lines(tmp_path / "half", sample=0.5) as told:
        every(told.log)
        assert 50 < len(told.all()) - 4 < 150


@pytest.mark.parametrize(("level", "expected"), [("warning", [503, 503, 500, 500]), ("error", [500, 500])])
def test_the_level_is_that_of_any_line(tmp_path: Path, level: str, expected: list[int]) -> None:
    with lines(tmp_path / "log", level=level) as told:
        every(told.log)
        assert [line["status"] for line in told.all()] == expected


def test_times_of_one_millisecond_share_their_text(told: Lines) -> None:
    for _ in range(50):
        told.log.plain(Plain("r", "GET", "/v2", "/v2", 200, 0.001))
    stamps = [line["timestamp"] for line in told.all()]
    assert stamps == sorted(stamps)


def test_people_get_what_is_known_in_columns(tmp_path: Path) -> None:
    with lines(tmp_path / "log", Form(0, pretty=True)) as told:
        told.log.inference(request(), Response(200, b"", b""), ANSWER, 0.001)
        text = told.text()
    assert "request [tureen.request] worker=0" in text
    assert "model=fraud status=200 rows=3 queue_ms=1.234 batch_rows=17" in text
    assert "principal" not in text


def rendered(form: Form, tell: Callable[[RequestLog], None], directory: Path) -> str:
    with lines(directory / "log", form) as told:
        tell(told.log)
        return told.text()


@settings(deadline=None, max_examples=40)
@given(
    st.binary(max_size=40),
    st.text(st.characters(codec=None, exclude_characters="/:"), min_size=1, max_size=20),
    st.text(max_size=20),
    st.text(st.characters(codec=None), max_size=40),
    st.booleans(),
)
def test_callers_cannot_forge_or_break_a_line(
    tmp_path_factory: pytest.TempPathFactory, name: bytes, version: str, method: str, path: str, pretty: bool
) -> None:
    asked = target(f"/v2/models/m/versions/{version}/infer")
    if asked is None:
        return

    def tell(log: RequestLog) -> None:
        log.inference(Request(asked, {b"x-request-id": name}, b""), refusal(404, "unknown_version"), None, 0.001)
        log.plain(Plain("r", method, "", path, 405, 0.001, "method_not_allowed"))

    text = rendered(Form(0, pretty=pretty), tell, tmp_path_factory.mktemp("forged"))
    first, second, end = text.split("\n")
    assert end == ""
    if not pretty:
        assert json.loads(first)["status"] == 404
        assert json.loads(second)["method"] == method
    assert "\x1b" not in text


@pytest.mark.parametrize("pretty", [False, True])
def test_control_characters_of_a_path_are_escapes(tmp_path: Path, pretty: bool) -> None:
    path = "/\x00\x1b[31m\n\x7f\x9b\u202e\udcff"
    text = rendered(Form(0, pretty=pretty), lambda log: log.plain(Plain("r", "GET", "", path, 404, 0.001)), tmp_path)
    shown = text.removesuffix("\n") if pretty else json.loads(text)["path"]
    assert r"/\x00\x1b[31m\n\x7f\x9b\u202e\udcff" in shown


@given(st.lists(st.floats(0, 0.01), max_size=400), st.sampled_from([0.01, 1.0, 10.0, 1000.0]))
def test_no_stretch_of_time_has_more_lines_than_the_pace_and_a_burst(gaps: list[float], most_per_s: float) -> None:
    pace, now, admitted = Pace(most_per_s), NOW_S, 0
    for gap in gaps:
        now += gap
        admitted += pace.admits(now)
    assert admitted <= (now - NOW_S + BURST_S) * most_per_s + 2


def test_a_second_at_full_load_has_its_lines_spread_over_it() -> None:
    pace = Pace(100)
    for _ in range(int(100 * BURST_S) + 1):
        pace.admits(NOW_S)
    tenths = [sum([pace.admits(NOW_S + tenth / 10 + n / 10_000) for n in range(1000)]) for tenth in range(10)]
    assert all(9 <= lines <= 11 for lines in tenths)


def test_a_clock_that_was_set_back_silences_nothing() -> None:
    pace = Pace(1)
    pace.admits(NOW_S)
    assert pace.admits(NOW_S - 3600)


def test_what_comes_beyond_the_pace_has_no_line_and_is_counted_but_an_error_has_one(tmp_path: Path) -> None:
    with lines(tmp_path / "log", most_per_s=0.1) as made:
        for status in (200, 200, 200, 200, 404, 500):
            made.log.plain(Plain("r", "GET", "/x", "/x", status, 0.001))
        assert [line["status"] for line in made.all()] == [200, 404, 500]
        assert made.writer.left_out == 3
