from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from models.errors import InferenceError, InvalidInput, LoadError, NotReady
from models.runtime import Callee
from models.runtimes.python import PythonRuntime
from models.runtimes.python_result import checked
from models.tensor import Array, TensorSpec

HEAD = """
import numpy as np
from models import InferenceError, InvalidInput, NotReady, Problem, PythonModel, TensorSpec
class M(PythonModel):
    inputs = [TensorSpec("x", "FP32", [-1])]
    outputs = [TensorSpec("y", "FP32", [-1]), TensorSpec("n", "INT64", [-1])]
"""
TWICE = HEAD + "    def infer(self, inputs): return {'y': inputs['x'] * 2, 'n': np.arange(len(inputs['x']))}\n"


def nobody(name: str, version: int | None = None) -> Callee:
    raise NotReady(f"model {name!r} is not loaded")


def runtime(directory: Path, source: str) -> PythonRuntime:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.py").write_text(source)
    return PythonRuntime.load(directory / "model.py", nobody)


def answering(directory: Path, body: str) -> Callable[[], dict[str, Array]]:
    """A call, with two rows, of a model whose infer is ``body``."""
    model = runtime(directory, HEAD + "    def infer(self, inputs):\n" + textwrap.indent(body, " " * 8))
    return lambda: model.infer({"x": np.array([1, 2], np.float32)}, ["y"])


def test_a_model_answers_with_the_outputs_asked_for_alone(tmp_path: Path) -> None:
    model = runtime(tmp_path, TWICE)
    x = {"x": np.array([1, 2], np.float32)}
    assert {name: array.tolist() for name, array in model.infer(x, ["n"]).items()} == {"n": [0, 1]}
    assert list(model.infer(x, ["n", "y"])) == ["n", "y"]
    assert (model.platform, model.pure, model.signature.batched, model.notes) == ("python", True, True, ())


def test_pure_is_the_classs_own_word(tmp_path: Path) -> None:
    assert runtime(tmp_path, TWICE + "    pure = False\n").pure is False


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("x = 1", "model.py defines no PythonModel; expected one class derived from models.PythonModel"),
        (TWICE + TWICE.replace("class M", "class N"), "model.py defines 2 PythonModel classes, M, N; expected exactly one"),
        (HEAD, "model.py's class M has no method infer; define infer(self, inputs)"),
        (TWICE.replace("def infer", "async def infer"), "model.py's class M has an async infer"),
        (TWICE + "    inputs = []\n", "model.py's class M describes no inputs; expected at least one"),
        (TWICE + "    outputs = ['y']\n", "model.py's class M has outputs that are no list of TensorSpec"),
        (TWICE + "    inputs = inputs * 2\n", "describes its tensors wrongly: two inputs share the name 'x'"),
        ("\n\n1 / 0", "model.py raised ZeroDivisionError: division by zero (line 3)"),
        ("import sys\nsys.exit(3)", "model.py raised SystemExit: 3 (line 2)"),
        ("x = 1\ndef f(:", "model.py raised SyntaxError: invalid syntax (line 2)"),
        ("import no_such_module", "model.py raised ModuleNotFoundError: No module named 'no_such_module' (line 1)"),
        (TWICE + "    def load(self, d, models):\n        open(d / 'gone.bin')\n", "'gone.bin' (line 9)"),
        (TWICE + "    def __init__(self, x): ...\n", "model.py raised TypeError: "),
    ],
)
def test_a_file_that_will_not_load_says_what_and_where_without_a_path(tmp_path: Path, source: str, told: str) -> None:
    before = set(sys.modules), list(sys.meta_path)
    with pytest.raises(LoadError, match=re.escape(told)) as caught:
        runtime(tmp_path, source)
    assert str(tmp_path) not in str(caught.value)
    assert (set(sys.modules), list(sys.meta_path)) == before


def test_a_load_error_keeps_its_cause(tmp_path: Path) -> None:
    with pytest.raises(LoadError) as caught:
        runtime(tmp_path, TWICE + "    def load(self, d, models): models('ranker')\n")
    assert isinstance(caught.value.__cause__, NotReady)


