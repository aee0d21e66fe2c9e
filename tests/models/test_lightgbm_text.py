from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import LoadError
from models.runtimes.lightgbm_text import ModelText, read_model_text

ROWS, FEATURES = 80, 4


@cache
def data() -> tuple[Any, Any]:
    random = np.random.default_rng(7)
    rows = random.normal(size=(ROWS, FEATURES))
    rows[:, 3] = random.integers(0, 6, ROWS)
    rows[random.random(ROWS) < 0.1, 0] = np.nan
    return rows, np.nan_to_num(rows[:, 0]) + 2.0 * (rows[:, 3] == 2) + rows[:, 1] * rows[:, 2]


def train(label: Callable[[Any], Any] = lambda y: y, trees: int = 3, **settings: Any) -> lightgbm.Booster:
    rows, target = data()
    dataset = {key: settings.pop(key) for key in ("group", "categorical_feature", "feature_name", "weight") if key in settings}
    parameters = {"verbose": -1, "num_threads": 1, "num_leaves": 5, "min_data_in_leaf": 3, "seed": 1, **settings}
    if "categorical_feature" in dataset:
        parameters |= {"min_data_per_group": 1, "cat_smooth": 1.0, "max_cat_to_onehot": 1}
    return lightgbm.train(parameters, lightgbm.Dataset(rows, label(target), params=parameters, **dataset), trees)


def text_of(booster: lightgbm.Booster, **how: Any) -> bytes:
    return booster.model_to_string(**how).encode()


@cache
def sample() -> bytes:
    """A small text with categorical splits and three trees."""
    return text_of(train(categorical_feature=[3]))


def classes(count: int) -> Callable[[Any], Any]:
    return lambda y: np.digitize(y, np.quantile(y, np.arange(1, count) / count))


def positive(y: Any) -> Any:
    return np.exp(y / 4)


def custom(scores: Any, dataset: Any) -> tuple[Any, Any]:
    return scores - dataset.get_label().reshape(-1, *[1] * (scores.ndim - 1)), np.ones_like(scores)


WRITTEN: dict[str, Callable[[], lightgbm.Booster]] = {
    **{name: partial(train, positive, objective=name) for name in ("poisson", "gamma", "tweedie", "mape", "quantile")},
    **{name: partial(train, objective=name) for name in ("regression", "regression_l1", "huber", "fair")},
    **{name: partial(train, classes(2), objective=name) for name in ("binary", "cross_entropy", "cross_entropy_lambda")},
    **{name: partial(train, classes(3), objective=name, num_class=3) for name in ("multiclass", "multiclassova")},
    **{name: partial(train, classes(3), objective=name, group=[20] * 4) for name in ("lambdarank", "rank_xendcg")},
    "sqrt": lambda: train(positive, reg_sqrt=True),
    "custom": lambda: train(objective=custom),
    "custom of three classes": lambda: train(classes(3), objective=custom, num_class=3),
    "random forest": lambda: train(boosting="rf", bagging_freq=1, bagging_fraction=0.5),
    "random forest of three classes": lambda: train(
        classes(3), objective="multiclass", num_class=3, boosting="rf", bagging_freq=1, bagging_fraction=0.5
    ),
    "dart": lambda: train(boosting="dart", drop_rate=0.9, trees=6),
    "goss": lambda: train(data_sample_strategy="goss", learning_rate=0.5),
    "categorical": lambda: train(categorical_feature=[3]),
    "linear trees": lambda: train(linear_tree=True),
    "linear trees of a constant": lambda: train(np.ones_like, linear_tree=True),
    "a constant": lambda: train(np.ones_like),
    "constants of three classes": lambda: train(np.zeros_like, objective="multiclass", num_class=3),
    "monotone": lambda: train(monotone_constraints=[1, -1, 0, 0]),
    "zero as missing": lambda: train(zero_as_missing=True),
    "missing values unused": lambda: train(use_missing=False),
    "extra trees": lambda: train(extra_trees=True),
    "path smoothing": lambda: train(path_smooth=1.0),
    "quantized gradients": lambda: train(use_quantized_grad=True),
    "names of any script": lambda: train(feature_name=["größe", "a=b", "数", "price_€"]),
    "weights": lambda: train(weight=np.linspace(0.1, 2, ROWS)),
    "refit": lambda: train().refit(*data(), decay_rate=0.5),
    "a single leaf's worth of data": lambda: train(min_data_in_leaf=ROWS),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_every_model_that_lightgbm_writes_is_accepted(kind: str) -> None:
    booster = WRITTEN[kind]()
    model = read_model_text(text_of(booster))
    assert (model.trees, len(model.features)) == (booster.num_trees(), booster.num_feature())
    assert model.classes == booster.num_model_per_iteration()


def test_a_continued_training_is_accepted() -> None:
    rows, target = data()
    more = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(rows, target), 2, init_model=train())
    assert read_model_text(text_of(more)).trees == 5


