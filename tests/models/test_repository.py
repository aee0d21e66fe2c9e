from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import LoadError, UnknownModel
from models.manifest import Versions
from models.repository import Repository, valid_name, wanted


def put(root: Path, *files: str) -> Repository:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return Repository(root)


def problem(root: Path, *files: str) -> str:
    (entry,) = put(root, *files).scan()
    (told,) = entry.problems
    return told


def test_a_scan_lists_models_versions_and_platforms_in_order(tmp_path: Path) -> None:
    repository = put(tmp_path, "b/10/model.txt", "b/9/model.onnx", "a/1/model.py", "a/1/data.csv", "a/labels.txt", "README.md")
    found = [(m.name, [(v.version, v.source.platform if v.source else None) for v in m.versions]) for m in repository.scan()]
    assert found == [("a", [(1, "python")]), ("b", [(9, "onnxruntime_onnx"), (10, "lightgbm")])]
    assert [entry.problems for entry in repository.scan()] == [[], []]


def test_what_is_hidden_is_nobodys_business(tmp_path: Path) -> None:
    repository = put(tmp_path, ".git/1/model.py", "a/1/model.py", "a/.2/model.py", "a/1/.model.onnx", "a/1/__pycache__/x.pyc")
    (entry,) = repository.scan()
    assert (entry.name, [version.version for version in entry.versions], entry.problems) == ("a", [1], [])


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["a/x.txt"], "model 'a' has no version; expected a directory such as a/1 that holds model.onnx, model.txt or model.py"),
        (["a/model.onnx"], "model 'a' has model.onnx beside its versions instead of in one; move it to a/1/model.onnx"),
        (["a/1/weights.bin"], "model 'a' version 1 has no model file; expected exactly one of model.onnx, model.txt or model.py"),
        (["a/1/model.py", "a/1/model.txt"], "model 'a' version 1 has model.txt and model.py; expected exactly one of"),
        (["a/01/model.py"], "model 'a' has a version directory '01'; expected a positive whole number without leading zeros"),
        (["a/0/model.py"], "model 'a' has a version directory '0'; expected a positive whole number without leading zeros"),
        (["a/1"], "model 'a' version 1 is a file; expected a directory that holds"),
        (["my model/1/model.py"], "'my model' cannot be a model's name; rename it to letters, digits, '.', '_' and '-'"),
    ],
)
def test_a_problem_names_the_model_and_the_fix(tmp_path: Path, files: list[str], told: str) -> None:
    assert problem(tmp_path, *files).startswith(told)


def test_a_wrong_manifest_is_the_models_problem_and_the_others_are_well(tmp_path: Path) -> None:
    repository = put(tmp_path, "a/1/model.py", "b/1/model.py")
    (tmp_path / "a" / "model.toml").write_text("[batching]\nmax_row = 1")
    a, b = repository.scan()
    assert a.problem == "model 'a', model.toml: batching.max_row: unknown key; the nearest known one is batching.max_rows"
    assert b.problems == []


@pytest.mark.parametrize("link", ["a", "a/1", "a/1/model.onnx", "a/1/deep/weights.bin", "a/model.toml"])
def test_a_symlink_anywhere_below_the_root_is_refused(tmp_path: Path, link: str) -> None:
    put(tmp_path / "elsewhere", "a/1/model.onnx", "a/1/deep/weights.bin", "a/model.toml")
    root = tmp_path / "repository"
    root.mkdir()
    put(root, *[] if link in ("a", "a/1") else ["a/1/model.onnx", "a/1/deep/x"])
    (root / link).parent.mkdir(parents=True, exist_ok=True)
    (root / link).unlink(missing_ok=True)
    (root / link).symlink_to(tmp_path / "elsewhere" / link)
    (entry,) = Repository(root).scan()
    assert "symlink" in entry.problems[0]
    assert str(tmp_path) not in entry.problems[0]


def test_a_pipe_in_the_place_of_a_model_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a" / "1").mkdir(parents=True)
    os.mkfifo(tmp_path / "a" / "1" / "model.onnx")
    assert problem(tmp_path) == "model 'a' version 1 has model.onnx, which is not a plain file"


def test_the_root_itself_may_be_reached_by_a_symlink(tmp_path: Path) -> None:
    put(tmp_path / "real", "a/1/model.py")
    (tmp_path / "link").symlink_to("real")
    (entry,) = Repository(tmp_path / "link").scan()
    assert entry.problems == []


@pytest.mark.parametrize(
    ("files", "path", "version"),
    [
        (["1/model.onnx"], "1/model.onnx", 1),
        (["3/model.txt", "model.toml"], "3/model.txt", 3),
        (["model.onnx"], "model.onnx", 1),
        (["model.txt", "labels.txt"], "model.txt", 1),
        (["model.py", "parts/tables.py"], "model.py", 1),
        (["classifier.onnx", "README.md"], "classifier.onnx", 1),
        (["model.bst"], "model.bst", 1),
    ],
)
def test_one_models_directory_is_served_with_or_without_versions(tmp_path: Path, files: list[str], path: str, version: int) -> None:
    repository = put(tmp_path / "m", *files)
    (entry,) = repository.scan()
    assert (entry.name, entry.problems) == ("m", [])
    (found,) = entry.versions
    assert (found.version, found.source and found.source.path) == (version, tmp_path / "m" / path)
    assert repository.entry("m") == entry
    with pytest.raises(UnknownModel):
        repository.entry("other")


