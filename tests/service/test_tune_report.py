"""What `tureen tune` tells: sentences that are true of what was measured, and a piece of `model.toml` that loads."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.manifest import Batching, Manifest
from service.commands.bench import png
from service.commands.bench.charts import stacked
from service.commands.tune.chart import charts
from service.commands.tune.choice import Goal, Verdict
from service.commands.tune.measured import Point, Tried
from service.commands.tune.page import page
from service.commands.tune.report import Report, curve
from service.commands.tune.search import Outcome
from service.commands.tune.server import NotServed, configuration, served_alone
from service.commands.tune.settings import Settings
from service.commands.tune.text import text
from service.config import Config

CURRENT, BEST = Settings(64, 2.0, "early", 1, 1), Settings(128, 1.0, "early", 2, 1)
WHEN = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def tried(settings: Settings, *turns: tuple[float | None, float]) -> Tried:
    return Tried(settings, [Point(rate, rate or 900.0, p99 / 2, p99, 1000, 0, 0.2) for rate, p99 in turns])


def report(
    *,
    better: bool = True,
    goal: Goal = Goal(20.0),  # noqa: B008
    current: Tried | None = None,
    best: Tried | None = None,
    judged: bool = True,
    interrupted: bool = False,
    manifest: Manifest | None = None,
) -> Report:
    one = current or tried(CURRENT, (None, 70.0), (300, 12.0), (600, 34.0))
    other = best or tried(BEST, (None, 50.0), (600, 9.0), (900, 15.0))
    advised = other if better else one
    met = any(goal.met(point) for point in advised.paced)
    verdict = Verdict(600.0, 6, 34.0, 9.0, 1 / 64, better) if judged else None
    outcome = Outcome([other, one], one, advised, verdict, met, 61.0, interrupted)
    return Report("fraud", goal, manifest or Manifest(), outcome, "open loops; oip, 1 row a request", "2 cores", WHEN)


settings_ = st.builds(
    Settings,
    st.integers(1, 4096),
    st.floats(0, 1000),
    st.sampled_from(["early", "full"]),
    st.integers(1, 8),
    st.integers(1, 8),
)


@given(settings_, st.text(max_size=40))
def test_the_piece_of_model_toml_loads_as_what_was_measured(settings: Settings, load: str) -> None:
    one = replace(report(best=tried(settings, (600, 9.0))), load=load)
    assert Settings.of(Manifest.parse(one.fragment, model="fraud")) == settings


def test_keys_that_are_not_tuned_stay_in_it() -> None:
    manifest = Manifest(batching=Batching(queue_rows=77, timeout_ms=5000.0))
    found = Manifest.parse(report(manifest=manifest).fragment, model="fraud").batching
    assert (found.queue_rows, found.timeout_ms) == (77, 5000.0)


def test_it_says_what_was_measured_when_and_on_what() -> None:
    said = [line for line in report().fragment.splitlines() if line.startswith("#")]
    assert said == [
        "# tureen tune fraud, 2026-03-01 12:30, on 2 cores",
        "# open loops; oip, 1 row a request",
        "# p99 within 20 ms up to some 900 requests/s",
    ]


def test_threads_are_in_it_only_where_they_change() -> None:
    assert "[runtime]" not in report().fragment
    assert report(best=tried(replace(BEST, threads=2), (600, 9.0))).fragment.endswith("[runtime]\nthreads = 2")


def test_better_settings_are_advised_with_what_they_were_compared_to() -> None:
    first, second = report().advice[:2]
    assert first == (
        "Use 128 rows, 1 ms, early, 2 instances: at 600/s p99 9.00 ms against 34.0 ms of the current settings, in 6 pairs of turns."
    )
    assert second == "The goal is met: p99 within 20 ms up to some 900 requests/s."


def test_what_is_not_better_by_more_than_noise_is_not_advised() -> None:
    one = report(better=False)
    assert one.advice[0].startswith("Leave the settings as they are: the best of the others is not better by more than noise")
    assert Settings.of(Manifest.parse(one.fragment, model="fraud")) == CURRENT


def test_a_goal_that_is_not_met_is_said_so_with_the_nearest() -> None:
    one = report(current=tried(CURRENT, (100, 40.0), (50, 30.0)), best=tried(BEST, (100, 35.0), (60, 25.0)))
    assert "The goal of p99 20 ms is not met: p99 25.0 ms at 60 requests/s is the nearest of all that was tried." in one.advice


def test_what_seemed_to_meet_it_and_was_not_confirmed_is_told() -> None:
    one = report(better=False, current=tried(CURRENT, (100, 40.0)))
    assert any("128 rows, 1 ms, early, 2 instances seemed to meet it, which is not confirmed" in each for each in one.advice)


def test_an_interrupt_is_told_as_what_it_is() -> None:
    one = report(better=False, judged=False, interrupted=True)
    assert "interrupted after 61 s" in one.remarks[0]
    assert "interrupted before anything was confirmed" in one.advice[0]


@pytest.mark.parametrize("goal", [Goal(20.0), Goal(20.0, 600.0)], ids=["highest", "rate"])
@pytest.mark.parametrize("better", [True, False])
@pytest.mark.parametrize("p99", [9.0, 5000.0, math.inf])
def test_every_form_takes_whatever_was_measured(goal: Goal, better: bool, p99: float) -> None:
    one = report(better=better, goal=goal, best=tried(BEST, (600, p99), (1200, math.inf)))
    json.dumps(one.json(), allow_nan=False)
    assert one.fragment in text(one)
    parser = HTMLParser()
    parser.feed(page(one))
    parser.close()
    assert charts(one)


def test_a_page_shows_names_as_text() -> None:
    assert "<script>" not in page(replace(report(), model="<script>"))


def test_the_chart_is_a_picture(tmp_path: Path) -> None:
    file = tmp_path / "fraud.png"
    png.write(stacked(charts(report()), ["fraud"]), file)
    with Image.open(file) as image:
        assert image.width > 1000


def test_turns_of_nearly_one_rate_are_one_point_of_a_curve() -> None:
    points = curve(tried(CURRENT, (None, 99.0), (100, 10.0), (101, 12.0), (102, 14.0), (200, 20.0)))
    assert [(rate, p99) for rate, _, p99 in points] == [(101, 12.0), (200, 20.0)]


def placed(directory: Path, *models: str, file: str = "model.txt") -> Path:
    for model in models:
        version = directory / model / "1"
        version.mkdir(parents=True)
        (version / file).write_text("")
    return directory


def test_a_model_is_served_alone_unless_it_may_call_others(tmp_path: Path) -> None:
    placed(tmp_path, "fraud", "ranker")
    placed(tmp_path, "recommender", file="model.py")
    assert served_alone(tmp_path, None, "fraud")[1] == tmp_path / "fraud"
    assert served_alone(tmp_path, None, "recommender")[1] == tmp_path


def test_a_model_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    placed(tmp_path, "fraud", "ranker")
    with pytest.raises(NotServed, match=r"did you mean 'fraud'.*fraud, ranker"):
        served_alone(tmp_path, None, "fruad")


def test_a_file_is_served_as_such(tmp_path: Path) -> None:
    file = tmp_path / "scores.txt"
    file.write_text("")
    assert served_alone(file, None, "scores")[1] == file


def test_the_server_has_the_bounds_and_the_log_of_the_configuration_and_keeps_nobody_out(tmp_path: Path) -> None:
    given_ = tmp_path / "tureen.toml"
    given_.write_text(
        '[limits]\nrows = 7\nrequests_per_s = 1.0\n[log]\nlevel = "error"\ncapture = "c"\n[auth]\napi_keys = true\n'
        '[store]\nstate_dir = "s"\n[metrics]\nenabled = false\n'
    )
    made = tmp_path / "made.toml"
    made.write_text(configuration(Config.resolve(given_, {}, {})))
    config = Config.resolve(made, {}, {})
    assert (config.limits.rows, config.log.level, config.metrics.enabled) == (7, "error", False)
    assert (config.limits.requests_per_s, config.log.capture, config.auth.enabled, config.store.state_dir) == (
        None,
        None,
        False,
        None,
    )
