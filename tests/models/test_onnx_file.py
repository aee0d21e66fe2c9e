"""ONNX files that are damaged, too new, or reach outside their folder are refused with a sentence."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_graphs import Dim, answer, load, mlp, model, node, tensor, weight, write, write_external

from models.errors import LoadError
from models.runtimes.onnx import OnnxRuntime
from models.runtimes.onnx_file import read


def _refusal(path: Path) -> str:
    with pytest.raises(LoadError) as caught:
        OnnxRuntime.load(path)
    sentence = str(caught.value)
    assert str(path.parent) not in sentence
    assert "\n" not in sentence
    assert len(sentence) < 400
    return sentence


@pytest.mark.parametrize("content", [b"", b"hello, this is no model", b"\x00" * 64, b"\x08\x08", bytes(range(256))])
def test_what_is_no_onnx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert "not an ONNX file" in _refusal(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "No such file" in _refusal(tmp_path / "model.onnx")


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = write(mlp(), tmp_path / "elsewhere")
    (tmp_path / "model.onnx").symlink_to(target)
    assert "symbolic link" in _refusal(tmp_path / "model.onnx")


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = mlp(2, 2, 1).SerializeToString()
    path = tmp_path / "model.onnx"
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        try:
            OnnxRuntime.load(path)
        except LoadError:
            continue
        # What was cut off is then the declared opset's end alone, which ONNX Runtime may do without.
        assert end > len(whole) - 8


def test_a_damaged_file_is_refused_or_served_but_never_kills_the_process(tmp_path: Path) -> None:
    whole = mlp(2, 2, 1).SerializeToString()
    path = tmp_path / "model.onnx"
    dice = random.Random(7)
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(damaged))
            kind = dice.randrange(3)
            if kind == 0:
                damaged[at] = dice.randrange(256)
            elif kind == 1:
                del damaged[at : at + dice.randint(1, 8)]
            else:
                damaged[at:at] = dice.randbytes(dice.randint(1, 8))
        path.write_bytes(damaged)
        try:
            runtime = OnnxRuntime.load(path)
        except LoadError:
            refused += 1
            continue
        runtime.close()
    assert refused > 200


def test_an_opset_that_is_too_new_says_which_and_what_to_do(tmp_path: Path) -> None:
    sentence = _refusal(write(model(*_relu(), opset=99), tmp_path))
    assert "opset 99 of ai.onnx" in sentence
    assert "upgrade onnxruntime, or export the model with opset" in sentence


def test_an_ir_version_that_is_too_new_says_which_and_what_to_do(tmp_path: Path) -> None:
    sentence = _refusal(write(model(*_relu(), ir=99), tmp_path))
    assert "IR version is 99" in sentence
    assert "upgrade onnxruntime, or save the model with ir_version=" in sentence


def _relu(op: str = "Relu", domain: str = "") -> tuple[list[Any], list[Any], list[Any]]:
    shape: list[Dim] = ["batch", 2]
    return [node(op, ["x"], ["y"], domain=domain)], [tensor("x", "FP32", shape)], [tensor("y", "FP32", shape)]


def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    assert "uses the operator Blend" in _refusal(write(model(*_relu("Blend")), tmp_path))
    custom = model(*_relu("Blend", "com.acme"))
    custom.opset_import.append(helper.make_opsetid("com.acme", 1))
    assert "uses the operator com.acme:Blend" in _refusal(write(custom, tmp_path))


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None), r"output 'y' is seq\(tensor\(float\)\)"),
        (helper.make_tensor_value_info("y", TensorProto.FLOAT8E4M3FN, ["n"]), "output 'y' holds float8e4m3fn numbers"),
    ],
)
def test_outputs_that_are_no_tensors_are_refused_with_the_fix(output: Any, said: str, tmp_path: Path) -> None:
    op = node("SequenceConstruct", ["x"], ["y"]) if "sequence" in str(output) else node("Cast", ["x"], ["y"], to=17)
    with pytest.raises(LoadError, match=said):
        load(model([op], [tensor("x", "FP32", ["n"])], [output]), tmp_path)


def test_an_optional_input_is_refused_with_the_fix(tmp_path: Path) -> None:
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    nodes = [node("OptionalHasElement", ["x"], ["y"])]
    with pytest.raises(LoadError, match=r"input 'x' is optional\(tensor\(float\)\), and only plain tensors can be served"):
        load(model(nodes, [helper.make_value_info("x", kind)], [tensor("y", "BOOL", [])]), tmp_path)


def test_an_input_of_unknown_rank_is_refused_but_a_scalar_is_not(tmp_path: Path) -> None:
    def of(shape: list[Dim] | None) -> Any:
        return model([node("Neg", ["x"], ["y"])], [tensor("x", "FP32", shape)], [tensor("y", "FP32", shape)])

    assert "input 'x' has no shape in the graph" in _refusal(write(of(None), tmp_path))
    assert tuple(load(of([]), tmp_path).signature.inputs[0].shape) == ()


@pytest.mark.parametrize(
    ("shapes", "elements"),
    [
        ([["batch", 3, 224, 224]], 3 * 224 * 224),
        ([[1, 8]], 8),
        ([["batch"]], 1),
        ([[]], 1),
        ([["batch", 4], ["batch", 2, 3]], 10),
        ([["batch", "length"]], None),
        ([["batch", 3, None, 224]], None),
        ([["batch", 3, -1, 224]], None),
        ([["batch", 0]], None),
        ([["batch", 4], ["batch", "length"]], None),
        ([None], None),
    ],
)
def test_the_size_of_a_row_is_known_where_no_caller_chooses_it(
    shapes: list[list[Dim] | None], elements: int | None, tmp_path: Path
) -> None:
    inputs = [tensor(f"x{index}", "FP32", shape) for index, shape in enumerate(shapes)]
    nodes = [node("Neg", [each.name], [f"y{index}"]) for index, each in enumerate(inputs)]
    outputs = [tensor(f"y{index}", "FP32", shape) for index, shape in enumerate(shapes)]
    assert read(write(model(nodes, inputs, outputs), tmp_path)).row_elements == elements


# Weights beside the model


def test_weights_in_a_file_beside_the_model_are_read(tmp_path: Path) -> None:
    x = np.ones((1, 8), np.float32)
    expected = answer(load(mlp(), tmp_path), x=x)["y"]
    assert np.array_equal(answer(OnnxRuntime.load(write_external(mlp(), tmp_path)), x=x)["y"], expected)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    path = write_external(mlp(), tmp_path)
    (tmp_path / "weights.bin").unlink()
    assert "the data file 'weights.bin', which holds weights of the model, is missing" in _refusal(path)


def test_weights_cut_short_are_refused(tmp_path: Path) -> None:
    path = write_external(mlp(), tmp_path)
    (tmp_path / "weights.bin").write_bytes(b"short")
    assert "data file is cut short or does not belong to it" in _refusal(path)


def test_weights_behind_a_symbolic_link_are_refused_even_within_the_folder(tmp_path: Path) -> None:
    path = write_external(mlp(), tmp_path)
    (tmp_path / "weights.bin").rename(tmp_path / "moved.bin")
    (tmp_path / "weights.bin").symlink_to(tmp_path / "moved.bin")
    assert "the data file 'weights.bin' is a symbolic link" in _refusal(path)


def test_weights_in_a_linked_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "version").mkdir()
    (tmp_path / "version" / "data").symlink_to(tmp_path / "outside")
    path = _pointing_to("data/weights.bin", tmp_path / "version")
    (tmp_path / "outside" / "weights.bin").write_bytes(b"\0" * 4096)
    assert "is a symbolic link" in _refusal(path)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "a/../../weights.bin", "..\\weights.bin"])
def test_weights_outside_the_folder_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "weights.bin").write_bytes(b"\0" * 4096)
    assert "outside its version's folder" in _refusal(_pointing_to(location, tmp_path / "1"))


def test_weights_at_an_address_in_memory_are_refused(tmp_path: Path) -> None:
    assert _refusal(_pointing_to("*/_ORT_MEM_ADDR_/*", tmp_path))


def test_weights_of_a_constant_inside_a_branch_are_checked_too(tmp_path: Path) -> None:
    constant = weight("c", np.ones(2, np.float32))
    _place_outside(constant, "../c.bin")
    branch = helper.make_graph([node("Constant", [], ["out"], value=constant)], "branch", [], [tensor("out", "FP32", [2])])
    nodes = [node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)]
    proto = model(nodes, [tensor("x", "BOOL", [])], [tensor("y", "FP32", [2])])
    assert "outside its version's folder" in _refusal(write(proto, tmp_path))


def _place_outside(tensor_proto: Any, location: str) -> None:
    tensor_proto.ClearField("raw_data")
    tensor_proto.data_location = TensorProto.EXTERNAL
    entry = tensor_proto.external_data.add()
    entry.key, entry.value = "location", location


def _pointing_to(location: str, folder: Path) -> Path:
    proto = mlp()
    _place_outside(proto.graph.initializer[0], location)
    return write(proto, folder)
