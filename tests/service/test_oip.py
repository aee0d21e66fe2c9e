"""Requests of the Open Inference Protocol are taken whole or refused with the place; answers are valid JSON."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models import Array, InferenceError, InvalidInput, Signature, TensorSpec
from models.errors import Problem
from models.tensor import DTYPES
from models.vision.declaration import Image
from models.vision.recipe import recipe
from service.errors import BadRequest, NotFinite, TensorTooLarge, TooManyRows
from service.protocol.infer import Encoded
from service.protocol.oip import COSTLY, decode, encode
from service.protocol.pictures import Upload

SUM = Signature((TensorSpec("x", "FP32", [-1, 2]),), (TensorSpec("y", "FP64", [-1]), TensorSpec("z", "INT64", [-1])))
TWO = Signature((TensorSpec("a", "INT64", [-1]), TensorSpec("a.b", "BYTES", [-1])), (TensorSpec("y", "BYTES", [-1]),))
HALF = Signature((TensorSpec("x", "FP16", [-1]),), (TensorSpec("y", "FP16", [-1]),))
WIDE = Signature((TensorSpec("x", "FP64", [-1], widens=True),), (TensorSpec("y", "FP64", [-1]),))
SCORES = Signature((TensorSpec("x", "FP32", [-1, 2]),), (TensorSpec("scores", "FP32", [-1, 3]),))
X = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}


def body(**members: object) -> bytes:
    return json.dumps({"inputs": [X], **members}).encode()


def tensor(**members: object) -> bytes:
    """A request whose input is X with these members; None leaves one out."""
    merged = {key: value for key, value in {**X, **members}.items() if value is not None}
    return json.dumps({"inputs": [merged]}).encode()


def problem(request: bytes, signature: Signature = SUM, header_length: str | None = None) -> Problem:
    with pytest.raises((BadRequest, InvalidInput)) as caught:
        decode(request, signature, header_length)
    error = caught.value
    found = error.problems if isinstance(error, InvalidInput) else error.details if isinstance(error, BadRequest) else ()
    assert len(found) == 1, error
    return found[0]


def answer(request: bytes, outputs: dict[str, Any], signature: Signature = SUM, upload: Upload | None = None) -> Encoded:
    arrays = {name: value if isinstance(value, np.ndarray) else np.array(value) for name, value in outputs.items()}
    return encode(decode(request, signature, upload=upload), arrays, "m", "3")


def tensors_of(encoded: Encoded) -> list[dict[str, Any]]:
    outputs: list[dict[str, Any]] = json.loads(encoded.body)["outputs"]
    return outputs


# -- requests ------------------------------------------------------------------------------------------------------------


def test_a_request_is_its_tensors_rows_and_wishes() -> None:
    infer = decode(body(id="42", parameters={"timeout": 1500, "priority": 2}, outputs=[{"name": "z"}, {"name": "y"}]), SUM)
    assert infer.inputs["x"].tolist() == [[1.0, 2.0]]
    assert (infer.rows, infer.outputs, infer.id, infer.timeout_s, infer.priority) == (1, ("z", "y"), "42", 0.0015, 2)


def test_what_is_left_out_has_its_default() -> None:
    infer = decode(body(), SUM)
    assert (infer.outputs, infer.id, infer.timeout_s, infer.priority) == (("y", "z"), None, None, 0)


def test_null_is_as_good_as_left_out() -> None:
    infer = decode(body(id=None, parameters=None, outputs=None), SUM)
    assert (infer.outputs, infer.id) == (("y", "z"), None)


def test_a_timeout_of_0_is_none() -> None:
    assert decode(body(parameters={"timeout": 0}), SUM).timeout_s is None


def test_other_parameters_and_members_are_ignored() -> None:
    parameters = {"sequence_id": 7, "mine": {"deep": [1, None]}}
    assert decode(body(parameters=parameters, model_name="m", outputs=[{"name": "y", "parameters": parameters}]), SUM).rows == 1


def test_nested_data_is_flat_data() -> None:
    one, other = decode(tensor(data=[[1, 2]]), SUM), decode(tensor(data=[1, 2]), SUM)
    assert one.inputs["x"].tolist() == other.inputs["x"].tolist()


def test_null_is_a_missing_value_where_the_model_takes_nan_for_one() -> None:
    lacking = Signature((TensorSpec("x", "FP64", [-1, 2], widens=True, missing=True),), WIDE.outputs)
    for datatype in ("FP32", "FP64"):
        for data in ([None, 1.5], [[None, 1.5]]):
            array = decode(tensor(datatype=datatype, data=data), lacking).inputs["x"]
            assert (array.dtype, array.tolist()[0][1], np.isnan(array[0, 0])) == (DTYPES[datatype], 1.5, True)
    assert problem(tensor(datatype="INT32", data=[None, 1]), lacking).expected.startswith("an integer")
    assert "non_finite" in problem(tensor(data=[None, 1])).problem


def test_a_model_that_widens_takes_narrower_datatypes() -> None:
    assert decode(tensor(shape=[2]), WIDE).inputs["x"].dtype == np.float32


@pytest.mark.parametrize(
    ("request_body", "path"),
    [
        (tensor(name="w"), "inputs[0].name"),
        (tensor(datatype="FP33"), "inputs[0].datatype"),
        (tensor(datatype="FP64"), "inputs[0].datatype"),
        (tensor(shape=[1, 3]), "inputs[0].data"),
        (tensor(shape=[2]), "inputs[0].shape"),
        (tensor(shape=[2, 1]), "inputs[0].shape"),
        (tensor(shape=[-1, 2]), "inputs[0].shape[0]"),
        (tensor(shape=[2**63, 2]), "inputs[0].shape[0]"),
        (tensor(shape=["1", 2]), "inputs[0].shape[0]"),
        (tensor(shape=[1.0, 2]), "inputs[0].shape[0]"),
        (tensor(shape=[0, 2], data=[]), "inputs"),
        (tensor(shape=None), "inputs[0]"),
        (tensor(name=None), "inputs[0]"),
        (tensor(name=3), "inputs[0].name"),
        (tensor(datatype=3), "inputs[0].datatype"),
        (tensor(data=None), "inputs[0].data"),
        (tensor(data=[1, None]), "inputs[0].data[1]"),
        (tensor(data=[True, 1]), "inputs[0].data[0]"),
        (tensor(data=["1", 1]), "inputs[0].data[0]"),
        (tensor(data=[1, 1e39]), "inputs[0].data[1]"),
        (tensor(data=["NaN", 1]), "inputs[0].data[0]"),
        (tensor(data=[[1], [2]]), "inputs[0].data"),
        (tensor(data=7), "inputs[0].data"),
        (tensor(data={}), "inputs[0].data"),
        (tensor(parameters=[]), "inputs[0].parameters"),
        (tensor(parameters={"binary_data_size": 8}), "inputs[0]"),
        (tensor(parameters={"binary_data_size": "8"}), "inputs[0].parameters.binary_data_size"),
        (tensor(parameters={"binary_data_size": -8}, data=None), "inputs[0].parameters.binary_data_size"),
        (tensor(parameters={"binary_data_size": 8}, data=None), "inputs[0].parameters.binary_data_size"),
        (body(inputs=[X, X]), "inputs[1].name"),
        (body(inputs=[]), "inputs"),
        (body(inputs={}), "inputs"),
        (body(inputs=[[]]), "inputs[0]"),
        (b"{}", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b"3", "body"),
        (body(id=3), "id"),
        (body(outputs={}), "outputs"),
        (body(outputs=[{}]), "outputs[0]"),
        (body(outputs=[{"name": "w"}]), "outputs[0].name"),
        (body(outputs=[{"name": "y"}, {"name": "y"}]), "outputs[1].name"),
        (body(outputs=[{"name": "y", "parameters": {"binary_data": 1}}]), "outputs[0].parameters.binary_data"),
        (body(outputs=[{"name": "y", "parameters": {"classification": -1}}]), "outputs[0].parameters.classification"),
        (body(parameters=[]), "parameters"),
        (body(parameters={"timeout": "1"}), "parameters.timeout"),
        (body(parameters={"timeout": -1}), "parameters.timeout"),
        (body(parameters={"timeout": 10**400}), "parameters.timeout"),
        (body(parameters={"priority": 1.5}), "parameters.priority"),
        (body(parameters={"priority": True}), "parameters.priority"),
        (body(parameters={"binary_data_output": "yes"}), "parameters.binary_data_output"),
        (body(parameters={"non_finite": "null"}), "parameters.non_finite"),
    ],
)
def test_each_mistake_is_told_with_its_place(request_body: bytes, path: str) -> None:
    assert problem(request_body).path == path


def test_a_problem_says_what_was_expected_and_what_came() -> None:
    assert problem(tensor(shape=[2])) == Problem("inputs[0].shape", "the shape does not fit the model", "[-1, 2]", "[2]")
    assert problem(body(id=3)) == Problem("id", "not what the protocol has here", "str | null", "int")


def test_an_input_is_counted_even_where_its_name_begins_with_anothers() -> None:
    inputs = [
        {"name": "a", "shape": [1], "datatype": "INT64", "data": [1]},
        {"name": "a.b", "shape": [2], "datatype": "BYTES", "data": ["p", "q"]},
    ]
    assert problem(json.dumps({"inputs": inputs}).encode(), TWO).path == "inputs[1].shape"
    assert problem(json.dumps({"inputs": inputs[:1]}).encode(), TWO).expected == "a.b"


def test_a_long_name_is_repeated_in_part_only() -> None:
    assert len(str(problem(tensor(name="w" * 100_000)))) < 300


@pytest.mark.parametrize(
    ("request_body", "sentence"),
    [
        (b"", "The body is empty"),
        (b" \n", "The body is empty"),
        (b"{", "not JSON: Input data was truncated"),
        (b'{"inputs": [}', r"not JSON: invalid character \(byte 12\)"),
        (b'{"inputs": []} x', "Inference-Header-Content-Length says where binary data begins"),
        (b'{"id": "\xff"}', "not UTF-8"),
        (b'{"id": "\\ud800"}', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"inputs": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deep"),
        (b'{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deep"),
        (b'{"x": ' * 200_000 + b"1" + b"}" * 200_000, "nested too deep"),
        (tensor(data="DATA").replace(b'"DATA"', b"[" * 200_000 + b"]" * 200_000), "nested too deep"),
        (tensor(data=[1, float("nan")]), "has no NaN or Infinity"),
        (tensor(data=[1, float("inf")]), "has no NaN or Infinity"),
        (tensor(data=[1, -float("inf")]), "has no NaN or Infinity"),
    ],
)
def test_what_is_not_json_is_refused_with_the_reason(request_body: bytes, sentence: str) -> None:
    with pytest.raises(BadRequest, match=sentence):
        decode(request_body, SUM)


def test_a_half_float_is_only_binary() -> None:
    sent = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP16", "data": [1]}]}).encode()
    assert problem(sent, HALF).problem == "JSON has no FP16"
    head = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP16", "parameters": {"binary_data_size": 2}}]}
    with pytest.raises(BadRequest, match=r"Output y is FP16.*ask for it in binary"):
        decode(binary(head, b"\x00\x3c")[0], HALF, binary(head, b"\x00\x3c")[1])
    asked = binary({**head, "parameters": {"binary_data_output": True}}, b"\x00\x3c")
    assert decode(asked[0], HALF, asked[1]).inputs["x"].tolist() == [1.0]


def test_spelled_out_infinity_is_taken_on_request() -> None:
    sent = body(inputs=[{**X, "data": ["NaN", "-Infinity"]}], parameters={"non_finite": "string"})
    assert str(decode(sent, SUM).inputs["x"].tolist()) == "[[nan, -inf]]"


@given(st.binary(), st.none() | st.text(max_size=4) | st.integers(-1, 20).map(str))
def test_arbitrary_bytes_are_refused_and_no_more(sent: bytes, header_length: str | None) -> None:
    with suppress(BadRequest, InvalidInput):
        decode(sent, SUM, header_length)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["x", "FP32", "y", "BYTES"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def member(value: object) -> st.SearchStrategy[Any]:
    return st.just(value) | st.just(value) | JSON


@given(
    st.fixed_dictionaries(
        {
            "inputs": st.lists(
                st.fixed_dictionaries(
                    {
                        "name": member("x"),
                        "shape": member([1, 2]) | st.lists(st.integers(), max_size=3),
                        "datatype": member("FP32") | st.sampled_from(sorted(DTYPES)),
                    },
                    optional={"data": member([1, 2]), "parameters": member({"binary_data_size": 8})},
                ),
                max_size=2,
            )
            | JSON
        },
        optional={
            "id": member("1"),
            "outputs": member([{"name": "y"}, {"name": "z", "parameters": {"classification": 1}}]),
            "parameters": st.dictionaries(
                st.sampled_from(["timeout", "priority", "binary_data_output", "non_finite"]), JSON | st.integers(0)
            )
            | JSON,
        },
    )
)
def test_a_request_however_odd_is_taken_or_refused(sent: object) -> None:
    with suppress(BadRequest, InvalidInput, TooManyRows, TensorTooLarge):
        decode(json.dumps(sent).encode(), SUM)


# -- binary requests -----------------------------------------------------------------------------------------------------


def binary(head: object, *parts: bytes) -> tuple[bytes, str]:
    text = json.dumps(head).encode()
    return text + b"".join(parts), str(len(text))


def by_size(**members: object) -> dict[str, object]:
    return {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}, **members}


@st.composite
def binary_requests(draw: st.DrawFn) -> tuple[Signature, bytes, str, list[Array]]:
    """A request with a few inputs of any datatype, each in JSON or binary, and the arrays that it says."""
    specs, heads, parts, said = [], [], [], []
    for index in range(draw(st.integers(1, 3))):
        datatype = draw(st.sampled_from(sorted(DTYPES)))
        shape = [2, draw(st.integers(0, 3))]
        count = shape[0] * shape[1]
        raw = draw(st.lists(st.binary(max_size=9), min_size=count, max_size=count))
        if datatype == "BYTES":
            array = np.array(raw, object).reshape(shape)
            data = b"".join(struct.pack("<I", len(element)) + element for element in raw)
        else:
            flat = draw(arrays.arrays(np.uint8, count * DTYPES[datatype].itemsize)) & (1 if datatype == "BOOL" else 255)
            data = flat.tobytes()
            array = np.frombuffer(data, DTYPES[datatype]).reshape(shape) if count else np.empty(shape, DTYPES[datatype])
        name = f"x{index}"
        head: dict[str, object] = {"name": name, "shape": shape, "datatype": datatype}
        if datatype[:3] in ("INT", "UIN") and draw(st.booleans()):
            head["data"] = array.tolist()
        else:
            head["parameters"] = {"binary_data_size": len(data)}
            parts.append(data)
        specs.append(TensorSpec(name, datatype, [-1, -1]))
        heads.append(head)
        said.append(array)
    sent, length = binary({"inputs": heads}, *parts)
    return Signature(tuple(specs), (TensorSpec("y", "FP64", [-1]),)), sent, length, said


@given(binary_requests())
def test_tensors_lie_behind_the_json_in_the_order_declared(request_: tuple[Signature, bytes, str, list[Array]]) -> None:
    signature, sent, length, said = request_
    infer = decode(sent, signature, length)
    assert infer.rows == 2
    for array, other in zip(infer.inputs.values(), said, strict=True):
        assert (array.dtype, array.shape) == (other.dtype, other.shape)
        assert array.tolist() == other.tolist() if array.dtype == object else array.tobytes() == other.tobytes()


def test_a_header_of_the_whole_body_is_plain_json() -> None:
    assert decode(body(), SUM, str(len(body()))).rows == 1


@pytest.mark.parametrize("length", ["-1", "+5", " 5", "5.0", "five", "", "1_0", "٣", "9" * 30, "1000000"])
def test_a_header_that_is_no_length_within_the_body_is_refused(length: str) -> None:
    sent, _ = binary({"inputs": [by_size()]}, bytes(8))
    found = problem(sent, SUM, length)
    assert (found.path, found.expected) == ("Inference-Header-Content-Length", f"0 to {len(sent)}")


@pytest.mark.parametrize("shift", [-5, 5])
def test_a_header_that_cuts_the_json_elsewhere_is_refused(shift: int) -> None:
    sent, length = binary({"inputs": [by_size()]}, bytes(8))
    with pytest.raises(BadRequest, match="not JSON"):
        decode(sent, SUM, str(int(length) + shift))


def test_bytes_left_over_are_counted() -> None:
    sent, length = binary({"inputs": [by_size()]}, bytes(11))
    found = problem(sent, SUM, length)
    assert (found.path, found.expected, found.got) == ("inputs", "8 bytes of binary data", "11")


def test_bytes_missing_are_counted() -> None:
    sent, length = binary({"inputs": [by_size()]}, bytes(7))
    found = problem(sent, SUM, length)
    assert (found.path, found.expected, found.got) == ("inputs[0].parameters.binary_data_size", "8 bytes", "7 bytes")


def test_a_size_that_is_not_the_shapes_is_refused() -> None:
    sent, length = binary({"inputs": [by_size(shape=[1, 3])]}, bytes(8))
    assert problem(sent, SUM, length).expected == "12 for FP32 [1, 3]"


@pytest.mark.parametrize(("told", "place"), [({"datatype": "BYTES"}, "datatype"), ({"shape": [5000, 1]}, "shape")])
def test_what_is_told_of_long_data_is_held_against_the_model_before_any_is_read(told: dict[str, object], place: str) -> None:
    nonsense = b"\xff" * COSTLY
    sent, length = binary({"inputs": [by_size(**told, parameters={"binary_data_size": COSTLY})]}, nonsense)
    assert problem(sent, SUM, length).path == f"inputs[0].{place}"
    assert problem(body(inputs=[X | told | {"data": ["no number"] * (COSTLY // 10)}])).path == f"inputs[0].{place}"


def test_a_raw_body_is_the_only_input_and_gets_a_binary_answer() -> None:
    infer = decode(np.array([1, 2, 3, 4], np.float32).tobytes(), SUM, "0")
    assert (infer.inputs["x"].tolist(), infer.rows) == ([[1.0, 2.0], [3.0, 4.0]], 2)
    encoded = encode(infer, {"y": np.array([3.0, 7.0]), "z": np.array([1, 2])}, "m", "1")
    assert encoded.content_type == b"application/octet-stream"
    assert encoded.body.endswith(struct.pack("<2d2q", 3, 7, 1, 2))


def test_a_raw_body_is_refused_where_it_cannot_be_the_input() -> None:
    with pytest.raises(BadRequest, match="this one has 2"):
        decode(bytes(8), TWO, "0")
    assert problem(bytes(7), SUM, "0").expected == "a multiple of 8 bytes"
    assert problem(b"", SUM, "0").path == "inputs"


# -- answers -------------------------------------------------------------------------------------------------------------


def test_an_answer_is_the_protocols_json() -> None:
    encoded = answer(body(id='"\u2028'), {"y": [[0.1, 2.0]], "z": [1]})
    assert encoded == Encoded(encoded.body, b"application/json", ())
    assert json.loads(encoded.body) == {
        "model_name": "m",
        "model_version": "3",
        "id": '"\u2028',
        "outputs": [
            {"name": "y", "datatype": "FP64", "shape": [1, 2], "data": [0.1, 2.0]},
            {"name": "z", "datatype": "INT64", "shape": [1], "data": [1]},
        ],
    }


def test_no_id_is_made_up() -> None:
    assert "id" not in json.loads(answer(body(), {"y": [1.0], "z": [1]}).body)


def test_outputs_come_in_the_order_asked() -> None:
    encoded = answer(body(outputs=[{"name": "z"}, {"name": "y"}]), {"y": [1.0], "z": [1]})
    assert [output["name"] for output in tensors_of(encoded)] == ["z", "y"]


@given(st.text(min_size=1), st.text(), st.text())
def test_names_are_escaped(name: str, model: str, version: str) -> None:
    signature = Signature((TensorSpec("x", "FP32", [-1, 2]),), (TensorSpec(name, "FP64", [-1]),))
    said = json.loads(encode(decode(body(), signature), {name: np.array([1.0])}, model, version).body)
    assert (said["model_name"], said["model_version"], said["outputs"][0]["name"]) == (model, version, name)


NUMBERS = st.sampled_from([dtype for datatype, dtype in DTYPES.items() if datatype not in ("BF16", "FP16", "BYTES")])


@given(arrays.arrays(NUMBERS, arrays.array_shapes(min_dims=0, min_side=0, max_side=4)))
def test_numbers_survive_the_way_through_json(array: Array) -> None:
    infer = decode(body(outputs=[{"name": "y"}]), SUM)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        with pytest.raises(NotFinite):
            encode(infer, {"y": array}, "m", "1")
        return
    (output,) = tensors_of(encode(infer, {"y": array}, "m", "1"))
    back = np.array(output["data"], array.dtype).reshape(output["shape"])
    assert (back.shape, back.tobytes()) == (array.shape, array.tobytes())


@given(arrays.arrays(st.sampled_from(list(DTYPES.values())[:-2]), arrays.array_shapes(min_dims=0, min_side=0, max_side=4)))
def test_numbers_survive_the_way_through_binary(array: Array) -> None:
    encoded = answer(body(parameters={"binary_data_output": True}, outputs=[{"name": "y"}]), {"y": array})
    ((header, length),) = encoded.headers
    (output,) = json.loads(encoded.body[: int(length)])["outputs"]
    assert header == b"inference-header-content-length"
    assert output["parameters"] == {"binary_data_size": array.nbytes}
    assert encoded.body[int(length) :] == array.tobytes()
    assert DTYPES[output["datatype"]] == array.dtype


def test_an_output_may_differ_from_what_the_request_asks_for_all() -> None:
    outputs = [{"name": "y", "parameters": {"binary_data": False}}, {"name": "z"}]
    encoded = answer(body(parameters={"binary_data_output": True}, outputs=outputs), {"y": [0.5], "z": [7]})
    length = int(encoded.headers[0][1])
    plain, raw = json.loads(encoded.body[:length])["outputs"]
    assert (plain["data"], raw["parameters"], encoded.body[length:]) == ([0.5], {"binary_data_size": 8}, struct.pack("<q", 7))


def test_bytes_are_strings_in_json_and_prefixed_in_binary() -> None:
    inputs = [
        {"name": "a", "shape": [2], "datatype": "INT64", "data": [1, 2]},
        {"name": "a.b", "shape": [2], "datatype": "BYTES", "data": ["é", '"']},
    ]
    request = {"inputs": inputs}
    said = np.array([b"\xc3\xa9", b'"'], object)
    infer = decode(json.dumps(request).encode(), TWO)
    assert infer.inputs["a.b"].tolist() == said.tolist()
    assert tensors_of(encode(infer, {"y": said}, "m", "1"))[0]["data"] == ["é", '"']
    with pytest.raises(BadRequest, match=r"not UTF-8.*binary"):
        encode(infer, {"y": np.array([b"\xff"], object)}, "m", "1")
    infer = decode(json.dumps({**request, "parameters": {"binary_data_output": True}}).encode(), TWO)
    encoded = encode(infer, {"y": np.array([b"\xff", b""], object)}, "m", "1")
    assert encoded.body[int(encoded.headers[0][1]) :] == b"\x01\x00\x00\x00\xff\x00\x00\x00\x00"


def test_nan_is_an_error_spelled_out_or_binary() -> None:
    outputs = {"y": [1.0, np.nan, -np.inf], "z": [1]}
    with pytest.raises(NotFinite, match="Output y"):
        answer(body(), outputs)
    assert tensors_of(answer(body(parameters={"non_finite": "string"}), outputs))[0]["data"] == [1.0, "NaN", "-Infinity"]
    assert answer(body(parameters={"binary_data_output": True}), outputs).headers


def test_classification_gives_the_best_classes_of_each_row_highest_first() -> None:
    asked = body(outputs=[{"name": "scores", "parameters": {"classification": 2}}])
    scores = {"scores": np.array([[0.1, 0.7, 0.2], [0.5, 0.0, 0.5]], np.float32)}
    (output,) = tensors_of(answer(asked, scores, SCORES))
    assert (output["datatype"], output["shape"], output["data"]) == ("BYTES", [2, 2], ["0.7:1", "0.2:2", "0.5:0", "0.5:2"])


def test_classification_names_the_classes_of_the_output_that_has_labels() -> None:
    outputs = (TensorSpec("scores", "FP32", [-1, -1]), TensorSpec("other", "FP32", [-1, -1]))
    signature = Signature((TensorSpec("x", "FP32", [-1, 2, 2]),), outputs)
    upload = Upload(recipe(Image(preset="unit", output="scores"), signature, ["cat", "dog"]))
    sent = {
        "inputs": [{"name": "x", "shape": [1, 2, 2], "datatype": "FP32", "data": [0, 0, 0, 0]}],
        "outputs": [{"name": spec.name, "parameters": {"classification": 2}} for spec in outputs],
    }
    values = np.array([[0.1, 0.7, 0.2]], np.float32)
    told = tensors_of(answer(json.dumps(sent).encode(), {"scores": values, "other": values}, signature, upload))
    assert [output["data"] for output in told] == [["0.7:1:dog", "0.2:2"], ["0.7:1", "0.2:2"]]


def test_classification_asks_for_no_more_classes_than_there_are() -> None:
    asked = body(outputs=[{"name": "scores", "parameters": {"classification": 2**40, "binary_data": True}}])
    encoded = answer(asked, {"scores": np.array([[np.nan, 1, 2]], np.float32)}, SCORES)
    assert encoded.body[int(encoded.headers[0][1]) :] == b"".join(
        struct.pack("<I", len(text)) + text for text in (b"2.0:2", b"1.0:1", b"nan:0")
    )
    empty = answer(asked, {"scores": np.empty((2, 0), np.float32)}, SCORES)
    assert json.loads(empty.body[: int(empty.headers[0][1])])["outputs"][0]["shape"] == [2, 0]


def test_a_model_that_does_not_batch_is_classified_as_one_row() -> None:
    signature = Signature((TensorSpec("x", "FP32", [1, 2]),), (TensorSpec("scores", "UINT8", [2, 2]),), batched=False)
    asked = body(outputs=[{"name": "scores", "parameters": {"classification": 1}}])
    (output,) = tensors_of(answer(asked, {"scores": np.array([[0, 255], [7, 3]], np.uint8)}, signature))
    assert (output["shape"], output["data"]) == ([1], ["255:1"])


def test_bytes_cannot_be_ranked() -> None:
    inputs = [
        {"name": "a", "shape": [1], "datatype": "INT64", "data": [1]},
        {"name": "a.b", "shape": [1], "datatype": "BYTES", "data": [""]},
    ]
    outputs = [{"name": "y", "parameters": {"classification": 1}}]
    sent = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    assert problem(sent, TWO).path == "outputs[0].parameters.classification"


def test_what_no_datatype_is_counts_as_the_models_fault() -> None:
    with pytest.raises(InferenceError, match="complex128"):
        answer(body(), {"y": [1j], "z": [1]})


def test_another_protocols_request_is_not_answered() -> None:
    infer = decode(body(), SUM)
    foreign = type(infer)(infer.inputs, infer.rows, infer.outputs, form="rows")
    with pytest.raises(TypeError):
        encode(foreign, {"y": np.array([1.0]), "z": np.array([1])}, "m", "1")


def test_the_answer_is_what_orjson_reads_too() -> None:
    assert orjson.loads(answer(body(), {"y": [1e300], "z": [-1]}).body)["outputs"][0]["data"] == [1e300]
