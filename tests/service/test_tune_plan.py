"""What `tureen tune` tries, and how it spends its time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.manifest import Batching, Manifest
from service.commands.tune.plan import plan
from service.commands.tune.settings import Settings, Space

settings_ = st.builds(
    Settings,
    st.integers(1, 4096),
    st.floats(0, 1000).map(lambda ms: round(ms, 2)),
    st.sampled_from(["early", "full"]),
    st.integers(1, 8),
    st.integers(1, 8),
)
spaces = st.builds(Space, st.integers(1, 4096), st.floats(0.1, 1000), st.integers(1, 8), st.integers(1, 8), st.booleans())


def manifest(settings: Settings) -> Manifest:
    return Manifest.model_validate(settings.sections())


@given(settings_)
def test_settings_are_sections_of_a_model_toml(settings: Settings) -> None:
    assert Settings.of(manifest(settings)) == settings


@given(settings_, spaces)
def test_the_current_settings_are_tried_first_and_nothing_twice(current: Settings, space: Space) -> None:
    grid = space.coarse(current)
    assert grid[0] == current
    assert len(set(grid)) == len(grid)


@given(settings_, spaces)
def test_what_differs_least_comes_first(current: Settings, space: Space) -> None:
    grid = space.coarse(current)[2:]
    assert [current.differences(one) for one in grid] == sorted(current.differences(one) for one in grid)


@given(settings_, spaces)
def test_whatever_is_tried_is_valid_and_within_bounds(current: Settings, space: Space) -> None:
    for one in {*space.coarse(current), *space.neighbours(current)} - {current, *space.coarse(current)[:2]}:
        manifest(one)
        assert one.max_rows <= max(space.max_rows, current.max_rows)
        assert one.instances <= max(space.instances, current.instances)
        assert one.threads <= max(space.threads, current.threads)
        assert one.window_ms <= max(space.window_ms, current.window_ms)


@given(settings_, spaces)
def test_a_step_changes_one_thing(current: Settings, space: Space) -> None:
    assert {current.differences(one) for one in space.neighbours(current)} <= {1}


def test_rows_and_windows_of_a_model_that_is_not_batched_are_left_alone() -> None:
    space, current = Space(1024, 10.0, 2, 2, batched=False), Settings(64, 2.0, "early", 1, 1)
    tried = [*space.coarse(current), *space.neighbours(current)]
    assert {(one.max_rows, one.window_ms, one.close) for one in tried} == {(64, 2.0, "early")}
    assert len(set(tried)) > 1


def test_the_defaults_are_among_what_is_tried() -> None:
    default = Settings.of(Manifest(batching=Batching()))
    assert default in Space(1024, 10.0, 2, 1).coarse(Settings(7, 33.0, "full", 4, 1))[:2]


@given(st.floats(3, 36_000), st.floats(0, 2), st.integers(1, 60), st.sampled_from([1, 2]), st.floats(0, 20))
def test_a_plan_keeps_its_order_and_its_time(seconds: float, overhead: float, there: int, first: int, least: float) -> None:
    planned = plan(seconds, overhead, there, first, least)
    assert 0 < planned.swept_s < planned.contested_s < planned.seconds
    assert 1 <= planned.settings <= there
    assert 0.3 <= planned.turn_s <= 3.0
    if planned.settings > 2:
        assert first * planned.settings * (planned.turn_s + overhead) <= planned.swept_s + 1e-6


@pytest.mark.parametrize("seconds", [30, 120, 600, 3600])
def test_there_is_time_for_pairs_enough_to_tell_a_difference_from_noise(seconds: float) -> None:
    planned = plan(seconds, 0.4, 40)
    assert (planned.seconds - planned.contested_s) / (2 * (planned.turn_s + 0.4)) >= 5


def test_two_minutes_try_a_dozen_settings() -> None:
    assert 12 <= plan(120, 0.4, 48).settings <= 24