def test_a_helper_class_and_an_abstract_base_beside_the_model_do_no_harm(tmp_path: Path) -> None:
    source = TWICE.replace("class M(PythonModel)", "class Base(PythonModel): ...\nclass Part: ...\nclass M(Base)")
    assert runtime(tmp_path, source).signature.output_names == ("y", "n")


def test_two_versions_bring_their_own_sibling_modules_and_leave_nothing_behind(tmp_path: Path) -> None:
    before, path, finders = set(sys.modules), list(sys.path), list(sys.meta_path)
    models = []
    for version, factor in (("1", 10), ("2", 20)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "factor.py").write_text(f"FACTOR = {factor}\n")
        body = "    def infer(self, inputs):\n        from . import factor\n"
        body += "        return {'y': inputs['x'] * factor.FACTOR, 'n': [0]}\n"
        models.append(runtime(tmp_path / version, HEAD + body))
    x = {"x": np.ones(1, np.float32)}
    assert [model.infer(x, ["y"])["y"].tolist() for model in models] == [[10.0], [20.0]]
    assert sys.path == path
    for model in models:
        model.close()
    assert (set(sys.modules), sys.meta_path) == (before, finders)
    assert sorted(file.name for file in (tmp_path / "1").iterdir()) == ["factor.py", "model.py"]


def test_an_absolute_import_of_a_sibling_is_answered_with_the_relative_one(tmp_path: Path) -> None:
    (tmp_path / "factor.py").write_text("")
    with pytest.raises(LoadError, match=r"a file beside model\.py is imported relatively: from \. import factor"):
        runtime(tmp_path, "import factor")


def test_a_file_changed_within_a_second_at_the_same_size_is_the_new_file(tmp_path: Path) -> None:
    x = {"x": np.ones(1, np.float32)}
    answers = [runtime(tmp_path, TWICE.replace("* 2", f"* {n}")).infer(x, ["y"])["y"].tolist() for n in (2, 3)]
    assert answers == [[2.0], [3.0]]


def test_a_dim_that_is_no_rows_makes_the_model_run_one_request_at_a_time_with_a_note(tmp_path: Path) -> None:
    model = runtime(
        tmp_path, TWICE + "    outputs = [TensorSpec('y', 'FP32', [])]\n    infer = lambda self, i: {'y': i['x'].sum()}\n"
    )
    assert not model.signature.batched
    assert "one request at a time: the first dim of y is not free" in model.notes[0]
    assert model.infer({"x": np.ones(3, np.float32)}, ["y"])["y"] == 3


def test_tensors_may_be_described_in_load(tmp_path: Path) -> None:
    model = runtime(tmp_path, TWICE + "    def load(self, d, m): self.inputs = [TensorSpec('x', 'FP32', [-1], optional=True)]\n")
    assert model.signature.inputs[0].optional


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise ValueError('no such user')", "the model raised ValueError: no such user"),
        ("raise KeyError('user')", "the model raised KeyError: 'user'"),
        ("open('/srv/secret/repo/x.bin')", "the model raised FileNotFoundError: [Errno 2] No such file or directory: 'x.bin'"),
        ("raise SystemExit(1)", "the model raised SystemExit: 1"),
        ("import asyncio; raise asyncio.CancelledError", "the model raised CancelledError"),
        ("inputs['x'][0] = 5", "the model raised ValueError: assignment destination is read-only"),
        ("return None", "the model returned None; expected a mapping from output names to arrays"),
        ("return [1, 2]", "the model returned a list; expected a mapping from output names to arrays"),
        ("return {'y': inputs['x']}", "the model left out its output 'n'; it returned y"),
        ("return {'y': [1.0], 'n': [1, 2]}", "the model's output 'y' has 1 rows; expected 2, as many as came in"),
        ("return {'y': [1.0] * 3, 'n': [1, 2]}", "the model's output 'y' has 3 rows; expected 2, as many as came in"),
        ("return {'y': [[1.0], [2.0]], 'n': [1, 2]}", "the model's output 'y' has shape [2, 1]; expected 1 dims, [-1]"),
        ("return {'y': 1.0, 'n': [1, 2]}", "the model's output 'y' has shape []; expected 1 dims, [-1]"),
        ("return {'y': [[1], [2, 3]], 'n': [1, 2]}", "the model's output 'y' is no array: ValueError: "),
        ("return {'y': ['a', 'b'], 'n': [1, 2]}", "the model's output 'y' is text; expected FP32"),
        ("return {'y': [None, 1], 'n': [1, 2]}", "the model's output 'y' is objects; expected FP32"),
        ("return {'y': [1, 2], 'n': [1.5, 2.5]}", "the model's output 'n' is FP64; expected INT64"),
        ("return {'y': [1e300, 2], 'n': [1, 2]}", "the model's output 'y' holds numbers too large for FP32"),
    ],
)
def test_a_model_that_raises_or_breaks_its_description_is_told_so(tmp_path: Path, body: str, told: str) -> None:
    with pytest.raises(InferenceError) as caught:
        answering(tmp_path, body)()
    assert str(caught.value).startswith(told)