def test_a_model_saved_again_by_a_loaded_booster_is_accepted() -> None:
    assert read_model_text(text_of(lightgbm.Booster(model_str=sample().decode()))).trees == 3


@pytest.mark.parametrize(("how", "trees"), [({"start_iteration": 1}, 2), ({"num_iteration": 1}, 1), ({"start_iteration": 9}, 0)])
def test_a_part_of_the_iterations_is_accepted(how: dict[str, int], trees: int) -> None:
    assert read_model_text(text_of(train(), **how)).trees == trees


def test_gain_importances_are_accepted() -> None:
    assert read_model_text(text_of(train(), importance_type="gain")).trees == 3


def test_version_3_and_version_2_are_accepted() -> None:
    third = sample().replace(b"version=v4", b"version=v3")
    second = third.replace(b"version=v3", b"version=v2").replace(b"end of trees\n\nfeature_importances:", b"\nfeature importances:")
    assert (read_model_text(third).trees, read_model_text(second).trees) == (3, 3)


def test_the_text_may_end_behind_the_trees() -> None:
    end = sample().index(b"end of trees\n") + len(b"end of trees\n")
    assert read_model_text(sample()[:end]).trees == 3


def test_it_tells_what_the_model_is() -> None:
    assert read_model_text(sample()) == ModelText(
        version="v4",
        objective="regression",
        classes=1,
        features=("Column_0", "Column_1", "Column_2", "Column_3"),
        categorical=("Column_3",),
        trees=3,
        leaves=15,
        linear=False,
        averaged=False,
        pandas_columns=0,
    )


def test_it_counts_pandas_columns() -> None:
    text = sample().replace(b"pandas_categorical:null", b'pandas_categorical:[["a", "b"], [1, 2.5]]')
    assert read_model_text(text).pandas_columns == 2


def refusal(text: bytes) -> str:
    with pytest.raises(LoadError) as caught:
        read_model_text(text)
    return str(caught.value)


def changed(pattern: str, replacement: str, text: bytes | None = None) -> bytes:
    """The text with the first match replaced, and the size of its tree mended, so that only the change itself is wrong."""
    text = sample() if text is None else text
    found, count = re.subn(pattern.encode(), replacement.encode(), text, count=1, flags=re.MULTILINE)
    assert count == 1
    sizes = [match.start() for match in re.finditer(rb"^Tree=", found, re.MULTILINE)] + [found.index(b"end of trees")]
    line = " ".join(str(end - start) for start, end in pairwise(sizes))
    return re.sub(rb"^tree_sizes=.*$", b"tree_sizes=" + line.encode(), found, count=1, flags=re.MULTILINE)


def test_trap_no_truncated_file_is_accepted() -> None:
    text = sample()
    end = text.index(b"end of trees\n") + len(b"end of trees\n")
    for length in range(end):
        refusal(text[:length])


def test_trap_a_file_cut_at_a_trees_end_names_the_missing_tree() -> None:
    text = sample()
    message = refusal(text[: text.index(b"Tree=2")])
    assert message.startswith("tree 2 of 3 (line ")
    assert message.endswith("is missing: the file is cut short")


def test_trap_a_tree_taken_out_is_noticed() -> None:
    text = sample()
    assert "tree_sizes" in refusal(text[: text.index(b"Tree=1")] + text[text.index(b"Tree=2") :])


def test_trap_an_out_of_range_split_feature_is_refused() -> None:
    message = refusal(changed(r"^split_feature=\d+", "split_feature=4"))
    assert re.fullmatch(r"tree 0 of 3 \(line \d+\): split_feature of node 0 is 4, expected 0 to 3", message)


def test_trap_left_child_0_is_refused() -> None:
    message = refusal(changed(r"^left_child=\S+", "left_child=0"))
    assert "left_child of node 0 is 0, expected -5 to -1, or 1 to 3" in message


