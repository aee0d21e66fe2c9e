"""The load tests' graph is MobileNetV2's, in everything but its weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, shape_inference

from loadtests.mobilenet import CLASSES, SIZE, blocks, graph

#: As torchvision counts: 3,504,872, of which two are each normalised channel's, and folding makes of these two one.
PARAMETERS, NORMALISED = 3_504_872, 17_056


@pytest.fixture(scope="module")
def made() -> bytes:
    return graph()


def test_it_has_the_seventeen_blocks_of_the_paper() -> None:
    assert len(list(blocks())) == 17
    assert [block.gives for block in blocks() if not block.residual] == [16, 24, 32, 64, 96, 160, 320]


def test_it_has_as_many_parameters_as_torchvisions(made: bytes) -> None:
    weights = [numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(made).graph.initializer]
    assert sum(weight.size for weight in weights if weight.ndim) == PARAMETERS - NORMALISED


def test_an_image_takes_three_hundred_million_multiplications(made: bytes) -> None:
    model = shape_inference.infer_shapes(onnx.load_from_string(made)).graph
    weights = {tensor.name: list(tensor.dims) for tensor in model.initializer}
    shapes = {
        value.name: [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim] for value in (*model.value_info, *model.output)
    }
    products = 0
    for node in model.node:
        if node.op_type in ("Conv", "Gemm"):
            products += int(np.prod(weights[node.input[1]])) * int(np.prod(shapes[node.output[0]][2:]))
    assert products == 300_774_272  # as torchvision counts, 0.301 G


def test_it_narrows_224_pixels_to_7(made: bytes) -> None:
    model = shape_inference.infer_shapes(onnx.load_from_string(made)).graph
    sides = [value.type.tensor_type.shape.dim[2].dim_value for value in model.value_info if value.name.startswith("conv")]
    assert sorted(set(sides), reverse=True) == [112, 56, 28, 14, 7]


def test_it_is_the_same_each_time(made: bytes) -> None:
    assert graph() == made


def test_it_runs_and_tells_images_apart(made: bytes) -> None:
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(1).standard_normal((2, 3, SIZE, SIZE), np.float32)
    scores: npt.NDArray[np.float32] = session.run(["logits"], {"input": images})[0]
    assert scores.shape == (2, CLASSES)
    assert np.isfinite(scores).all()
    assert not np.allclose(scores[0], scores[1])
