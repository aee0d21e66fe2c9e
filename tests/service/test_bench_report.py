"""What `tureen bench` shows of a run: on a terminal, as JSON, as a page and as pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.commands.bench import png
from service.commands.bench.batches import Batches
from service.commands.bench.charts import charts, stacked, ticks
from service.commands.bench.drawing import svg
from service.commands.bench.page import page
from service.commands.bench.record import Record, Told, named
from service.commands.bench.result import Asked, Result, percentile_curve
from service.commands.bench.text import bars, coarse, spark, text

ASKED = Asked("http://127.0.0.1:8000", "digits", None, "oip", 32, None, "poisson", 1, 10.0, 2.0)
TOLD = Told(b'queue;dur=2.000, infer;dur=1.000, total;dur=4.0, batch;desc="rows=6"', b"1", b"")


def recorded(latencies_ms: list[float], failures: int = 0, sentence: str = "the queue is full") -> Record:
    record = Record(10.0)
    record.begin(100.0)
    for n, latency in enumerate(latencies_ms):
        due = 100.0 + 9 * n / len(latencies_ms)
        record.asked(due, due + 1e-4)
        record.answered(due, due + latency / 1e3, 2, TOLD)
    for _ in range(failures):
        record.failure("503 queue_full", 101.0, sentence)
    return record


def result(record: Record | None = None, batches: Batches | None = None, unsent: int = 0, asked: Asked = ASKED) -> Result:
    made = recorded([1.0] * 90 + [10.0] * 10) if record is None else record
    return Result(asked, made, 10.0, 0.1, unsent, False, 32, batches)


def test_the_text_holds_rates_percentiles_and_batches() -> None:
    told = text(result(batches=Batches(40, 200, {1: 8, 6: 32}, "statistics", {"early": 30, "full": 10})))
    assert "closed loop of 32 connections, 10.0 s" in told
    assert "10.0 requests/s, 20.0 rows/s" in told
    assert "100 requests: 100 answered, 0 failed" in told
    assert ["latency", "1.00", "1.90", "1.00"] in [line.split()[:4] for line in told.splitlines()]
    assert "batches: 40 calls, 5.00 rows each on average" in told
    assert "closed: early 75%, full 25%" in told


def test_failures_are_shown_with_their_sentence_and_never_within_the_latencies() -> None:
    told = text(result(recorded([1.0] * 10, failures=1000)))
    assert "1,010 requests: 10 answered, 1,000 failed" in told
    assert "1,000 503 queue_full: the queue is full" in told


def test_what_was_never_sent_is_a_remark() -> None:
    asked = replace(ASKED, rate=1000.0)
    told = text(result(unsent=12_345, asked=asked))
    assert "12,445 requests: 100 answered, 0 failed, 12,345 never sent" in told
    assert "! 12,345 requests were due and never sent" in told
    assert "sent late" in told


def test_a_run_without_a_success_shows_what_failed_and_no_empty_tables() -> None:
    told = text(result(recorded([], failures=3)))
    assert told.endswith("3 503 queue_full: the queue is full")


def test_a_busy_client_says_that_it_may_be_the_limit() -> None:
    assert "may be the limit itself" in text(replace(result(), busy=0.97))


def test_batches_that_are_estimated_say_so() -> None:
    assert "estimated by the answers" in text(result(batches=Batches(2, 4, {2: 2}, "answers")))


def test_the_json_says_the_same() -> None:
    told = json.loads(json.dumps(result(batches=Batches(40, 200, {1: 8, 6: 32}, "statistics"), unsent=5).json()))
    assert told["requests"] == {"due": 105, "sent": 100, "ok": 100, "failed": 0, "never_sent": 5}
    assert told["latency_ms"]["max"] == 10.0
    assert told["batches"]["by_rows"] == [{"rows": 1, "calls": 8}, {"rows": 6, "calls": 32}]
    assert sum(slot["ok"] for slot in told["timeline"]) == 100


def test_answers_that_were_given_again_are_of_no_batch() -> None:
    record = recorded([1.0])
    again = b'queue;dur=0.000, infer;dur=0.000, total;dur=0.1, batch;desc="rows=0"'
    record.answered(100.0, 100.1, 2, Told(again, b"1", b"hit"))
    record.answered(100.0, 100.1, 2, Told(TOLD.timing, b"1", b"joined"))
    assert (record.ok, record.cache, record.shared) == (3, {"hit": 1, "joined": 1}, {6: 2})
    assert record.infer.count == record.queue.count == 1


class Reader(HTMLParser):
    """Which elements a page has, and what leads out of it."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.outside += [str(value) for name, value in attrs if name in ("src", "href")]


