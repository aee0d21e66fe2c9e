from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.errors import LoadError
from models.lease import LoadedVersion
from models.registry import Registry
from models.repository import Repository
from models.vision.labels import LARGEST, read_labels

SUMS = """
from models import PythonModel, TensorSpec
class Sums(PythonModel):
    inputs = [TensorSpec("x", "FP32", [-1, 3, -1, -1])]
    outputs = [TensorSpec("y", "FP32", [-1, 2])]
    seen = set()
    def load(self, directory, models): self.directory = directory
    def infer(self, inputs):
        self.seen.add(inputs["x"].shape)
        sums = inputs["x"].sum(axis=(1, 2, 3))
        import numpy
        return {"y": numpy.stack([sums, -sums], axis=1)}
    def close(self):
        (self.directory / ".closed").touch()
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model's directory, with a version, an ``[image]`` section and labels."""
    directory = tmp_path / "m"
    (directory / "1").mkdir(parents=True)
    (directory / "1" / "model.py").write_text(SUMS)
    (directory / "model.toml").write_text("[image]\nsize = 32\n")
    (directory / "labels.txt").write_text("light\ndark\n")
    return directory


def loaded(model: Path) -> tuple[Registry, LoadedVersion]:
    registry = Registry(Repository(model.parent))
    registry.load_all()
    return registry, registry.find("m")


def reason(model: Path) -> str:
    """Why the model does not load."""
    (entry,) = Registry(Repository(model.parent)).load_all()
    return entry.reason


def test_a_version_with_the_section_has_a_recipe_with_its_labels(model: Path) -> None:
    _, version = loaded(model)
    assert version.recipe is not None
    assert (version.recipe.shape, version.recipe.labels) == ((3, 32, 32), ("light", "dark"))


def test_a_version_without_the_section_has_none_and_its_labels_are_not_looked_at(model: Path) -> None:
    (model / "model.toml").write_text("")
    (model / "labels.txt").write_bytes(b"\xff")
    assert loaded(model)[1].recipe is None


def test_labels_are_optional(model: Path) -> None:
    (model / "labels.txt").unlink()
    recipe = loaded(model)[1].recipe
    assert recipe is not None
    assert recipe.labels == ()


def test_a_model_that_is_served_alone_from_one_directory_has_its_labels_too(model: Path) -> None:
    (model / "1" / "model.py").rename(model / "model.py")
    (model / "1").rmdir()
    registry = Registry(Repository(model))
    registry.load_all()
    recipe = registry.find("m").recipe
    assert recipe is not None
    assert recipe.labels == ("light", "dark")


def test_a_version_with_labels_of_its_own_goes_by_them_and_the_others_by_the_models(model: Path) -> None:
    (model / "2").mkdir()
    (model / "2" / "model.py").write_text(SUMS)
    (model / "2" / "labels.txt").write_text("bright\ndim\n")
    (model / "model.toml").write_text('[image]\nsize = 32\n[versions]\npolicy = "all"\n')
    registry, _ = loaded(model)
    recipes = [registry.find("m", version).recipe for version in (1, 2)]
    assert [recipe and recipe.labels for recipe in recipes] == [("light", "dark"), ("bright", "dim")]


def test_a_version_whose_own_labels_change_is_another(model: Path) -> None:
    labels = model / "1" / "labels.txt"
    labels.write_text("bright\ndim\n")
    registry, before = loaded(model)
    labels.write_text("brighter\ndim\n")
    registry.load("m")
    after = registry.find("m")
    assert after is not before
    assert after.recipe is not None
    assert after.recipe.labels == ("brighter", "dim")


def test_a_model_is_warmed_with_images_of_its_size(model: Path) -> None:
    _, version = loaded(model)
    seen = version.runtime._model.seen  # type: ignore[attr-defined]  # what the model itself saw
    assert seen == {(1, 3, 32, 32), (64, 3, 32, 32)}


