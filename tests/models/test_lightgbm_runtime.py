from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import lightgbm
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.errors import InferenceError, LoadError
from models.runtime import Runtime
from models.runtimes.lightgbm import LightgbmRuntime
from models.tensor import Array, TensorSpec

FEATURES = 4


@cache
def data() -> tuple[Array, Array]:
    random = np.random.default_rng(11)
    rows = random.normal(size=(120, FEATURES))
    rows[:, 3] = random.integers(0, 6, 120)
    rows[random.random(120) < 0.1, 0] = np.nan
    return rows, np.nan_to_num(rows[:, 0]) + 2.0 * (rows[:, 3] == 2) + rows[:, 1] * rows[:, 2]


def train(classes: int = 0, trees: int = 5, **settings: Any) -> lightgbm.Booster:
    """A small booster; ``classes`` turns the target into that many, a target above 0 where it is -1."""
    rows, target = data()
    if classes > 0:
        target = np.digitize(target, np.quantile(target, np.arange(1, classes) / classes)).astype(float)
    elif classes < 0:
        target = np.exp(target / 4)
    dataset = {key: settings.pop(key) for key in ("group", "categorical_feature") if key in settings}
    parameters = {"verbose": -1, "num_threads": 1, "num_leaves": 6, "min_data_in_leaf": 3, "cat_smooth": 1, **settings}
    parameters |= {"min_data_per_group": 1}
    return lightgbm.train(parameters, lightgbm.Dataset(rows, target, params=parameters, **dataset), trees)


def custom(scores: Array, dataset: Any) -> tuple[Array, Array]:
    return scores - dataset.get_label().reshape(-1, *[1] * (scores.ndim - 1)), np.ones_like(scores)