def test_the_page_needs_no_other_file_and_takes_no_markup_from_a_server() -> None:
    evil = "<script>alert(1)</script>"
    reader = Reader()
    reader.feed(page(result(recorded([1.0] * 100, failures=3, sentence=evil), asked=replace(ASKED, model=evil))))
    assert reader.outside == []
    assert "script" not in reader.elements
    assert reader.elements.count("svg") == 3


def test_a_server_cannot_command_the_terminal_by_json() -> None:
    assert "\x1b" not in json.dumps(result(recorded([1.0], failures=1, sentence="\x1b[2J")).json())


def test_every_chart_is_well_formed_and_within_its_frame() -> None:
    run = result(recorded([1.0] * 90 + [10.0] * 10, failures=50), Batches(40, 200, {1: 8, 6: 32}, "statistics"))
    drawings = charts(run)
    assert len(drawings) == 4
    for drawing in drawings:
        root = ElementTree.fromstring(svg(drawing))
        for line in root.iter("{http://www.w3.org/2000/svg}polyline"):
            for point in line.attrib["points"].split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= drawing.width
                assert 0 <= y <= drawing.height


def test_a_png_is_a_picture_of_all_charts(tmp_path: Path) -> None:
    drawing = stacked(charts(result(batches=Batches(40, 200, {1: 8, 6: 32}, "statistics"))), ["digits"])
    png.write(drawing, tmp_path / "run.png")
    with Image.open(tmp_path / "run.png") as image:
        assert (image.format, image.size) == ("PNG", (2 * drawing.width, 2 * drawing.height))
        assert len(image.getcolors(1 << 16) or ()) > 10


@settings(deadline=None)
@given(st.floats(1e-6, 1e9), st.integers(2, 10))
def test_ticks_are_round_few_and_within_the_axis(most: float, about: int) -> None:
    found = ticks(most, about)
    assert found[0] == 0.0
    assert 1 <= len(found) <= 2 * about + 1
    assert max(found) <= most * 1.00001


@settings(deadline=None)
@given(st.dictionaries(st.integers(1, 5000), st.integers(0, 100), min_size=1), st.integers(1, 40))
def test_ranges_of_rows_are_few_adjoin_and_lose_no_call(by_rows: dict[int, int], most: int) -> None:
    found = coarse(by_rows, most)
    assert len(found) <= most
    assert sum(calls for _, _, calls in found) == sum(by_rows.values())
    assert all(high < found[n + 1][0] for n, (_, high, _) in enumerate(found[:-1]))


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e9), max_size=50))
def test_bars_and_sparks_are_as_long_as_their_values_are_great(values: list[float]) -> None:
    assert all(len(bar) <= 40 for bar in bars(values))
    assert len(spark(values)) == len(values)
    if any(values):
        assert bars(values)[values.index(max(values))] == "█" * 40
        assert spark(values)[values.index(max(values))] == "█"


@settings(deadline=None)
@given(st.lists(st.floats(1e-6, 10), min_size=20, max_size=200))
def test_the_percentile_curve_ascends_and_ends_ten_before_the_last(latencies: list[float]) -> None:
    record = recorded([1e3 * latency for latency in latencies])
    curve = percentile_curve(record.latency)
    assert [y for _, y in curve] == sorted(y for _, y in curve)
    assert curve[-1][1] <= max(latencies) * 1e3 * 1.001 + 1e-3


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_whatever_a_refusal_holds_it_has_a_name(body: bytes) -> None:
    assert named(503, body)[0].startswith("503")


def test_kinds_of_failures_that_a_server_makes_up_are_bounded() -> None:
    record = Record(1.0)
    for n in range(1000):
        record.failure(f"500 made_up_{n}", 0.0, "")
    assert len(record.failures) <= 65
    assert sum(found.count for found in record.failures.values()) == record.failed == 1000
