from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from models.blame import told
from models.errors import LoadError, NotReady
from models.loader import Defect, load, made_up, warm_up
from models.manifest import Manifest
from models.repository import Repository, Source
from models.runtime import Callee, Runtime
from models.tensor import TensorSpec

CALLS = """
from models import NotReady, PythonModel, TensorSpec
class M(PythonModel):
    inputs = [TensorSpec("x", "FP32", [-1, -1]), TensorSpec("s", "BYTES", [-1]), TensorSpec("k", "INT64", [-1], optional=True)]
    outputs = [TensorSpec("y", "FP32", [-1])]
    calls = []
    def infer(self, inputs):
        self.calls.append({name: array.shape for name, array in inputs.items()})
        return {"y": inputs["x"][:, 0]}
"""


def nobody(name: str, version: int | None = None) -> Callee:
    raise NotReady(f"model {name!r} is not loaded")


def source(tmp_path: Path, text: str, file: str = "model.py") -> Source:
    path = tmp_path / "m" / "1" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    found = Repository(tmp_path).entry("m").versions[0].source
    assert found is not None
    return found


def loaded(tmp_path: Path, text: str, manifest: Manifest | None = None) -> Runtime:
    return load(source(tmp_path, text), manifest or Manifest(), nobody)


def test_the_platform_chooses_the_runtime(tmp_path: Path) -> None:
    assert loaded(tmp_path, CALLS).platform == "python"


@pytest.mark.parametrize("file", ["model.onnx", "model.txt", "model.py"])
def test_a_file_that_is_no_model_is_a_load_error_that_names_the_version(tmp_path: Path, file: str) -> None:
    with pytest.raises(LoadError, match=r"^model 'm' version 1 did not load: ") as caught:
        load(source(tmp_path, "no model", file), Manifest(), nobody)
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_failing_load_keeps_what_the_model_was_waiting_for_as_its_cause(tmp_path: Path) -> None:
    with pytest.raises(LoadError) as caught:
        loaded(tmp_path, CALLS + "    def load(self, directory, models): models('ranker')\n")
    assert isinstance(caught.value.__cause__, NotReady)


def test_warm_up_calls_at_one_row_and_at_max_rows_with_optional_inputs_left_out(tmp_path: Path) -> None:
    manifest = Manifest.parse("[batching]\nmax_rows = 8\n[warmup]\ncalls = 2", model="m")
    runtime = loaded(tmp_path, CALLS, manifest)
    assert warm_up(runtime, manifest) == ()
    calls = runtime._model.calls  # type: ignore[attr-defined]  # what the model itself saw
    assert calls == [{"x": (1, 1), "s": (1,)}] * 2 + [{"x": (8, 1), "s": (8,)}] * 2


def test_no_warm_up_calls_means_none(tmp_path: Path) -> None:
    runtime = loaded(tmp_path, CALLS.replace("self.calls", "1 / 0\n        self.calls"))
    assert warm_up(runtime, Manifest.parse("[warmup]\ncalls = 0", model="m")) == ()


def test_a_model_that_dislikes_made_up_values_serves_with_a_note(tmp_path: Path) -> None:
    runtime = loaded(tmp_path, CALLS.replace("self.calls", "raise ValueError('no such user')\n        self.calls"))
    (note,) = warm_up(runtime, Manifest())
    assert note.startswith("warm-up with made-up values at 1 row failed, it serves nevertheless: ")
    assert "no such user" in note
    assert not isinstance(note, Defect)


@pytest.mark.parametrize("result", ["{'z': inputs['x']}", "{'y': inputs['x'][:0]}"])
def test_a_model_that_breaks_its_own_description_has_a_defect(tmp_path: Path, result: str) -> None:
    head, _, _ = CALLS.rpartition("        return ")
    (note,) = warm_up(loaded(tmp_path, f"{head}        return {result}\n"), Manifest())
    assert isinstance(note, Defect)


def test_a_warm_up_that_needs_a_model_that_is_not_ready_says_so(tmp_path: Path) -> None:
    runtime = loaded(tmp_path, CALLS.replace("self.calls", "raise NotReady('ranker')\n        self.calls"))
    with pytest.raises(NotReady, match="ranker"):
        warm_up(runtime, Manifest())


def test_made_up_inputs_are_zeros_or_empty_bytes_with_free_dims_of_one() -> None:
    specs = (TensorSpec("a", "FP64", [-1, 3, -1]), TensorSpec("b", "BYTES", [-1]), TensorSpec("c", "BOOL", [2]))
    inputs = made_up(specs, 4)
    assert {name: (array.shape, array.dtype) for name, array in inputs.items()} == {
        "a": ((4, 3, 1), np.dtype(np.float64)),
        "b": ((4,), np.dtype(object)),
        "c": ((2,), np.dtype(np.bool_)),
    }
    assert set(inputs["b"]) == {b""}
    assert not inputs["a"].any()


def test_made_up_inputs_hold_at_least_one_tensor_and_never_more_than_memory_bears() -> None:
    assert set(made_up((TensorSpec("a", "FP64", [-1], optional=True),), 1)) == {"a"}
    wide = made_up((TensorSpec("a", "FP32", [-1, 1 << 20]), TensorSpec("b", "FP32", [-1])), 1 << 20)
    assert wide["a"].shape[0] == wide["b"].shape[0] == 64


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("a\n  b"), "ValueError: a b"),
        (KeyError(), "KeyError"),
        (OSError("no /srv/repo/m/1/weights.bin here"), "OSError: no weights.bin here"),
        (OSError(r"no C:\repo\m\x.bin"), "OSError: no x.bin"),
        (ValueError("3/4 of a/b"), "ValueError: 3/4 of a/b"),
        (ValueError("x" * 999), "ValueError: " + "x" * 297 + "..."),
    ],
)
def test_what_is_told_of_an_exception_is_one_short_line_without_directories(error: Exception, sentence: str) -> None:
    assert re.fullmatch(re.escape(sentence), told(error))