BOOSTERS: dict[str, dict[str, Any]] = {
    **{name: {"objective": name} for name in ("regression", "regression_l1", "huber", "fair", "quantile")},
    **{name: {"objective": name, "classes": -1} for name in ("poisson", "gamma", "tweedie", "mape")},
    **{name: {"objective": name, "classes": 2} for name in ("binary", "cross_entropy", "cross_entropy_lambda")},
    **{name: {"objective": name, "classes": 3, "num_class": 3} for name in ("multiclass", "multiclassova")},
    **{name: {"objective": name, "classes": 3, "group": [30] * 4} for name in ("lambdarank", "rank_xendcg")},
    "square root": {"classes": -1, "reg_sqrt": True},
    "custom": {"objective": custom},
    "custom of three classes": {"objective": custom, "classes": 3, "num_class": 3},
    "random forest": {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    "random forest of three classes": {
        **{"objective": "multiclass", "classes": 3, "num_class": 3},
        **{"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    },
    "dart": {"boosting": "dart", "drop_rate": 0.9},
    "goss": {"data_sample_strategy": "goss"},
    "categorical": {"categorical_feature": [3], "max_cat_to_onehot": 1},
    "linear trees": {"linear_tree": True},
    "a constant": {"min_data_in_leaf": 120},
    "zero as missing": {"zero_as_missing": True},
}


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., LightgbmRuntime]]:
    """Saves a booster, or writes a text, and loads it."""
    loaded = []

    def load(model: lightgbm.Booster | bytes, threads: int = 1) -> LightgbmRuntime:
        path = tmp_path / "model.txt"
        if isinstance(model, bytes):
            path.write_bytes(model)
        else:
            model.save_model(path)
        loaded.append(LightgbmRuntime.load(path, threads=threads))
        return loaded[-1]

    yield load
    for runtime in loaded:
        runtime.close()


def answer(runtime: LightgbmRuntime, rows: Array) -> Array:
    return runtime.infer({"input": rows}, ["output"])["output"]


Serve = Callable[..., LightgbmRuntime]


@pytest.mark.parametrize("kind", BOOSTERS)
def test_answers_equal_booster_predict_bit_for_bit(kind: str, serve: Serve) -> None:
    booster = train(**BOOSTERS[kind])
    runtime = serve(booster)
    for dtype in (np.float64, np.float32):
        rows = data()[0].astype(dtype)
        for count in (1, 2, 8, 9, 120):
            expected = booster.predict(rows[:count])
            np.testing.assert_array_equal(answer(runtime, rows[:count]), expected, strict=True)


def test_every_way_through_the_library_gives_the_same_answers(serve: Serve) -> None:
    booster = train(trees=400, objective="multiclass", classes=3, num_class=3)
    rows = np.tile(data()[0], (20, 1))
    for threads in (1, 3):
        runtime = serve(booster, threads)
        for count in (1, 3, 30, 2400):
            np.testing.assert_array_equal(answer(runtime, rows[:count]), booster.predict(rows[:count]), strict=True)


def test_part_of_the_iterations_and_none_at_all_are_served(serve: Serve) -> None:
    booster = train()
    for start in (3, 9):
        text = booster.model_to_string(start_iteration=start)
        expected = lightgbm.Booster(model_str=text).predict(data()[0])
        np.testing.assert_array_equal(answer(serve(text.encode()), data()[0]), expected, strict=True)


values = st.one_of(st.floats(width=32), st.sampled_from([0.0, -0.0, 1e-36, np.nan, np.inf, -np.inf, 1e300, 2.0, 5.0, 2.0**40]))


@given(rows=arrays.arrays(np.float64, st.tuples(st.integers(1, 12), st.just(FEATURES)), elements=values))
@settings(deadline=None, max_examples=100)
def test_any_numbers_get_the_booster_s_answer(rows: Array) -> None:
    booster, runtime = shared()
    np.testing.assert_array_equal(answer(runtime, rows), booster.predict(rows), strict=True)


@cache
def shared() -> tuple[lightgbm.Booster, LightgbmRuntime]:
    booster = train(**BOOSTERS["categorical"])
    with tempfile.TemporaryDirectory() as folder:
        booster.save_model(Path(folder, "model.txt"))
        return booster, LightgbmRuntime.load(Path(folder, "model.txt"))


@pytest.mark.parametrize(
    "dtype", [np.bool_, np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float16, ml_dtypes.bfloat16, ">f8", ">f4"]
)
def test_other_datatypes_are_taken_as_the_numbers_they_hold(dtype: Any, serve: Serve) -> None:
    rows = np.abs(np.nan_to_num(data()[0])).astype(dtype)
    booster = train()
    np.testing.assert_array_equal(answer(serve(booster), rows), booster.predict(rows.astype(np.float64)), strict=True)


def test_rows_that_are_not_contiguous_or_not_aligned_are_read_right(serve: Serve) -> None:
    booster, rows = train(), data()[0]
    runtime = serve(booster)
    odd = np.frombuffer(b"x" + rows.tobytes(), np.uint8)[1:].view(np.float64).reshape(rows.shape)
    for layout in (np.asfortranarray(rows), rows[::-2], np.repeat(rows, 2, axis=1)[:, ::2], odd):
        expected = booster.predict(np.array(layout, order="C"))
        np.testing.assert_array_equal(answer(runtime, layout), expected, strict=True)


def test_the_rows_sent_are_left_as_they_were(serve: Serve) -> None:
    rows = data()[0].copy()
    rows.flags.writeable = False
    answer(serve(train()), rows)
    np.testing.assert_array_equal(rows, data()[0])


def test_an_answer_stays_when_others_follow(serve: Serve) -> None:
    runtime, rows = serve(train()), data()[0]
    first = answer(runtime, rows[:1])
    kept = first.copy()
    answer(runtime, rows[1:2])
    np.testing.assert_array_equal(first, kept)


def test_eight_threads_get_the_answers_that_one_gets(serve: Serve) -> None:
    booster = train(trees=60, objective="multiclass", classes=3, num_class=3)
    rows = data()[0]
    runtime = serve(booster, 2)
    expected = booster.predict(rows)
    start = threading.Barrier(8)

    def run(seed: int) -> int:
        random = np.random.default_rng(seed)
        start.wait()
        wrong = 0
        for _ in range(300):
            first = random.integers(0, 119)
            last = random.integers(first + 1, 121)
            dtype = np.float64 if random.random() < 0.7 else np.float32
            part = rows[first:last].astype(dtype)
            want = expected[first:last] if dtype is np.float64 else singles[first:last]
            wrong += not np.array_equal(answer(runtime, part), want)
        return wrong

    singles = booster.predict(rows.astype(np.float32))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, range(8))) == [0] * 8


