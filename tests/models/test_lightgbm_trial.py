from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.errors import LoadError
from models.runtimes import lightgbm_trial
from models.runtimes.lightgbm_native import library_path
from models.runtimes.lightgbm_text import read_model_text
from models.runtimes.lightgbm_trial import CHILD, plain, try_model_text


@cache
def sample() -> bytes:
    random = np.random.default_rng(3)
    rows = random.normal(size=(60, 4))
    rows[:, 3] = random.integers(0, 6, 60)
    parameters = {"verbose": -1, "num_threads": 1, "num_leaves": 4, "min_data_in_leaf": 3, "min_data_per_group": 1, "cat_smooth": 1}
    dataset = lightgbm.Dataset(rows, rows[:, 0] + 3 * (rows[:, 3] == 2), categorical_feature=[3])
    return bytes(lightgbm.train(parameters, dataset, 3).model_to_string().encode())


@pytest.fixture(autouse=True)
def _nothing_passed_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightgbm_trial, "_passed", set())


def refusal(text: bytes, **limits: float) -> str:
    with pytest.raises(LoadError) as caught:
        try_model_text(text, library_path(), **limits)
    return str(caught.value)


def test_a_sound_text_passes() -> None:
    try_model_text(sample(), library_path())


def test_a_model_without_trees_passes() -> None:
    try_model_text(
        re.sub(rb"tree_sizes=.*?\n\n.*?end of trees", b"tree_sizes=\n\nend of trees", sample(), flags=re.S), library_path()
    )


def test_a_text_that_passed_is_not_tried_again(tmp_path: Path) -> None:
    try_model_text(sample(), library_path())
    try_model_text(sample(), tmp_path / "no such library")


def test_another_text_is_tried_anew(tmp_path: Path) -> None:
    try_model_text(sample(), library_path())
    with pytest.raises(LoadError):
        try_model_text(sample() + b"\n", tmp_path / "no such library")


def test_trap_truncated_files_never_take_this_process_down() -> None:
    text = sample()
    first, end = text.index(b"Tree=0"), text.index(b"Tree=2")
    for part in range(6):
        message = refusal(text[: first + 40 + (end - first - 40) * part // 6])
        assert message.startswith(("it crashed LightGBM in a trial (", "LightGBM refuses it: "))


def test_trap_an_out_of_range_split_feature_crashes_the_child_alone() -> None:
    text = re.sub(rb"split_feature=\d", b"split_feature=9", sample())
    text = re.sub(rb"split_feature=9", b"split_feature=900000000", text)
    sizes = [match.start() for match in re.finditer(rb"^Tree=", text, re.M)] + [text.index(b"end of trees")]
    line = b" ".join(b"%d" % (end - start) for start, end in pairwise(sizes))
    message = refusal(re.sub(rb"tree_sizes=.*", b"tree_sizes=" + line, text))
    assert re.search(r"crashed LightGBM in a trial \(signal SIG[A-Z]+\); it is damaged or was written by another program", message)


def test_trap_left_child_0_loops_and_is_stopped_by_the_time_limit() -> None:
    text = sample()
    for key in (b"left_child", b"right_child"):
        # every child is the root again; written as wide as before, so that tree_sizes still fit
        text = re.sub(rb"^" + key + rb"=(.*)$", lambda match: re.sub(rb"-?\d+", zeros, match[0]), text, flags=re.M)
    assert "kept LightGBM busy for more than 1 s" in refusal(text, time_limit_s=1.0)


def zeros(match: re.Match[bytes]) -> bytes:
    return b"0" * len(match[0])


def test_what_lightgbm_refuses_is_told_in_its_words_without_places() -> None:
    message = refusal(sample().replace(b"objective=regression", b"objective=astrology1"))
    assert message == "LightGBM refuses it: Unknown objective type name: astrology1"


def test_a_library_that_does_not_load_is_told_by_exit_status(tmp_path: Path) -> None:
    (tmp_path / "lib.so").write_bytes(b"no library")
    with pytest.raises(LoadError, match=r"\(exit status 1\)") as caught:
        try_model_text(sample(), tmp_path / "lib.so")
    assert str(tmp_path) not in str(caught.value)


def test_a_child_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert refusal(sample()) == "the process in which to try it could not be started"


def test_memory_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightgbm_trial, "MEMORY_LIMIT", 1 << 20)
    assert "crashed LightGBM in a trial" in refusal(sample())


def test_the_child_says_classes_and_features_and_nothing_else() -> None:
    command = [sys.executable, "-I", "-S", str(CHILD), str(library_path()), "10", str(1 << 32)]
    child = subprocess.run(command, input=sample(), capture_output=True, check=True, timeout=60)
    assert (child.stdout, child.stderr) == (b"1 4", b"")


def test_the_child_needs_the_standard_library_alone() -> None:
    code = f"import runpy, sys; runpy.run_path({str(CHILD)!r}); print(sorted({{'numpy', 'lightgbm', 'site'}} & set(sys.modules)))"
    child = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, check=True, timeout=60)
    assert child.stdout == b"[]\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("Check failed: (a) == (b) at /src/io/tree.cpp, line 694 .\n", "Check failed: (a) == (b)"),
        ("Unknown  thing\n", "Unknown thing"),
        ("Unknown \x04", "Unknown ?"),
        ("", "it gives no reason"),
    ],
)
def test_lightgbms_words_become_one_line_without_a_path(words: str, sentence: str) -> None:
    assert plain(words) == sentence


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_changed_digits_that_the_structure_check_lets_through_pass_the_trial(data: st.DataObject) -> None:
    text = bytearray(sample())
    places = [match.start() for match in re.finditer(rb"\d", sample()[: sample().index(b"end of trees")])]
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.sampled_from(places))] = data.draw(st.sampled_from(b"0123456789"))
    try:
        read_model_text(bytes(text))
    except LoadError:
        assume(False)
    try_model_text(bytes(text), library_path())
