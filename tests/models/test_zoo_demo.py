from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from models.manifest import read_manifest
from models.zoo import demo as zoo
from models.zoo import digits, fraud, shop
from models.zoo.demo import NAMES, STAMP, DemoError, build, complete
from models.zoo.trained import Progress, Trained

Making = tuple[Path, list[Trained], list[Progress]]


def ignore(progress: Progress) -> None:
    pass


def refuse(progress: Progress) -> None:
    raise AssertionError(f"{progress.model} is trained again")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainers that take a moment each, and learn as little."""
    monkeypatch.setattr(digits, "EPOCHS", 1)
    for name, size in (("USERS", 300), ("ITEMS", 200), ("SESSIONS", 5), ("LEARNERS", 200)):
        monkeypatch.setattr(shop, name, size)
    monkeypatch.setattr(fraud, "CUSTOMERS", 150)
    monkeypatch.setattr(fraud, "TERMINALS", 300)


def trained(demo: Path, model: str) -> Trained:
    (found,) = [found for found in complete(demo) or [] if found.name == model]
    return found


def figure(demo: Path, model: str, metric: str) -> tuple[float, float | None]:
    (found,) = [found for found in trained(demo, model).metrics if found.name == metric]
    return found.value, found.baseline


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != STAMP
    }


def test_the_repository_is_laid_out_as_documented(demo: Path) -> None:
    assert sorted(contents(demo)) == [
        "digits/1/model.onnx",
        *(f"digits/examples/{digit}.png" for digit in range(10)),
        "digits/labels.txt",
        "digits/model.toml",
        "fraud/1/model.txt",
        "fraud/2/model.txt",
        "fraud/model.toml",
        "ranker/1/model.txt",
        "ranker/model.toml",
        "recommender/1/model.py",
        "recommender/1/tables.npz",
        "recommender/model.toml",
    ]
    assert [found.name for found in complete(demo) or []] == list(NAMES)


def test_digits_are_recognised(demo: Path) -> None:
    accuracy, _ = figure(demo, "digits", "accuracy")
    assert accuracy >= 0.97


def test_the_ranker_beats_popularity(demo: Path) -> None:
    found, popularity = figure(demo, "ranker", "NDCG@10")
    assert popularity is not None
    assert found > 1.5 * popularity


def test_recommendations_are_clicked_more_than_the_most_popular_items(demo: Path) -> None:
    found, popular = figure(demo, "recommender", "click rate of the ten")
    assert popular is not None
    assert found > 1.5 * popular


def test_frauds_are_found_and_the_canary_finds_more(demo: Path) -> None:
    for metric, least in (("AUC", 0.85), ("average precision", 0.6)):
        canary, stable = figure(demo, "fraud", metric)
        assert stable is not None
        assert canary > max(stable, least)


def test_fraud_serves_both_versions_under_their_labels(demo: Path) -> None:
    versions = read_manifest(demo / "fraud").versions
    assert versions.policy == "all"
    assert versions.labels == {"stable": 1, "canary": 2}


@pytest.mark.parametrize("name", NAMES)
def test_every_manifest_is_one_that_the_server_reads(demo: Path, name: str) -> None:
    read_manifest(demo / name)
    assert tomllib.loads((demo / name / "model.toml").read_text())["batching"]


def test_digits_is_an_image_model_with_probabilities_and_labels(demo: Path) -> None:
    session = onnxruntime.InferenceSession(demo / "digits/1/model.onnx", providers=["CPUExecutionProvider"])
    assert [(tensor.name, tensor.type, tensor.shape[1:]) for tensor in session.get_inputs()] == [
        ("image", "tensor(float)", [1, 8, 8])
    ]
    image = np.array([trained(demo, "digits").example["image"]], dtype=np.float32)
    probabilities, label = session.run(["probabilities", "label"], {"image": image})
    assert probabilities.shape == (1, 10)
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    assert label.tolist() == [probabilities[0].argmax()]


def test_progress_goes_from_nothing_to_all(demo_making: Making) -> None:
    _, _, told = demo_making
    done = [progress.done for progress in told]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1.0)
    assert list(dict.fromkeys(progress.model for progress in told)) == list(NAMES)


def test_a_complete_demo_is_not_made_again(demo: Path) -> None:
    before, found = contents(demo), complete(demo)
    assert build(demo, refuse) == found
    assert contents(demo) == before


@pytest.mark.usefixtures("small")
def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    build(tmp_path / "one", ignore)
    build(tmp_path / "other", ignore)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


@pytest.mark.parametrize("model", ["digits", "ranker", "fraud"])
@pytest.mark.usefixtures("small")
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, model: str) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.model == model:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "demo", interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small")
def test_a_demo_of_another_recipe_is_replaced_and_others_models_stay(tmp_path: Path) -> None:
    build(tmp_path, ignore)
    made = contents(tmp_path)
    stamp = json.loads((tmp_path / STAMP).read_text())
    (tmp_path / STAMP).write_text(json.dumps({**stamp, "recipe": {**stamp["recipe"], "numpy": "0.9"}}))
    (tmp_path / "digits" / "1" / "old.txt").write_text("of the old recipe")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.toml").write_text("")
    assert complete(tmp_path) is None
    build(tmp_path, ignore)
    assert contents(tmp_path) == {**made, "mine/model.toml": b""}
    assert complete(tmp_path) is not None


def spoil_file(directory: Path) -> None:
    (directory / "fraud" / "2" / "model.txt").unlink()


def spoil_stamp(directory: Path) -> None:
    (directory / STAMP).write_text("{")


def claim_only(directory: Path) -> None:
    (directory / STAMP).write_text('{"recipe": {}}')


@pytest.mark.parametrize("spoil", [spoil_file, spoil_stamp, claim_only])
def test_what_is_not_whole_is_not_complete(demo: Path, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    there = tmp_path / "demo"
    shutil.copytree(demo, there)
    assert complete(there) is not None
    spoil(there)
    assert complete(there) is None


def test_an_edited_manifest_is_not_undone(demo: Path, tmp_path: Path) -> None:
    there = tmp_path / "demo"
    shutil.copytree(demo, there)
    (there / "fraud" / "model.toml").write_text("[batching]\nmax_rows = 8\n")
    build(there, refuse)
    assert read_manifest(there / "fraud").batching.max_rows == 8


def test_another_model_of_a_demos_name_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "fraud").mkdir()
    with pytest.raises(DemoError, match=r"'fraud' that is not the demo's; name another directory"):
        build(tmp_path, refuse)
    assert list(tmp_path.iterdir()) == [tmp_path / "fraud"]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("")
    with pytest.raises(DemoError, match="'demo' is a file"):
        build(tmp_path / "demo", refuse)


def test_a_missing_library_is_named_with_the_extra_that_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "LIBRARIES", ("numpy", "no-such-library"))
    with pytest.raises(DemoError, match=r"needs no-such-library, not installed here; run: pip install 'tureen\[demo\]'"):
        build(tmp_path / "demo", refuse)


def test_a_complete_demo_needs_no_training_library(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(zoo, "version", absent)
    assert [found.name for found in build(demo, refuse)] == list(NAMES)


def test_what_a_model_did_is_read_as_it_was_told(demo_making: Making) -> None:
    repository, told, _ = demo_making
    assert complete(repository) == told
    assert str(told[1].metrics[0]).startswith("NDCG@10 0.")
