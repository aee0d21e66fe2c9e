from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from models.errors import InferenceError, LoadError, NotReady, UnknownModel, UnknownVersion
from models.lease import LoadedVersion
from models.registry import Registry
from models.repository import Repository
from models.shelf import IndexEntry, State

TIMES = """
from models import PythonModel, TensorSpec
class Times(PythonModel):
    inputs = [TensorSpec("x", "FP64", [-1])]
    outputs = [TensorSpec("y", "FP64", [-1])]
    def load(self, directory, models): self.directory = directory
    def infer(self, inputs): return {"y": inputs["x"] * FACTOR}
    def close(self): (self.directory / ".closed").touch()
"""
ASKS = """
from models import PythonModel, TensorSpec
class Asks(PythonModel):
    inputs = [TensorSpec("x", "FP64", [-1])]
    outputs = [TensorSpec("y", "FP64", [-1])]
    def load(self, directory, models):
        self.other = models("OTHER")
        EXTRA
    def infer(self, inputs): return {"y": self.other.infer({"x": inputs["x"]})["y"] + 1}
"""
ONE = {"x": np.ones(1)}


class Kitchen:
    """A repository in the making, and its registry."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.changes: list[list[tuple[str, int]]] = []
        self.registry = Registry(Repository(root), self._changed)

    def _changed(self, ready: list[LoadedVersion]) -> None:
        self.changes.append([(loaded.name, loaded.version) for loaded in ready])

    def times(self, name: str, version: int, factor: object) -> None:
        self.put(f"{name}/{version}/model.py", TIMES.replace("FACTOR", str(factor)))

    def asks(self, name: str, other: str, extra: str = "pass") -> None:
        self.put(f"{name}/1/model.py", ASKS.replace("OTHER", other).replace("EXTRA", extra))

    def put(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def answer(self, name: str, version: int | None = None, label: str | None = None) -> float:
        with self.registry.lease(name, version, label) as leased:
            return float(leased.runtime.infer(ONE, ["y"])["y"][0])

    def closed(self, name: str, version: int) -> bool:
        return (self.root / name / str(version) / ".closed").exists()

    def states(self) -> list[tuple[str, int | None, str]]:
        return [(entry.name, entry.version, entry.state.value) for entry in self.registry.index()]


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


def test_what_the_policy_wants_is_loaded_and_the_highest_serves(kitchen: Kitchen) -> None:
    for version in (1, 2, 10):
        kitchen.times("m", version, version)
    kitchen.put("m/model.toml", "[versions]\npolicy = 'latest'\nlatest = 2")
    assert kitchen.registry.load_all() == [IndexEntry("m", 2, State.READY), IndexEntry("m", 10, State.READY)]
    assert (kitchen.answer("m"), kitchen.answer("m", 2)) == (10.0, 2.0)
    with pytest.raises(UnknownVersion, match="model 'm' does not serve version 1; it serves 2, 10"):
        kitchen.registry.find("m", 1)


def test_a_loaded_version_says_all_about_itself(kitchen: Kitchen) -> None:
    kitchen.times("m", 1, 2)
    kitchen.registry.load_all()
    (loaded,) = kitchen.registry.ready_versions()
    assert (loaded.name, loaded.version, loaded.platform, loaded.notes) == ("m", 1, "python", ())
    assert loaded.signature.output_names == ("y",)
    assert loaded.manifest.batching.max_rows == 64
    assert loaded.load_s > 0


def test_a_model_that_fails_leaves_the_others_serving_and_says_why(kitchen: Kitchen) -> None:
    kitchen.times("good", 1, 2)
    kitchen.put("broken/1/model.py", "raise ValueError('no weights')")
    kitchen.put("empty/labels.txt", "")
    kitchen.put("wrong/1/model.onnx", "no graph")
    kitchen.put("misspelt/1/model.py", "")
    kitchen.put("misspelt/model.toml", "[batchin]")
    index = {(entry.name, entry.version): (entry.state, entry.reason) for entry in kitchen.registry.load_all()}
    assert index.pop(("good", 1)) == (State.READY, "")
    assert {state for state, _ in index.values()} == {State.UNAVAILABLE}
    broken = "model 'broken' version 1 did not load: model.py raised ValueError: no weights (line 1)"
    assert index["broken", 1][1] == broken
    assert index["misspelt", None][1].endswith("the nearest known one is [batching]")
    assert kitchen.answer("good") == 2.0
    with pytest.raises(NotReady) as caught:
        kitchen.registry.find("broken")
    assert str(caught.value) == broken
    with pytest.raises(NotReady, match="has no version"):
        kitchen.registry.find("empty", 3)


def test_an_unknown_model_version_or_label_names_the_nearest(kitchen: Kitchen) -> None:
    kitchen.times("ranker", 1, 2)
    kitchen.put("ranker/model.toml", "[versions.labels]\nstable = 1")
    kitchen.registry.load_all()
    with pytest.raises(UnknownModel, match="there is no model 'rankr'; did you mean 'ranker'"):
        kitchen.registry.find("rankr")
    with pytest.raises(UnknownVersion, match="model 'ranker' does not serve version 2; it serves 1"):
        kitchen.registry.find("ranker", 2)
    with pytest.raises(UnknownVersion, match="model 'ranker' has no label 'stabel'; the nearest it has is 'stable'"):
        kitchen.registry.find("ranker", label="stabel")


def test_a_label_leads_to_its_version_which_the_policy_alone_would_not_load(kitchen: Kitchen) -> None:
    kitchen.times("m", 1, 1)
    kitchen.times("m", 2, 2)
    kitchen.put("m/model.toml", "[versions.labels]\nstable = 1\nlost = 7")
    kitchen.registry.load_all()
    assert kitchen.answer("m", label="stable") == 1.0
    assert kitchen.registry.labels("m") == {"stable": 1, "lost": 7}
    with pytest.raises(NotReady, match="versions asks for version 7; the repository has 1, 2"):
        kitchen.registry.find("m", label="lost")


def test_a_load_brings_the_new_version_before_the_old_one_leaves(kitchen: Kitchen) -> None:
    kitchen.times("m", 1, 1)
    kitchen.registry.load_all()
    kitchen.changes.clear()
    kitchen.times("m", 2, 2)
    assert [loaded.version for loaded in kitchen.registry.load("m")] == [2]
    assert kitchen.changes == [[("m", 1), ("m", 2)], [("m", 2)]]
    assert kitchen.closed("m", 1)
    assert kitchen.answer("m") == 2.0


def test_a_version_in_use_is_closed_by_the_last_who_leaves(kitchen: Kitchen) -> None:
    kitchen.times("m", 1, 1)
    kitchen.registry.load_all()
    with kitchen.registry.lease("m") as leased:
        kitchen.registry.unload("m")
        assert kitchen.states() == [("m", 1, "UNLOADING")]
        assert not kitchen.closed("m", 1)
        assert leased.runtime.infer(ONE, ["y"])["y"].tolist() == [1.0]
        with pytest.raises(NotReady, match="model 'm' was unloaded"):
            kitchen.registry.find("m")
    assert kitchen.closed("m", 1)
    assert kitchen.registry.index() == [IndexEntry("m", 1, State.UNAVAILABLE, "model 'm' was unloaded")]
    assert not leased.acquire()
    with pytest.raises(NotReady, match="model 'm' version 1 was unloaded"), leased.lease():
        pass


def test_an_unloaded_model_is_loaded_again_and_unloading_twice_is_harmless(kitchen: Kitchen) -> None:
    kitchen.times("m", 1, 1)
    kitchen.registry.load_all()
    kitchen.registry.unload("m")
    kitchen.registry.unload("m")
    kitchen.registry.load("m")
    assert kitchen.answer("m") == 1.0
    with pytest.raises(UnknownModel):
        kitchen.registry.unload("other")


def test_only_a_version_whose_file_changed_is_loaded_anew(kitchen: Kitchen) -> None:
    kitchen.times("m", 1, 1)
    kitchen.registry.load_all()
    before = kitchen.registry.find("m")
    kitchen.registry.load("m")
    assert kitchen.registry.find("m") is before
    kitchen.times("m", 1, 5)
    kitchen.registry.load("m")
    assert kitchen.registry.find("m") is not before
    assert kitchen.answer("m") == 5.0
    assert before.closed


@pytest.mark.parametrize(
    ("path", "text"),
    [("m/1/model.py", "1 / 0"), ("m/2/model.py", "1 / 0"), ("m/model.toml", "[batchin]"), ("m/1/model.txt", "")],
)
def test_a_load_that_fails_leaves_what_served(kitchen: Kitchen, path: str, text: str) -> None:
    kitchen.times("m", 1, 1)
    kitchen.registry.load_all()
    before = kitchen.registry.find("m")
    kitchen.put(path, text)
    with pytest.raises(LoadError, match=r"^model 'm'"):
        kitchen.registry.load("m")
    assert kitchen.registry.find("m") is before
    assert kitchen.answer("m") == 1.0
    assert not kitchen.closed("m", 1)
    assert any(entry.reason for entry in kitchen.registry.index())
    shutil.rmtree(kitchen.root / "m")
    kitchen.times("m", 3, 3)
    kitchen.registry.load("m")
    assert kitchen.answer("m") == 3.0
    assert kitchen.registry.index() == [IndexEntry("m", 3, State.READY)]


def test_a_model_whose_directory_is_gone_serves_until_it_is_unloaded(kitchen: Kitchen) -> None:
    kitchen.times("m", 1, 1)
    kitchen.registry.load_all()
    shutil.rmtree(kitchen.root / "m")
    with pytest.raises(LoadError, match="model 'm' is not in the repository any more; unload it, or put it back"):
        kitchen.registry.load("m")
    with kitchen.registry.lease("m"):
        pass


def test_a_model_that_came_later_is_found_by_load(kitchen: Kitchen) -> None:
    kitchen.registry.load_all()
    with pytest.raises(UnknownModel):
        kitchen.registry.load("m")
    kitchen.times("m", 1, 3)
    kitchen.registry.load("m")
    assert kitchen.answer("m") == 3.0


def test_a_new_manifest_is_followed_without_loading_anew(kitchen: Kitchen) -> None:
    kitchen.times("m", 1, 1)
    kitchen.registry.load_all()
    before = kitchen.registry.find("m")
    kitchen.put("m/model.toml", "[batching]\nmax_rows = 8")
    kitchen.registry.load("m")
    after = kitchen.registry.find("m")
    assert (after.manifest.batching.max_rows, after.runtime is before.runtime, before.closed) == (8, True, False)


def test_an_override_holds_until_the_next_load(kitchen: Kitchen) -> None:
    kitchen.times("m", 1, 1)
    kitchen.times("m", 2, 2)
    kitchen.registry.load_all()
    kitchen.registry.load("m", '{"versions": {"policy": [1]}, "batching": {"max_rows": 5}}')
    assert [(v.version, v.manifest.batching.max_rows) for v in kitchen.registry.ready_versions()] == [(1, 5)]
    with pytest.raises(LoadError, match=r"model 'm', config: batching.max_row: unknown key"):
        kitchen.registry.load("m", '{"batching": {"max_row": 5}}')
    kitchen.registry.load("m")
    assert [(v.version, v.manifest.batching.max_rows) for v in kitchen.registry.ready_versions()] == [(2, 64)]


def test_models_that_call_each_other_are_loaded_in_the_order_that_works(kitchen: Kitchen) -> None:
    kitchen.asks("a", "b", "self.other.infer({'x': __import__('numpy').ones(1)})")
    kitchen.asks("b", "c", "self.other.infer({'x': __import__('numpy').ones(1)})")
    kitchen.times("c", 1, 10)
    kitchen.registry.load_all()
    assert kitchen.changes == [[("c", 1)], [("b", 1), ("c", 1)], [("a", 1), ("b", 1), ("c", 1)]]
    assert kitchen.answer("a") == 12.0
    assert kitchen.registry.find("a").notes == ()


def test_a_model_that_needs_a_missing_one_fails_alone_and_names_it(kitchen: Kitchen) -> None:
    kitchen.asks("a", "b", "self.other.infer({'x': __import__('numpy').ones(1)})")
    kitchen.put("b/1/model.py", "1 / 0")
    kitchen.asks("d", "nobody")
    kitchen.times("good", 1, 1)
    reasons = {entry.name: entry.reason for entry in kitchen.registry.load_all()}
    assert "NotReady: model 'b' version 1 did not load: model.py raised ZeroDivisionError" in reasons["a"]
    assert "UnknownModel: there is no model 'nobody'" in reasons["d"]
    assert reasons["good"] == ""


def test_models_that_wait_for_each_other_serve_with_a_note(kitchen: Kitchen) -> None:
    kitchen.asks("a", "b")
    kitchen.asks("b", "a")
    kitchen.registry.load_all()
    assert [loaded.name for loaded in kitchen.registry.ready_versions()] == ["a", "b"]
    assert any("could not be warmed up" in note for note in kitchen.registry.find("a").notes)


def test_a_handle_follows_its_model_and_checks_what_it_is_given(kitchen: Kitchen) -> None:
    kitchen.asks("a", "b")
    kitchen.times("b", 1, 10)
    kitchen.registry.load_all()
    assert kitchen.answer("a") == 11.0
    kitchen.times("b", 1, 20)
    kitchen.registry.load("b")
    assert kitchen.answer("a") == 21.0
    kitchen.registry.unload("b")
    with pytest.raises(NotReady, match="model 'b' was unloaded"):
        kitchen.answer("a")
    kitchen.put("a/1/model.py", ASKS.replace("OTHER", "b").replace("EXTRA", "pass").replace('{"x": inputs["x"]}', '{"z": [1.0]}'))
    kitchen.registry.load("b")
    kitchen.registry.load("a")
    with pytest.raises(InferenceError, match=r"it called model .b. with what does not fit: inputs: the model has no such input"):
        kitchen.answer("a")


def test_a_change_that_the_listener_refuses_is_undone(kitchen: Kitchen) -> None:
    kitchen.times("m", 1, 1)
    kitchen.registry.load_all()
    before = kitchen.registry.find("m")

    def refuse(ready: list[LoadedVersion]) -> None:
        raise RuntimeError("no")

    kitchen.registry.on_change = refuse
    kitchen.times("m", 2, 2)
    with pytest.raises(RuntimeError, match="no"):
        kitchen.registry.load("m")
    assert kitchen.registry.find("m") is before
    assert kitchen.states() == [("m", 1, "READY")]
    assert kitchen.closed("m", 2)
    assert not kitchen.closed("m", 1)


def test_the_listener_sees_the_new_table_while_the_old_version_is_still_open(kitchen: Kitchen) -> None:
    kitchen.times("m", 1, 1)
    kitchen.registry.load_all()
    before = kitchen.registry.find("m")
    seen: list[tuple[bool, bool]] = []
    kitchen.registry.on_change = lambda ready: seen.append((kitchen.registry.find("m") is ready[-1], before.closed))
    kitchen.times("m", 1, 2)
    kitchen.registry.load("m")
    assert seen == [(True, False)]
    assert before.closed


def test_a_model_is_missed_unless_it_was_unloaded(kitchen: Kitchen) -> None:
    kitchen.times("m", 1, 1)
    kitchen.registry.load_all()
    assert (kitchen.registry.knows("m"), kitchen.registry.unloaded("m")) == (True, False)
    kitchen.registry.unload("m")
    assert (kitchen.registry.knows("m"), kitchen.registry.unloaded("m")) == (True, True)
    kitchen.registry.load("m")
    assert not kitchen.registry.unloaded("m")
    assert not kitchen.registry.knows("other")


def test_close_unloads_everything(kitchen: Kitchen) -> None:
    kitchen.times("a", 1, 1)
    kitchen.times("b", 1, 1)
    kitchen.registry.load_all()
    kitchen.registry.close()
    assert kitchen.closed("a", 1)
    assert kitchen.closed("b", 1)
    assert kitchen.registry.ready_versions() == []


def test_callers_get_an_answer_whatever_is_loaded_and_retired_meanwhile(kitchen: Kitchen) -> None:
    kitchen.times("m", 1, 1)
    kitchen.registry.load_all()
    done = threading.Event()

    def ask() -> int:
        asked = 0
        while not done.is_set() or not asked:
            assert kitchen.answer("m") in range(1, 12)
            asked += 1
        return asked

    with ThreadPoolExecutor(3) as pool:
        askers = [pool.submit(ask) for _ in range(3)]
        try:
            for factor in range(2, 12):
                kitchen.times("m", factor, factor)
                kitchen.registry.load("m")
        finally:
            done.set()
        assert all(asker.result() for asker in askers)
    assert [kitchen.closed("m", version) for version in range(1, 12)] == [True] * 10 + [False]


def test_the_example_repository_answers_as_its_readme_says() -> None:
    registry = Registry(Repository(Path(__file__).parents[2] / "examples" / "python_model"))
    assert registry.load_all() == [IndexEntry("cart", 1, State.READY), IndexEntry("price", 1, State.READY)]
    inputs = {"item": np.array([b"tea", b"pot", b"sofa"], object), "count": np.array([3, 1, 1])}
    with registry.lease("cart") as cart:
        assert cart.signature.check(inputs) == 3
        assert cart.runtime.infer(inputs, ["total"])["total"].tolist() == [13.5, 28.0, 0.0]
        assert cart.notes == ()
    registry.close()