def test_a_section_that_contradicts_the_model_is_why_it_does_not_load_and_the_model_is_closed(model: Path) -> None:
    (model / "model.toml").write_text("[image]\nmean = [1]\n")
    expected = "model 'm' version 1 did not load: model.toml, image.mean: it has 1; expected 3 numbers, in the order RGB"
    assert reason(model) == expected
    assert (model / "1" / ".closed").exists()


def test_a_model_that_will_not_even_close_is_told_of_by_what_was_wrong_first(model: Path) -> None:
    (model / "1" / "model.py").write_text(SUMS + "        raise OSError\n")
    (model / "model.toml").write_text("[image]\nmean = [1]\n")
    assert "image.mean: it has 1" in reason(model)
    assert (model / "1" / ".closed").exists()


def test_labels_that_do_not_fit_are_why_it_does_not_load(model: Path) -> None:
    (model / "labels.txt").write_text("light\n")
    assert "labels.txt: it names 1 class; expected 2, one a line, as 'y', FP32 [-1, 2], has" in reason(model)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"light\n\xff", "labels.txt: not UTF-8 text, at byte 6"),
        (b"light\n\ndark\n", "labels.txt, line 2: expected a class's name, one a line, got an empty line"),
        (b"", "labels.txt, line 1: expected a class's name, one a line, got an empty line"),
    ],
)
def test_a_file_that_is_no_list_of_names_is_why_it_does_not_load(model: Path, content: bytes, words: str) -> None:
    (model / "labels.txt").write_bytes(content)
    assert reason(model) == f"model 'm' version 1 did not load: {words}"


def test_names_are_lines_without_the_space_around_them(model: Path) -> None:
    (model / "labels.txt").write_bytes("﻿ tench, Tinca tinca\r\nÄffchen\x85\u2028x\r\n\r\n".encode())
    assert read_labels(model / "labels.txt") == ("tench, Tinca tinca", "Äffchen\x85\u2028x")


def test_a_file_of_names_is_a_plain_file_of_bounded_size(model: Path, tmp_path: Path) -> None:
    for make in (os.mkfifo, os.mkdir):
        make(tmp_path / make.__name__)
        with pytest.raises(LoadError, match=r"^labels.txt: expected a plain file; symlinks and special files are not followed$"):
            read_labels(tmp_path / make.__name__)
    (tmp_path / "link").symlink_to(model / "labels.txt")
    with pytest.raises(LoadError, match="expected a plain file"):
        read_labels(tmp_path / "link")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(LoadError, match=f"the file has {LARGEST + 1} bytes; expected at most {LARGEST}"):
        read_labels(tmp_path / "large")


def test_labels_that_are_no_plain_file_are_why_it_does_not_load(model: Path) -> None:
    (model / "labels.txt").unlink()
    (model / "labels.txt").mkdir()
    assert reason(model) == (
        "model 'm' version 1 did not load: labels.txt: expected a plain file; symlinks and special files are not followed"
    )


@pytest.mark.parametrize(
    ("file", "content"),
    [("labels.txt", "bright\ndark\n"), ("model.toml", "[image]\nsize = 32\ntop_k = 1\n")],
)
def test_a_load_gives_the_recipe_that_the_files_say_now(model: Path, file: str, content: str) -> None:
    registry, before = loaded(model)
    registry.load("m")
    assert registry.find("m") is before
    (model / file).write_text(content)
    registry.load("m")
    after = registry.find("m")
    assert after.recipe != before.recipe
    assert before.closed


def test_what_served_goes_on_with_its_recipe_where_the_new_one_does_not_fit(model: Path) -> None:
    registry, before = loaded(model)
    (model / "labels.txt").write_text("light\n")
    with pytest.raises(LoadError, match=r"labels\.txt: it names 1 class"):
        registry.load("m")
    assert registry.find("m") is before


def test_a_load_may_override_the_section(model: Path) -> None:
    registry, _ = loaded(model)
    registry.load("m", '{"image": {"size": 48}}')
    recipe = registry.find("m").recipe
    assert recipe is not None
    assert recipe.shape == (3, 48, 48)
    assert np.dtype(recipe.spec.dtype) == np.float32


def test_who_serves_no_images_does_not_import_their_decoders() -> None:
    code = "import sys, models, models.loader, service.app; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