def test_models_with_other_threads_and_a_booster_of_the_package_run_beside_each_other(tmp_path: Path) -> None:
    booster = train(trees=300)
    booster.save_model(tmp_path / "model.txt")
    rows = np.tile(data()[0], (10, 1))
    expected = booster.predict(rows)
    with (
        closing(LightgbmRuntime.load(tmp_path / "model.txt", threads=1)) as one,
        closing(LightgbmRuntime.load(tmp_path / "model.txt", threads=4)) as four,
        ThreadPoolExecutor(6) as pool,
    ):
        calls = [lambda: answer(one, rows), lambda: answer(four, rows), lambda: booster.predict(rows, num_threads=4)]
        for result in pool.map(lambda call: call(), calls * 20):
            np.testing.assert_array_equal(result, expected)


def test_signature_platform_and_names(serve: Serve) -> None:
    runtime: Runtime = serve(train(objective="multiclass", classes=3, num_class=3))
    names = ("Column_0", "Column_1", "Column_2", "Column_3")
    assert runtime.signature.inputs == (
        TensorSpec("input", "FP64", (-1, FEATURES), widens=True, missing=True, feature_names=names),
    )
    assert runtime.signature.outputs == (TensorSpec("output", "FP64", (-1, 3)),)
    assert (runtime.platform, runtime.pure, runtime.signature.batched) == ("lightgbm", True, True)
    assert serve(train()).feature_names == names
    assert serve(train()).signature.outputs == (TensorSpec("output", "FP64", (-1,)),)


def test_features_that_share_a_name_are_served_without_names(serve: Serve) -> None:
    text = train().model_to_string().replace("feature_names=Column_0 Column_1", "feature_names=Column_0 Column_0")
    assert serve(text.encode()).signature.inputs[0].feature_names == ()


def test_notes_tell_trees_features_classes_and_objective(serve: Serve) -> None:
    assert serve(train(**BOOSTERS["multiclass"])).notes == ("15 trees of 4 features, 3 classes; objective multiclass.",)
    assert serve(train(objective=custom)).notes == ("5 trees of 4 features; a custom objective, so the output is the raw score.",)


def test_notes_tell_how_to_send_categories(serve: Serve) -> None:
    text = train(**BOOSTERS["categorical"]).model_to_string()
    assert "Categorical features are sent as whole numbers, as in training: Column_3." in serve(text.encode()).notes
    text = text.replace("pandas_categorical:null", f"pandas_categorical:{json.dumps([['a', 'b']])}")
    assert "Columns that held pandas categories in training (1) take each value's integer code" in serve(text.encode()).notes[-1]


def test_a_category_that_training_did_not_see_is_none_and_so_is_what_is_missing_or_below_0(serve: Serve) -> None:
    runtime = serve(train(trees=30, **BOOSTERS["categorical"]))
    sent = np.array([[0.5, 0.5, 0.5, category] for category in (2, 2.9, 99, -1, np.nan)])
    known, cut, *others = answer(runtime, sent).tolist()
    assert (known, others) == (cut, others[:1] * 3)
    assert known != others[0]


def test_inference_after_close_is_refused_and_closing_again_does_nothing(serve: Serve) -> None:
    runtime = serve(train())
    runtime.close()
    runtime.close()
    with pytest.raises(InferenceError, match="the model is closed"):
        answer(runtime, data()[0])