def test_the_line_of_a_fault_is_the_line_in_the_file() -> None:
    text = changed(r"^threshold=\S+", "threshold=nan")
    (line,) = re.findall(r"line (\d+)", refusal(text))
    assert text.split(b"\n")[int(line) - 1].startswith(b"threshold=nan")


def test_two_nodes_with_one_child_are_refused() -> None:
    text = changed(r"^(left_child=)\S+ \S+", r"\g<1>2 2")
    assert "is already the child of another node" in refusal(changed(r"^(right_child=)\S+ \S+", r"\g<1>1 3", text))


def circle() -> bytes:
    text = changed(r"^left_child=.*$", "left_child=-1 2 1 -3")
    return changed(r"^right_child=.*$", "right_child=3 -2 -4 -5", text)


def test_a_circle_that_the_root_does_not_reach_is_refused() -> None:
    assert "reach 2 of 4 nodes from the root: the others form a circle" in refusal(circle())


def test_a_node_numbered_before_its_parent_is_accepted() -> None:
    text = changed(r"^left_child=.*$", "left_child=2 -1 1 -2")
    assert read_model_text(changed(r"^right_child=.*$", "right_child=-3 -4 3 -5", text)).trees == 3


@pytest.mark.parametrize(
    ("pattern", "replacement", "said"),
    [
        ("^tree$", "forest", "first line is not 'tree'"),
        ("^version=v4", "version=v9", "version is 'v9'"),
        ("^num_class=1", "num_class=2", "num_tree_per_iteration is 1"),
        ("^num_class=1", "num_class=0", "num_class is '0'"),
        ("^label_index=0\n", "", "no label_index"),
        ("^tree_sizes=.*\n", "", "no tree_sizes"),
        ("^max_feature_idx=3", "max_feature_idx=4", "lists 4 features, expected 5"),
        ("^max_feature_idx=3", "max_feature_idx=99999999999", "max_feature_idx is"),
        ("^feature_infos=.*$", "feature_infos=none", "feature_infos lists 1 features, expected 4"),
        ("^objective=regression", "objective=multiclass num_class:3", "expected num_class:1"),
        ("^objective=regression", "objective=regression=l2", "expected one key=value"),
        ("^objective=regression", "nonsense", "expected one key=value"),
        ("^objective=regression", "version=v4", "repeats the header's 'version'"),
        ("^num_leaves=5", "num_leaves=6", "has 5 numbers, expected 6"),
        ("^num_leaves=5", "num_leaves=0", "num_leaves is 0, expected at least 1"),
        ("^num_leaves=5", "num_leaves=5.0", "num_leaves holds something that is not a whole number"),
        ("^num_leaves=5", "num_leaves=-5", "num_leaves is -5"),
        ("^num_leaves=5\n", "", "num_leaves is missing"),
        ("^num_cat=[1-9]", "num_cat=5", "num_cat is 5"),
        ("^left_child=.*\n", "", "left_child is missing"),
        ("^right_child=\\S+ ", "right_child=", "right_child has 3 numbers, expected 4"),
        ("^leaf_value=\\S+", "leaf_value=nan", "leaf_value holds a number that is not finite"),
        ("^leaf_value=\\S+", "leaf_value=1e999", "leaf_value holds a number that is not finite"),
        ("^leaf_value=\\S+", "leaf_value=1_0", "leaf_value holds something that is not a number"),
        ("^leaf_value=(\\S+) ", "leaf_value=\\1\t", "which no tree has"),
        ("^shrinkage=1$", "shrinkage=x", "shrinkage holds something that is not a number"),
        ("^split_gain=\\S+", "split_gain=?", "which no tree has"),
        ("^leaf_count=\\S+", "leaf_count=.5", "leaf_count holds something that is not a whole number"),
        ("^internal_weight=.*$", "internal_weight=1", "internal_weight has 1 numbers, expected 4"),
        ("^decision_type=\\S+", "decision_type=12", "decision_type of node 0 is 12"),
        ("^cat_boundaries=0 ", "cat_boundaries=1 ", "cat_boundaries does not rise from 0"),
        ("^cat_threshold=\\S+", "cat_threshold=4294967296", "cat_threshold holds a number outside"),
        ("^cat_threshold=.*\n", "", "cat_threshold is missing"),
        ("^shrinkage=1$", "shrinkage=1\nleaf_value=1", "'leaf_value' stands there twice"),
        ("^shrinkage=1$", "shrinkage", "expected key=value"),
        ("^shrinkage=1$", "shrinkage=1\n" + "\n".join(f"k{i}=0" for i in range(9)), "expected at most 22"),
        ("^Tree=1$", "Tree=2", "tree 1 of 3"),
        ("^end of parameters$", "end", "ends inside the parameters"),
        ("^pandas_categorical:null", "pandas_categorical:[[", "pandas_categorical (line "),
        ("^pandas_categorical:null", "pandas_categorical:[1]", "pandas_categorical (line "),
        ("^end of trees$", "end of trees\n\nTree=3", "another tree behind the 3"),
    ],
)
def test_each_broken_rule_is_named(pattern: str, replacement: str, said: str) -> None:
    if "tree_sizes" in pattern or "end of trees" in pattern:
        text = re.sub(pattern.encode(), replacement.encode(), sample(), count=1, flags=re.MULTILINE)
    else:
        text = changed(pattern, replacement)
    assert said in refusal(text)