def test_another_model_that_is_not_ready_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="ranker"):
        answering(tmp_path, "raise NotReady('model ranker is loading')")()


def test_lists_and_narrower_numbers_are_converted(tmp_path: Path) -> None:
    answer = answering(tmp_path, "return {'y': [1, 2], 'n': np.array([1, 2], 'u1'), 'more': 3}")()
    assert answer["y"].dtype == np.float32
    assert answer["y"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("datatype", "value", "expected"),
    [
        ("BYTES", ["ä", b"b\0"], ["ä".encode(), b"b\0"]),
        ("BYTES", np.array(["a", "bc"]), [b"a", b"bc"]),
        ("UINT8", [0, 255], [0, 255]),
        ("INT8", np.array([-1, 1], np.int64), [-1, 1]),
        ("BF16", np.array([0.5, 1], np.float64), [0.5, 1.0]),
        ("FP64", np.array([1, 2], ">f8"), [1.0, 2.0]),
        ("INT64", [True, False], [1, 0]),
    ],
)
def test_what_a_datatype_can_hold_is_taken_for_it(datatype: str, value: object, expected: list[object]) -> None:
    spec = TensorSpec("y", datatype, [-1])
    array = checked({"y": value}, [spec], ["y"], 2)["y"]
    assert array.dtype == spec.dtype
    assert array.tolist() == expected


@pytest.mark.parametrize(
    ("datatype", "value"),
    [("INT8", [300, 0]), ("UINT8", [-1, 0]), ("INT64", np.array([2**63, 0], np.uint64)), ("BYTES", [1, 2]), ("BOOL", [0, 1])],
)
def test_what_a_datatype_cannot_hold_is_refused_rather_than_bent(datatype: str, value: object) -> None:
    with pytest.raises(InferenceError, match=datatype if datatype != "BYTES" else "bytes"):
        checked({"y": value}, [TensorSpec("y", datatype, [-1])], ["y"], 2)


def test_closing_calls_the_models_close(tmp_path: Path) -> None:
    closing = "    def load(self, d, m): self.d = d\n    def close(self): (self.d / 'closed').touch()\n"
    runtime(tmp_path, TWICE + closing).close()
    assert (tmp_path / "closed").exists()


def test_a_close_that_exits_is_an_ordinary_error(tmp_path: Path) -> None:
    model = runtime(tmp_path, TWICE + "    def close(self): raise SystemExit\n")
    with pytest.raises(InferenceError, match="the model raised SystemExit while it was closed"):
        model.close()


def test_a_model_is_given_aligned_arrays_wherever_the_callers_lie(tmp_path: Path) -> None:
    body = "    def infer(self, inputs):\n        return {'y': inputs['x'], 'n': [int(inputs['x'].flags.aligned)]}\n"
    unaligned = np.frombuffer(b"-" + np.ones(1, np.float32).tobytes(), np.float32, offset=1)
    assert not unaligned.flags.aligned
    answer = runtime(tmp_path, HEAD + body).infer({"x": unaligned}, ["y", "n"])
    assert [array.tolist() for array in answer.values()] == [[1.0], [1]]


def test_the_arrays_of_the_caller_stay_writable(tmp_path: Path) -> None:
    x: Mapping[str, Array] = {"x": np.ones(1, np.float32)}
    runtime(tmp_path, TWICE).infer(x, ["y"])
    x["x"][0] = 2


def test_a_model_may_refuse_a_callers_value(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="too large"):
        answering(tmp_path, "raise InvalidInput(Problem('inputs.x.data', 'too large'))")()