def test_closing_under_load_ends_every_call_with_an_answer_or_a_refusal(serve: Serve) -> None:
    booster = train(trees=300)
    rows, expected = data()[0], booster.predict(data()[0])
    runtime = serve(booster, 2)
    started = threading.Barrier(5)

    def run() -> bool:
        started.wait()
        try:
            while True:
                np.testing.assert_array_equal(answer(runtime, rows), expected)
        except InferenceError as error:
            return str(error) == "the model is closed"

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(run) for _ in range(4)]
        started.wait()
        answer(runtime, rows)
        runtime.close()
        assert [each.result() for each in runs] == [True] * 4


@pytest.mark.parametrize("shape", [(2, 3), (2, 5), (4,), (1, 2, 4)])
def test_rows_of_another_width_are_refused_before_lightgbm_reads_them(shape: tuple[int, ...], serve: Serve) -> None:
    with pytest.raises(InferenceError, match="takes rows of 4 features"):
        answer(serve(train()), np.zeros(shape))


def test_a_missing_input_is_named(serve: Serve) -> None:
    with pytest.raises(InferenceError, match="takes one tensor, input, got data"):
        serve(train()).infer({"data": data()[0]}, [])


def refusal(path: Path) -> str:
    with pytest.raises(LoadError) as caught:
        LightgbmRuntime.load(path)
    assert str(path.parent) not in str(caught.value)
    return str(caught.value)


def test_a_damaged_file_is_refused_by_name_tree_and_key(tmp_path: Path) -> None:
    text = train().model_to_string().encode()
    (tmp_path / "bad.txt").write_bytes(re.sub(rb"split_feature=\d", b"split_feature=7", text, count=1))
    message = refusal(tmp_path / "bad.txt")
    assert message.startswith("bad.txt is no model that LightGBM can serve: tree 0 of 5 (line ")
    assert message.endswith("split_feature of node 0 is 7, expected 0 to 3")


def test_what_only_the_trial_can_see_is_refused(tmp_path: Path) -> None:
    text = train().model_to_string().encode().replace(b"objective=regression", b"objective=astrology1")
    (tmp_path / "bad.txt").write_bytes(text)
    assert refusal(tmp_path / "bad.txt").endswith("LightGBM refuses it: Unknown objective type name: astrology1")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "gone.txt cannot be read: No such file or directory" in refusal(tmp_path / "gone.txt")
    (tmp_path / "folder").mkdir()
    assert "folder is a symbolic link, or no file at all" in refusal(tmp_path / "folder")


def test_threads_below_one_are_refused(tmp_path: Path) -> None:
    train().save_model(tmp_path / "model.txt")
    with pytest.raises(LoadError, match=r"threads is 0 for model\.txt, expected at least 1"):
        LightgbmRuntime.load(tmp_path / "model.txt", threads=0)


def test_without_the_package_the_fix_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train().save_model(tmp_path / "model.txt")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert refusal(tmp_path / "model.txt").endswith("install lightgbm")


def test_neither_the_lightgbm_package_nor_scikit_learn_is_imported_and_nothing_is_printed(tmp_path: Path) -> None:
    train().save_model(tmp_path / "model.txt")
    code = (
        "import sys, numpy\nfrom pathlib import Path\nfrom models.runtimes.lightgbm import LightgbmRuntime\n"
        "runtime = LightgbmRuntime.load(Path(sys.argv[1]))\n"
        "for rows in (1, 50): runtime.infer({'input': numpy.zeros((rows, 4))}, ['output'])\nruntime.close()\n"
        "sys.exit(bool({'lightgbm', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    child = subprocess.run([sys.executable, "-c", code, str(tmp_path / "model.txt")], capture_output=True, check=True, timeout=60)
    assert (child.stdout, child.stderr) == (b"", b"")
