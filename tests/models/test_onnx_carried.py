"""Models that nobody here made load, and answer what plain ONNX Runtime answers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from models.runtimes.onnx import OnnxRuntime
from models.tensor import Array


@pytest.fixture(scope="module")
def carried() -> Path:
    """The file type detector that the package magika carries."""
    spec = find_spec("magika")
    assert spec is not None
    assert spec.origin is not None
    return max((Path(spec.origin).parent / "models").glob("*/model.onnx"))


@pytest.fixture(scope="module")
def runtime(carried: Path) -> OnnxRuntime:
    return OnnxRuntime.load(carried)


def _rows(runtime: OnnxRuntime, rows: int) -> Array:
    (spec,) = runtime.signature.inputs
    return np.random.default_rng(rows).integers(0, 257, (rows, *spec.shape[1:])).astype(spec.dtype)


def test_it_is_batched_without_a_note(runtime: OnnxRuntime) -> None:
    assert (runtime.signature.batched, runtime.notes) == (True, ())


@pytest.mark.parametrize("rows", [1, 2, 7, 32])
def test_it_answers_as_plain_onnx_runtime_does_bit_for_bit(runtime: OnnxRuntime, carried: Path, rows: int) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    plain = ort.InferenceSession(str(carried), options, providers=["CPUExecutionProvider"])
    x = _rows(runtime, rows)
    names = list(runtime.signature.output_names)
    expected = plain.run(names, {runtime.signature.inputs[0].name: x})
    got = runtime.infer({runtime.signature.inputs[0].name: x}, names)
    assert [got[name].tobytes() for name in names] == [array.tobytes() for array in expected]


def test_its_rows_answer_in_a_batch_as_they_do_alone(runtime: OnnxRuntime) -> None:
    name, outputs = runtime.signature.inputs[0].name, runtime.signature.output_names
    x = _rows(runtime, 9)
    together = runtime.infer({name: x}, outputs)
    for row in range(9):
        alone = runtime.infer({name: x[row : row + 1]}, outputs)
        for output in outputs:
            np.testing.assert_allclose(together[output][row : row + 1], alone[output], rtol=1e-4, atol=1e-6)
