"""An ONNX classifier of handwritten digits, trained on the 1,797 8x8 images that scikit-learn carries.

The data is the test half of UCI's "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak (1998).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.zoo.trained import Metric, Report, Trained

SEED = 7
EPOCHS = 30
#: Of a weight.
DECIMALS = 6
HIDDEN = (128, 64)
# Old enough for any ONNX Runtime since 1.13.
OPSET, IR = 13, 8
MODEL_TOML = """\
# Handwritten digits, 8x8 grey images: "image" FP32 [-1, 1, 8, 8], 0 paper to 1 ink. labels.txt names the classes;
# examples/ has an image of each, of those that it was not trained on and gets right.

[batching]
max_rows = 64       # rows in one call; a row costs a few microseconds, so a full batch is still well under a millisecond
window_ms = 2.0     # how long the oldest request may wait for company

[runtime]
threads = 1         # the graph is too small to be worth a second thread

[image]
preset = "unit"             # 0 to 255 become 0 to 1: light ink on dark paper
size = 8
channels = "L"
resize = "letterbox"        # the whole digit, never a crop of it
interpolation = "bicubic"   # bilinear leaves no stroke sharp on so few pixels
background = [0, 0, 0]      # under what is transparent
output = "probabilities"
scores = "none"             # the graph ends in a softmax of its own
top_k = 3
"""
# Of an example's side in pixels: large enough to be looked at.
EXAMPLE_SIDE = 64

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Layers = list[tuple[Floats, Floats]]


def train(directory: Path, report: Report) -> Trained:
    """Writes the model into ``directory``. Raises ImportError without scikit-learn and onnx."""
    learn, held, learn_labels, held_labels = split()
    layers = fit(shifted(learn), np.tile(learn_labels, 5), report)
    version = directory / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(graph(layers))
    (directory / "model.toml").write_text(MODEL_TOML)
    (directory / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    right = predict(layers, held) == held_labels
    write_examples(directory / "examples", held[right], held_labels[right])
    accuracy = float(np.mean(right))
    return Trained(
        name="digits",
        summary="handwritten digits, an ONNX image classifier",
        versions=(1,),
        metrics=(Metric("accuracy", accuracy),),
        example={"image": [[[round(float(grey), 4) for grey in row] for row in held[0, 0]]]},
    )


def split() -> tuple[Floats, Floats, Labels, Labels]:
    """Images to learn from and images held out, [n, 1, 8, 8] of 0 to 1, and what each of them shows, [n]."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    learn, held, learn_labels, held_labels = train_test_split(images, labels, test_size=0.2, random_state=SEED, stratify=labels)
    return learn, held, learn_labels, held_labels


def write_examples(directory: Path, images: Floats, labels: Labels) -> None:
    """The first image of each digit as a PNG that is called by it."""
    directory.mkdir()
    for digit in range(10):
        picture(images[labels == digit][0, 0]).resize((EXAMPLE_SIDE, EXAMPLE_SIDE), Image.Resampling.NEAREST).save(
            directory / f"{digit}.png"
        )


def picture(grey: Floats) -> Image.Image:
    """An image of [height, width] values of 0 to 1."""
    return Image.fromarray(np.rint(grey * 255).astype(np.uint8))


def shifted(images: Floats) -> Floats:
    """The images, then each moved by one pixel up, down, left and right: five times as many, [5 n, 1, 8, 8]."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    corners = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    return np.concatenate([padded[:, :, top : top + 8, left : left + 8] for top, left in corners])


def fit(images: Floats, labels: Labels, report: Report) -> Layers:
    """Weights [in, out] and biases [out] of a multilayer perceptron, the same on every machine."""
    from sklearn.neural_network import MLPClassifier

    flat = images.reshape(len(images), -1).astype(np.float64)  # in which what processors differ in stays below DECIMALS
    network = MLPClassifier(HIDDEN, alpha=1e-3, batch_size=128, learning_rate_init=2e-3, random_state=SEED)
    for epoch in range(EPOCHS):
        network.partial_fit(flat, labels, classes=np.arange(10))
        report(f"epoch {epoch + 1} of {EPOCHS}", (epoch + 1) / EPOCHS)
    return [(_rounded(weight), _rounded(bias)) for weight, bias in zip(network.coefs_, network.intercepts_, strict=True)]


def _rounded(weights: npt.NDArray[np.float64]) -> Floats:
    return (np.round(weights, DECIMALS) + 0.0).astype(np.float32)  # -0.0 + 0.0 is 0.0


def predict(layers: Layers, images: Floats) -> Labels:
    """The classes, [n], as the exported graph computes them."""
    values = images.reshape(len(images), -1)
    for weight, bias in layers[:-1]:
        values = np.maximum(values @ weight + bias, 0.0)
    weight, bias = layers[-1]
    classes: Labels = np.argmax(values @ weight + bias, axis=1)
    return classes


def graph(layers: Layers) -> bytes:
    """The network as an ONNX model: image -> probabilities, label."""
    import onnx
    from onnx import helper, numpy_helper

    nodes = [helper.make_node("Flatten", ["image"], ["hidden_0"], axis=1)]
    weights = []
    for index, (weight, bias) in enumerate(layers):
        weights += [numpy_helper.from_array(weight, f"weight_{index}"), numpy_helper.from_array(bias, f"bias_{index}")]
        nodes.append(helper.make_node("Gemm", [f"hidden_{index}", f"weight_{index}", f"bias_{index}"], [f"sum_{index}"]))
        if index < len(layers) - 1:
            nodes.append(helper.make_node("Relu", [f"sum_{index}"], [f"hidden_{index + 1}"]))
    nodes += [
        helper.make_node("Softmax", [f"sum_{len(layers) - 1}"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    float32, int64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "digits",
            [helper.make_tensor_value_info("image", float32, ["rows", 1, 8, 8])],
            [
                helper.make_tensor_value_info("probabilities", float32, ["rows", 10]),
                helper.make_tensor_value_info("label", int64, ["rows"]),
            ],
            weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="tureen",
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