@pytest.mark.parametrize("files", [["1/model.py"], ["model.py"]])
def test_a_model_served_alone_may_be_given_its_name(tmp_path: Path, files: list[str]) -> None:
    put(tmp_path / "models", *files)
    (entry,) = Repository(tmp_path / "models", "fraud").scan()
    assert (entry.name, entry.problems) == ("fraud", [])
    (entry,) = Repository.single_file(tmp_path / "models" / files[0], "fraud").scan()
    assert entry.name == "fraud"


def test_the_models_of_a_repository_keep_their_own_names(tmp_path: Path) -> None:
    put(tmp_path, "a/1/model.py", "b/1/model.py")
    assert [entry.name for entry in Repository(tmp_path, "other").scan()] == ["a", "b"]


def test_two_model_files_in_one_directory_are_refused(tmp_path: Path) -> None:
    (entry,) = put(tmp_path / "m", "a.onnx", "b.onnx").scan()
    assert entry.problems == [
        "model 'm' version 1 has a.onnx and b.onnx; expected exactly one of model.onnx, model.txt or model.py"
    ]


@pytest.mark.parametrize("file", ["setup.py", "README.txt"])
def test_what_may_be_anything_is_not_taken_for_a_model(tmp_path: Path, file: str) -> None:
    assert put(tmp_path, file).scan() == ()


def test_files_beside_the_models_of_a_repository_are_nobodys_business(tmp_path: Path) -> None:
    assert [entry.name for entry in put(tmp_path, "a/1/model.py", "left.onnx").scan()] == ["a"]


def test_a_symlink_in_a_models_own_directory_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "real", "model.onnx")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.onnx").symlink_to(tmp_path / "real" / "model.onnx")
    (entry,) = Repository(tmp_path / "m").scan()
    assert entry.problems == ["model 'm' version 1 has a symlink, model.onnx; put the file itself there"]


def test_a_root_that_is_missing_or_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="the repository 'nowhere' does not exist"):
        Repository(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(LoadError, match="the repository 'file' is a file; expected a directory of models"):
        Repository(tmp_path / "file")


def test_a_model_may_be_called_by_a_number(tmp_path: Path) -> None:
    (entry,) = put(tmp_path, "7/1/model.py").scan()
    assert (entry.name, entry.problems) == ("7", [])


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/1", ".hidden", "a b", "é", "a\n", "a" * 129, "%2e%2e"])
def test_a_name_outside_the_pattern_is_no_model(tmp_path: Path, name: str) -> None:
    assert not valid_name(name)
    with pytest.raises(UnknownModel):
        put(tmp_path, "a/1/model.py").entry(name)


def test_an_unknown_model_is_answered_with_the_nearest_known_one(tmp_path: Path) -> None:
    repository = put(tmp_path, "recommender/1/model.py")
    with pytest.raises(UnknownModel, match=re.escape("there is no model 'recomender'; did you mean 'recommender'?")):
        repository.entry("recomender")
    with pytest.raises(UnknownModel, match=r"^there is no model 'x'$"):
        repository.entry("x")


@pytest.mark.parametrize(
    ("file", "name", "platform"),
    [
        ("model.onnx", "model", "onnxruntime_onnx"),
        ("fraud v2.txt", "fraud_v2", "lightgbm"),
        ("..x.py", "x", "python"),
        ("ü.ONNX", "_", "onnxruntime_onnx"),
    ],
)
def test_a_single_file_is_version_1_of_a_model_named_by_its_stem(tmp_path: Path, file: str, name: str, platform: str) -> None:
    (tmp_path / file).write_text("")
    (entry,) = Repository.single_file(tmp_path / file).scan()
    (version,) = entry.versions
    assert version.source is not None
    assert (entry.name, version.version, version.source.platform) == (name, 1, platform)
    assert version.source.path == tmp_path / file
    assert Repository.single_file(tmp_path / file).entry(name) == entry


def test_a_single_file_of_another_kind_or_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"'model\.pkl' is no model file; expected a name that ends in \.onnx, \.txt, \.py"):
        Repository.single_file(tmp_path / "model.pkl")
    with pytest.raises(LoadError, match=r"'model\.onnx' does not exist"):
        Repository.single_file(tmp_path / "model.onnx")


def test_a_stamp_changes_with_any_file_of_the_version_even_if_size_and_time_stay(tmp_path: Path) -> None:
    repository = put(tmp_path, "a/1/model.py", "a/1/lib/table.csv")
    before = repository.entry("a").versions[0].source
    assert repository.entry("a").versions[0].source == before
    table = tmp_path / "a" / "1" / "lib" / "table.csv"
    times = (table.stat().st_atime_ns, table.stat().st_mtime_ns)
    (tmp_path / "new").write_text("")
    os.utime(tmp_path / "new", ns=times)
    (tmp_path / "new").replace(table)
    assert repository.entry("a").versions[0].source != before


policies = st.builds(
    Versions,
    policy=st.sampled_from(["latest", "all"]) | st.lists(st.integers(1, 9), min_size=1).map(tuple),
    latest=st.integers(1, 4),
    labels=st.dictionaries(st.sampled_from("ab"), st.integers(1, 9)),
)


@given(st.lists(st.integers(1, 9)), policies)
def test_wanted_is_what_the_policy_says_and_what_labels_name_of_what_there_is(versions: list[int], policy: Versions) -> None:
    chosen = wanted(versions, policy)
    assert list(chosen) == sorted(set(chosen) & set(versions))
    labelled = set(policy.labels.values()) & set(versions)
    assert labelled <= set(chosen)
    if policy.policy == "all":
        assert set(chosen) == set(versions)
    elif policy.policy == "latest":
        assert set(chosen) == set(sorted(set(versions))[-policy.latest :]) | labelled
    else:
        assert set(chosen) == (set(policy.policy) & set(versions)) | labelled