@pytest.mark.parametrize(
    ("pattern", "replacement", "said"),
    [
        ("^num_features=\\S+", "num_features=-1", "num_features holds a number below 0"),
        ("^leaf_features=.*$", "leaf_features=", "leaf_features has 0 numbers, expected 1"),
        ("^leaf_coeff=.*$", "leaf_coeff=inf", "leaf_coeff holds a number that is not finite"),
        ("^leaf_const=\\S+", "leaf_const=nan", "leaf_const holds a number that is not finite"),
        ("^leaf_features=.*$", "leaf_features=9", "leaf_features names a feature outside 0 to 3"),
    ],
)
def test_each_broken_rule_of_linear_trees_is_named(pattern: str, replacement: str, said: str) -> None:
    text = text_of(train(np.ones_like, linear_tree=True))
    text = re.sub(rb"^num_features=0$", b"num_features=1", text, flags=re.MULTILINE)
    text = re.sub(rb"^leaf_features=.*$", b"leaf_features=2", text, flags=re.MULTILINE)
    text = changed("^leaf_coeff=.*$", "leaf_coeff=0.5", text)
    assert read_model_text(text).linear
    assert said in refusal(changed(pattern, replacement, text))


def test_trees_that_are_no_multiple_of_the_classes_are_refused() -> None:
    text = text_of(train(classes(3), objective="multiclass", num_class=3, trees=1))
    cut = text[: text.index(b"Tree=2")] + text[text.index(b"end of trees") :]
    text = re.sub(rb"^(tree_sizes=\d+ \d+) \d+$", rb"\1", cut, flags=re.MULTILINE)
    assert "expected a multiple of the 3 trees" in refusal(text)


def test_converted_line_ends_are_explained() -> None:
    assert "CRLF" in refusal(sample().replace(b"\n", b"\r\n"))


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"tree", b"\x80\x04pickle", b'{"name": "tree"}', b"PK\x03\x04", b"tree\n\n", b"\0" * 64]
)
def test_what_is_no_model_text_at_all_is_refused(text: bytes) -> None:
    refusal(text)


def test_a_nul_byte_is_refused() -> None:
    assert "NUL" in refusal(sample() + b"\0")


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """The sample after one to three cuts, flipped bytes, changed digits, or lines left out, doubled or exchanged."""
    text = bytearray(sample())
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(text) - 1, 0)))
        kind = draw(st.sampled_from(["cut", "byte", "digit", "line", "double", "remove"]))
        if kind == "cut":
            del text[place:]
        elif kind == "byte":
            text[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == "digit":
            digits = [match.start() for match in re.finditer(rb"\d", text)]
            if digits:
                text[digits[place % len(digits)]] = draw(st.sampled_from(b"0123456789-."))
        elif kind == "remove":
            del text[place : place + draw(st.integers(1, 200))]
        else:
            lines = text.split(b"\n")
            index = place % len(lines)
            lines[index : index + 1] = [lines[index]] * 2 if kind == "double" else []
            text = bytearray(b"\n".join(lines))
    return bytes(text)


@given(mutations())
@settings(max_examples=300, deadline=None)
def test_a_damaged_text_is_refused_in_a_sentence_or_is_whole(text: bytes) -> None:
    try:
        said = f"{read_model_text(text).trees} trees"
    except LoadError as error:
        said = str(error)
    assert said.isprintable()
    assert said == "3 trees" or 10 < len(said) < 400


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_any_bytes_behind_the_first_line_are_refused(text: bytes) -> None:
    refusal(b"tree\n" + text)
