"""ONNX models: their tensors and calls."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto
from onnx_graphs import answer, echo, load, lookup, mlp, model, node, strings, sum_and_difference, tensor, texts, weight, write
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from models.errors import InferenceError, InvalidInput, LoadError
from models.runtimes.onnx import OnnxRuntime
from models.tensor import DTYPES, Array, TensorSpec


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> OnnxRuntime:
    return load(mlp(), tmp_path_factory.mktemp("dense"))


@pytest.fixture(scope="module")
def string_echo(tmp_path_factory: pytest.TempPathFactory) -> OnnxRuntime:
    return load(echo("BYTES", ["n", "m"]), tmp_path_factory.mktemp("echo"))


# Tensors


@pytest.mark.parametrize("datatype", [name for name in DTYPES if name != "BYTES"])
def test_every_datatype_passes_unchanged(datatype: str, tmp_path: Path) -> None:
    runtime = load(echo(datatype), tmp_path)
    x = np.array([[0, 1], [1, 0], [1, 1]]).astype(DTYPES[datatype])
    y = answer(runtime, x=x)["y"]
    assert runtime.signature.inputs == (TensorSpec("x", datatype, [-1, 2]),)
    assert runtime.signature.outputs == (TensorSpec("y", datatype, [-1, 2]),)
    assert (y.dtype, y.tolist()) == (x.dtype, x.tolist())


def test_bfloat16_is_computed_and_mixes_with_other_datatypes(tmp_path: Path) -> None:
    nodes = [
        node("Identity", ["x"], ["same"]),
        node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        node("Add", ["wide", "f"], ["sum"]),
        node("Cast", ["f"], ["text"], to=TensorProto.STRING),
    ]
    inputs = [tensor("x", "BF16", ["n"]), tensor("f", "FP32", ["n"])]
    outputs = [tensor("same", "BF16", ["n"]), tensor("sum", "FP32", ["n"]), tensor("text", "BYTES", ["n"])]
    runtime = load(model(nodes, inputs, outputs), tmp_path)
    x = np.array([1.5, -2, 3, 7], ml_dtypes.bfloat16)[::2]
    got = answer(runtime, x=x, f=np.array([1, 2], np.float32))
    assert (got["same"].dtype, got["same"].tolist()) == (x.dtype, [1.5, 3])
    assert (got["sum"].tolist(), got["text"].tolist()) == ([2.5, 5], [b"1", b"2"])
    assert runtime.signature.batched


@given(hnp.arrays(object, hnp.array_shapes(min_dims=2, max_dims=2, max_side=4), elements=st.text().map(str.encode)))
def test_strings_come_back_as_the_bytes_they_were(string_echo: OnnxRuntime, x: Array) -> None:
    y = answer(string_echo, x=x)["y"]
    assert (y.shape, y.tolist()) == (x.shape, x.tolist())


def test_a_scalar_string_keeps_its_shape(tmp_path: Path) -> None:
    y = answer(load(echo("BYTES", []), tmp_path), x=np.array(b"caf\xc3\xa9", dtype=object))["y"]
    assert (y.shape, y.dtype) == ((), np.dtype(object))
    assert y.tolist() == b"caf\xc3\xa9"


def test_bytes_that_are_not_utf8_are_the_callers_fault_and_named(tmp_path: Path) -> None:
    runtime = load(echo("BYTES", ["n"]), tmp_path)
    with pytest.raises(InvalidInput) as caught:
        runtime.infer({"x": texts(b"good", b"b\xffd")}, ("y",))
    assert str(caught.value) == "inputs.x.data: element 1 is not UTF-8 (expected UTF-8 text, got byte 0xff)"


def test_an_element_that_is_not_bytes_is_refused_not_spelled_out(tmp_path: Path) -> None:
    runtime = load(echo("BYTES", ["n"]), tmp_path)
    with pytest.raises(InvalidInput, match=r"element 0 is not bytes \(expected bytes, got str\)"):
        runtime.infer({"x": np.array(["text"], dtype=object)}, ("y",))


def test_a_model_whose_answer_is_not_utf8_fails_alone(tmp_path: Path) -> None:
    table = strings("table", b"fine", b"\xff")
    proto = model([node("Gather", ["table", "x"], ["y"])], [tensor("x", "INT64", ["n"])], [tensor("y", "BYTES", ["n"])], [table])
    runtime = load(proto, tmp_path)
    with pytest.raises(InferenceError):
        answer(runtime, x=np.array([1]))
    assert answer(runtime, x=np.array([0]))["y"].tolist() == [b"fine"]


def test_only_the_outputs_asked_for_are_given_in_the_order_asked(tmp_path: Path) -> None:
    runtime = load(sum_and_difference(), tmp_path)
    inputs = {"a": np.full((1, 2), 3, np.float32), "b": np.ones((1, 2), np.float32)}
    assert list(runtime.infer(inputs, ("difference",))) == ["difference"]
    got = runtime.infer(inputs, ("difference", "sum"))
    assert [(name, array.tolist()) for name, array in got.items()] == [("difference", [[2, 2]]), ("sum", [[4, 4]])]


def test_outputs_not_asked_for_are_not_converted(tmp_path: Path) -> None:
    table = strings("table", b"fine", b"\xff")
    nodes = [node("Gather", ["table", "x"], ["text"]), node("Neg", ["x"], ["number"])]
    outputs = [tensor("text", "BYTES", ["n"]), tensor("number", "INT64", ["n"])]
    runtime = load(model(nodes, [tensor("x", "INT64", ["n"])], outputs, [table]), tmp_path)
    assert runtime.infer({"x": np.array([1])}, ("number",))["number"].tolist() == [-1]


def test_an_initializer_that_could_be_overridden_is_not_an_input(tmp_path: Path) -> None:
    inputs = [tensor("x", "FP32", ["batch", 2]), tensor("w", "FP32", [2])]
    proto = model(
        [node("Mul", ["x", "w"], ["y"])], inputs, [tensor("y", "FP32", ["batch", 2])], [weight("w", np.array([2, 3], np.float32))]
    )
    runtime = load(proto, tmp_path)
    assert [spec.name for spec in runtime.signature.inputs] == ["x"]
    assert answer(runtime, x=np.ones((1, 2), np.float32))["y"].tolist() == [[2, 3]]


@pytest.mark.parametrize("stride", ["aligned", "reversed", "unaligned", "read-only"])
def test_an_array_of_any_layout_is_computed_alike(stride: str, tmp_path: Path) -> None:
    runtime = load(mlp(), tmp_path)
    x = np.random.default_rng(1).random((4, 8)).astype(np.float32)
    laid = {
        "aligned": x,
        "reversed": np.ascontiguousarray(x[::-1])[::-1],
        "unaligned": np.frombuffer(b"-" + x.tobytes(), np.float32, offset=1).reshape(4, 8),
        "read-only": np.frombuffer(x.tobytes(), np.float32).reshape(4, 8),
    }[stride]
    assert answer(runtime, x=laid)["y"].tobytes() == answer(runtime, x=x)["y"].tobytes()


# Calls


def test_threads_may_call_at_once_and_each_gets_its_own_answer(tmp_path: Path) -> None:
    runtime = load(mlp(), tmp_path)
    inputs = [np.full((1 + index % 5, 8), index / 100, np.float32) for index in range(200)]
    expected = [runtime.infer({"x": x}, ("y",))["y"] for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda x: runtime.infer({"x": x}, ("y",))["y"], inputs))
    assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))


def test_an_answer_outlives_the_session_and_later_calls(tmp_path: Path) -> None:
    runtime = load(mlp(), tmp_path)
    y = answer(runtime, x=np.ones((2, 8), np.float32))["y"]
    kept = y.copy()
    for _ in range(50):
        answer(runtime, x=np.zeros((2, 8), np.float32))
    runtime.close()
    assert np.array_equal(y, kept)


def test_a_closed_model_says_so(tmp_path: Path) -> None:
    runtime = load(mlp(), tmp_path)
    runtime.close()
    with pytest.raises(InferenceError, match="closed"):
        runtime.infer({"x": np.ones((1, 8), np.float32)}, ("y",))


def test_an_index_out_of_range_is_the_callers_fault(tmp_path: Path) -> None:
    runtime = load(lookup(), tmp_path)
    with pytest.raises(InvalidInput) as caught:
        answer(runtime, index=np.array([7]))
    assert "Gather: indices element out of data bounds, idx=7 must be within the inclusive range [-5,4]" in str(caught.value)
    assert answer(runtime, index=np.array([4]))["y"].tolist() == [[8, 9]]


def test_shapes_that_do_not_go_together_are_the_callers_fault_where_it_could_choose_them(tmp_path: Path) -> None:
    inputs = [tensor("a", "FP32", ["batch", "n"]), tensor("b", "FP32", ["batch", "m"])]
    proto = model([node("Add", ["a", "b"], ["y"])], inputs, [tensor("y", "FP32", ["batch", "k"])])
    runtime = load(proto, tmp_path)
    with pytest.raises(InvalidInput) as caught:
        answer(runtime, a=np.ones((2, 3), np.float32), b=np.ones((2, 4), np.float32))
    assert str(caught.value) == (
        "inputs: the model cannot take these values: Add: Attempting to broadcast an axis by a dimension other than 1. 3 by 4"
    )


def test_a_failure_inside_the_model_is_the_models(tmp_path: Path) -> None:
    cast = model([node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)], [tensor("x", "BYTES", ["n"])], [tensor("y", "FP32", ["n"])])
    with pytest.raises(InferenceError) as caught:
        answer(load(cast, tmp_path), x=texts(b"no number"))
    assert str(caught.value).startswith("the model failed: Cast: ")
    assert caught.value.__cause__ is not None


def test_a_call_too_large_for_memory_fails_and_the_next_one_works(tmp_path: Path) -> None:
    fill = model([node("ConstantOfShape", ["x"], ["y"])], [tensor("x", "INT64", [2])], [tensor("y", "FP32", ["a", "b"])])
    runtime = load(fill, tmp_path)
    with pytest.raises((InferenceError, InvalidInput)) as caught:
        answer(runtime, x=np.array([1 << 30, 1 << 28]))
    assert "/" not in str(caught.value)
    assert answer(runtime, x=np.array([2, 1]))["y"].shape == (2, 1)


# Settings


def test_nothing_is_printed_whatever_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runtime = OnnxRuntime.load(write(lookup(), tmp_path), threads=2)
    with pytest.raises(InvalidInput):
        answer(runtime, index=np.array([99]))
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08:\x03abc")
    with pytest.raises(LoadError):
        OnnxRuntime.load(tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")


def test_a_provider_that_this_build_has_not_is_refused_with_those_it_has(tmp_path: Path) -> None:
    path = write(mlp(), tmp_path)
    with pytest.raises(LoadError) as caught:
        OnnxRuntime.load(path, providers=["ImaginaryExecutionProvider"])
    available = ", ".join(ort.get_available_providers())
    assert str(caught.value) == (
        f"this build of ONNX Runtime has no provider 'ImaginaryExecutionProvider': name one or more of {available}"
    )
    with pytest.raises(LoadError, match="was given no provider"):
        OnnxRuntime.load(path, providers=[])


# scikit-learn


@pytest.mark.parametrize("names", [[0, 1, 2], ["setosa", "virginica", "a b"]])
@pytest.mark.parametrize("zipmap", [True, False])
def test_scikit_learns_probabilities_are_a_tensor_with_and_without_zipmap(
    names: list[int | str], zipmap: bool, tmp_path: Path
) -> None:
    features = np.random.default_rng(0).random((60, 4)).astype(np.float32)
    labels = np.array(names)[np.arange(60) % 3]
    classifier = LogisticRegression().fit(features, labels)
    proto = to_onnx(classifier, features[:1], options={"zipmap": zipmap}, target_opset=18)
    runtime = load(proto, tmp_path)

    label, scores = runtime.signature.outputs
    assert runtime.signature.batched
    assert (label.datatype, tuple(label.shape)) == ("BYTES" if isinstance(names[0], str) else "INT64", (-1,))
    assert (scores.datatype, tuple(scores.shape)) == ("FP32", (-1, 3))
    got = answer(runtime, X=features)
    np.testing.assert_allclose(got[scores.name], classifier.predict_proba(features), atol=1e-5)
    predicted = [value.decode() if isinstance(value, bytes) else value for value in got[label.name].tolist()]
    assert predicted == classifier.predict(features).tolist()
    order = ", ".join(map(str, sorted(names)))
    assert [f"whose columns are the 3 classes {order}; " in note for note in runtime.notes] == [True] * zipmap


def test_a_binary_classifier_with_zipmap_has_two_columns(tmp_path: Path) -> None:
    features = np.random.default_rng(0).random((20, 2)).astype(np.float32)
    tree = DecisionTreeClassifier(random_state=0).fit(features, np.arange(20) % 2)
    runtime = load(to_onnx(tree, features[:1], target_opset=18), tmp_path)
    got = answer(runtime, X=features)["output_probability"]
    assert (got.dtype, got.tolist()) == (np.dtype(np.float32), tree.predict_proba(features).tolist())


def test_importing_the_models_package_does_not_import_onnxruntime() -> None:
    code = "import sys, models, models.loader; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
