"""What TensorFlow Serving's clients send is understood or refused exactly; what they get is what they are used to."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from models.errors import InferenceError, InvalidInput
from models.signature import Signature
from models.tensor import DTYPES, INTEGERS, Array, TensorSpec
from service.errors import BadRequest, NotFinite
from service.protocol.infer import Encoded, Infer
from service.protocol.tfserving import decode, encode, metadata, status

RECOMMENDER = Signature(
    (TensorSpec("user_id", "INT64", [-1]), TensorSpec("k", "INT64", [-1], optional=True, uniform=True)),
    (TensorSpec("items", "INT64", [-1, -1]), TensorSpec("scores", "FP32", [-1, -1])),
)
DENSE = Signature((TensorSpec("input", "FP64", [-1, 3], widens=True),), (TensorSpec("output", "FP64", [-1]),))
NAMED = Signature(
    (TensorSpec("input", "FP64", [-1, 3], widens=True, missing=True, feature_names=["city", "age", "income"]),),
    (TensorSpec("output", "FP64", [-1]),),
)
IMAGE = Signature((TensorSpec("image", "FP32", [-1, 2, -1]),), (TensorSpec("label", "INT64", [-1]),))
TEXT = Signature((TensorSpec("text", "BYTES", [-1]),), (TensorSpec("label", "BYTES", [-1]),))
PAIR = Signature((TensorSpec("a", "BYTES", [-1, 2]), TensorSpec("b", "BOOL", [-1])), (TensorSpec("y", "FP32", [-1]),))
WHOLE = Signature((TensorSpec("x", "FP32", [3]), TensorSpec("n", "INT32", [])), (TensorSpec("y", "FP32", []),), batched=False)


def rows(*instances: object) -> bytes:
    return json.dumps({"instances": instances}).encode()


def columns(inputs: object) -> bytes:
    return json.dumps({"inputs": inputs}).encode()


def refusal(body: bytes, signature: Signature) -> str:
    with pytest.raises((BadRequest, InvalidInput)) as raised:
        decode(body, signature)
    return str(raised.value)


def same(got: Mapping[str, Array], want: Mapping[str, Any], signature: Signature) -> bool:
    return got.keys() == want.keys() and all(
        got[name].dtype == signature.by_name[name].dtype and np.array_equal(got[name], np.asarray(want[name], got[name].dtype))
        for name in want
    )


# Requests


@pytest.mark.parametrize(
    ("signature", "body", "inputs", "count"),
    [
        (RECOMMENDER, rows({"user_id": 3, "k": 10}), {"user_id": [3], "k": [10]}, 1),
        (RECOMMENDER, rows({"user_id": 3}, {"user_id": 4}), {"user_id": [3, 4]}, 2),
        (RECOMMENDER, rows({"k": 5, "user_id": 3}, {"user_id": 4, "k": 5}), {"user_id": [3, 4], "k": [5, 5]}, 2),
        (RECOMMENDER, columns({"user_id": [3, 4], "k": [10, 10]}), {"user_id": [3, 4], "k": [10, 10]}, 2),
        (RECOMMENDER, columns({"user_id": [3]}), {"user_id": [3]}, 1),
        (DENSE, rows([1, 2.5, -3e2]), {"input": [[1, 2.5, -300]]}, 1),
        (DENSE, rows([1, 2, 3], [4, 5, 6]), {"input": [[1, 2, 3], [4, 5, 6]]}, 2),
        (DENSE, rows({"input": [1, 2, 3]}), {"input": [[1, 2, 3]]}, 1),
        (DENSE, rows({"input": [1, 2, 3]}, {"input": [4, 5, 6]}), {"input": [[1, 2, 3], [4, 5, 6]]}, 2),
        (DENSE, columns([[1, 2, 3]]), {"input": [[1, 2, 3]]}, 1),
        (DENSE, columns({"input": [[1, 2, 3]]}), {"input": [[1, 2, 3]]}, 1),
        (IMAGE, rows([[1], [2]], [[3], [4]]), {"image": [[[1], [2]], [[3], [4]]]}, 2),
        (TEXT, rows("a", "ü"), {"text": [b"a", "ü".encode()]}, 2),
        (TEXT, rows({"b64": "AP8="}, "a:b", {"b64": ""}), {"text": [b"\x00\xff", b"a:b", b""]}, 3),
        (TEXT, rows({"b64": "AP8="}), {"text": [b"\x00\xff"]}, 1),
        (TEXT, rows("a", {"b64": "AP8="}), {"text": [b"a", b"\x00\xff"]}, 2),
        (TEXT, rows({"text": {"b64": "AP8="}}, {"text": '{"b64": "AP8="}'}), {"text": [b"\x00\xff", b'{"b64": "AP8="}']}, 2),
        (TEXT, columns({"text": ["a", {"b64": "AP8="}]}), {"text": [b"a", b"\x00\xff"]}, 2),
        (PAIR, rows({"a": ["x", {"b64": "AA=="}], "b": True}), {"a": [[b"x", b"\x00"]], "b": [True]}, 1),
        (WHOLE, columns({"x": [1, 2, 3], "n": 4}), {"x": [1, 2, 3], "n": 4}, 1),
        (DENSE, b' { "instances" :\n [ [ 1 , 2 , 3 ] ] } ', {"input": [[1, 2, 3]]}, 1),
        (RECOMMENDER, b'{"instances" : [ {"user_id" : 3 } ] }', {"user_id": [3]}, 1),
        (RECOMMENDER, b'{"instances": [{"user\\u005fid": 3}]}', {"user_id": [3]}, 1),
    ],
)
def test_rows_and_columns_become_the_models_tensors(
    signature: Signature, body: bytes, inputs: Mapping[str, Any], count: int
) -> None:
    infer = decode(body, signature)
    assert same(infer.inputs, inputs, signature)
    assert (infer.rows, infer.outputs) == (count, signature.output_names)
    assert (infer.id, infer.timeout_s, infer.priority) == (None, None, 0)


@pytest.mark.parametrize(
    "body",
    [
        rows([None, 50, 0.3], [4, None, None]),
        rows({"input": [None, 50, 0.3]}, {"input": [4, None, None]}),
        columns([[None, 50, 0.3], [4, None, None]]),
        columns({"input": [[None, 50, 0.3], [4, None, None]]}),
    ],
)
def test_null_is_a_missing_value_where_the_model_takes_nan_for_one(body: bytes) -> None:
    nan = float("nan")
    np.testing.assert_array_equal(decode(body, NAMED).inputs["input"], [[nan, 50, 0.3], [4, nan, nan]])


def test_a_row_or_a_long_body_may_have_null_too() -> None:
    assert np.isnan(decode(rows([None, None, None]), NAMED).inputs["input"]).tolist() == [[True] * 3]
    many = decode(rows(*[[1.5, None, index] for index in range(2000)]), NAMED).inputs["input"]
    assert (many.shape, np.isnan(many).sum(axis=0).tolist()) == ((2000, 3), [0, 2000, 0])
    one = Signature((TensorSpec("x", "FP32", [-1], missing=True),), DENSE.outputs)
    assert decode(rows({"x": None}, {"x": 2}), one).inputs["x"].dtype == np.float32


def test_an_input_named_b64_is_an_input() -> None:
    signature = Signature((TensorSpec("b64", "BYTES", [-1]),), TEXT.outputs)
    assert decode(rows({"b64": "AA=="}), signature).inputs["b64"].tolist() == [b"AA=="]


def test_a_single_value_of_bytes_may_be_a_whole_input() -> None:
    signature = Signature((TensorSpec("text", "BYTES", []),), (TensorSpec("y", "FP32", []),), batched=False)
    assert decode(columns({"b64": "AA=="}), signature).inputs["text"].item() == b"\x00"
    assert decode(columns("a"), signature).inputs["text"].item() == b"a"


@pytest.mark.parametrize("name", ['"serving_default"', '""', "null"])
def test_the_only_signatures_name_may_be_given(name: str) -> None:
    assert decode(f'{{"signature_name": {name}, "instances": [[1, 2, 3]]}}'.encode(), DENSE).rows == 1


@st.composite
def _tensors(draw: st.DrawFn) -> tuple[Signature, dict[str, Array]]:
    count = draw(st.integers(1, 4))
    arrays: dict[str, Array] = {}
    for name in draw(st.lists(st.sampled_from(["a", "b:", 'c"', "ä"]), min_size=1, max_size=3, unique=True)):
        datatype = draw(st.sampled_from(sorted(INTEGERS | {"FP32", "FP64", "BOOL", "BYTES"})))
        shape = (count, *draw(npst.array_shapes(min_dims=0, max_dims=2, min_side=1, max_side=3)))
        if datatype == "BYTES":
            arrays[name] = draw(npst.arrays(object, shape, elements=st.binary(max_size=4) | st.just(b"[{:")))
        else:
            finite = {"allow_nan": False, "allow_infinity": False} if datatype.startswith("FP") else {}
            arrays[name] = draw(npst.arrays(DTYPES[datatype], shape, elements=finite or None))
    names = {dtype: name for name, dtype in DTYPES.items()}
    specs = tuple(TensorSpec(name, names[array.dtype], [-1, *array.shape[1:]]) for name, array in arrays.items())
    return Signature(specs, specs), arrays


@given(_tensors())
def test_what_is_answered_in_either_form_is_read_back_as_it_was(case: tuple[Signature, dict[str, Array]]) -> None:
    signature, arrays = case
    count = len(next(iter(arrays.values())))
    for form, said, sent in (("row", "predictions", "instances"), ("column", "outputs", "inputs")):
        answer = encode(Infer({}, count, signature.output_names, form=form), arrays, "m", "1").body
        infer = decode(answer.replace(said.encode(), sent.encode(), 1), signature)
        assert same(infer.inputs, arrays, signature)
        assert infer.rows == count
        assert infer.form == form


@pytest.mark.parametrize(
    ("signature", "body", "message"),
    [
        (DENSE, b"", "The body is empty"),
        (DENSE, b"{", "not JSON"),
        (DENSE, b'{"instances": [[1, 2, 3]]}}', "not JSON"),
        (DENSE, b'{"instances": [[1, 2, NaN]]}', "has no NaN or Infinity"),
        (DENSE, b'{"instances": [[1, 2, -Infinity]]}', "has no NaN or Infinity"),
        (DENSE, b'{"instances": [[1, 2, 03]]}', "not JSON"),
        (TEXT, b'{"instances": ["\xff"]}', "UTF-8"),
        (TEXT, b'{"\xff": ["a"]}', "UTF-8"),
        (DENSE, b"[[1, 2, 3]]", "is an object"),
        (DENSE, b"{}", "neither instances nor inputs"),
        (DENSE, b'{"signature_name": ""}', "neither instances nor inputs"),
        (DENSE, b'{"instances": [[1, 2, 3]], "inputs": [[1, 2, 3]]}', "both instances and inputs"),
        (DENSE, b'{"instance": [[1, 2, 3]]}', "no key 'instance'; did you mean instances?"),
        (DENSE, b'{"instances": [[1, 2, 3]], "signature": ""}', "no key 'signature'; did you mean signature_name?"),
        (DENSE, b'{"instances": [[1, 2, 3]], "signature_name": "train"}', "only signature is serving_default"),
        (DENSE, b'{"instances": [[1, 2, 3]], "signature_name": 1}', "only signature is serving_default"),
        (DENSE, b'{"instances": []}', "instances: there are no rows"),
        (DENSE, b'{"instances": [ ]}', "instances: there are no rows"),
        (DENSE, b'{"instances": null}', "(expected a list of at least 1 row, got null)"),
        (DENSE, b'{"instances": 5}', "(expected a list of at least 1 row, got 5)"),
        (DENSE, b'{"instances": {"input": [[1, 2, 3]]}}', "instances: there are no rows"),
        (DENSE, columns([]), "inputs.input.shape"),
        (RECOMMENDER, columns({"user_id": []}), "no rows"),
        (DENSE, rows([]), "instances[0]: the shape of the row does not fit the model (expected [3], got [0])"),
        (DENSE, rows([1, 2]), "instances[0]: the shape of the row does not fit the model (expected [3], got [2])"),
        (DENSE, rows([1, 2], [3, 4]), "instances[0]: the shape of the row does not fit the model (expected [3], got [2])"),
        (DENSE, rows([1, 2, 3], [4, 5]), "instances[1]: the shape of the row does not fit the model (expected [3], got [2])"),
        (DENSE, rows([1, 2, 3], 4), "instances[1]: the shape of the row does not fit the model (expected [3], got [])"),
        (DENSE, rows(1, 2, 3), "instances[0]: the shape of the row does not fit the model (expected [3], got [])"),
        (DENSE, rows([[1, 2, 3]]), "instances[0]: the shape of the row does not fit the model (expected [3], got [1, 3])"),
        (DENSE, rows([1, 2, [3]]), "instances[0][2]: not a value of FP64"),
        (DENSE, rows([1, 2, "3"]), "instances[0][2]: not a value of FP64"),
        (DENSE, rows([1, 2, True]), "instances[0][2]: not a value of FP64"),
        (DENSE, rows([1, 2, None]), "instances[0][2]: not a value of FP64; NaN goes to /v2/models/M/infer, in binary, or as"),
        (NAMED, rows([1, 2, "x"]), "expected a number in the range of FP64, or null for a missing value, got"),
        (NAMED, b'{"instances": [[1, 2, NaN]]}', "send null for a missing value, or the tensor to /v2/models/M/infer"),
        (NAMED, rows(None), "instances[0]: the shape of the row does not fit the model (expected [3], got [])"),
        (NAMED, rows([1, 2, 3], None), "instances[1]: the shape of the row does not fit the model (expected [3], got [])"),
        (DENSE, rows([1, 2, 3], {"input": [1, 2, 3]}), "instances[1]: not"),
        (DENSE, rows({"input": [1, 2, 3]}, [1, 2, 3]), "instances[1]: the row is not like the first"),
        (DENSE, b'{"instances": [[1, 2, 1e999]]}', "instances[0][2]: not a value of FP64"),
        (
            IMAGE,
            rows([[1], [2]], [[1, 2], [3, 4]]),
            "instances[1]: the rows differ in shape (expected [2, 1] as before it",
        ),
        (IMAGE, rows([[1], [2]], [[1], [2, 3]]), "instances[1]: the data is ragged"),
        (IMAGE, rows([[1], [2]], [[1], [1e39]]), "instances[1][1][0]: not a value of FP32"),
        (IMAGE, columns([[[1], [2, 3]]]), "inputs: the data is ragged"),
        (
            RECOMMENDER,
            rows(3),
            "instances: the model has several inputs, so each value needs a name",
        ),
        (RECOMMENDER, columns([3]), "inputs: the model has several inputs"),
        (RECOMMENDER, rows({"user_id": 3, "n": 1}), "instances[0].n: the model has no such input"),
        (RECOMMENDER, columns({"user_id": [3], "n": [1]}), "inputs.n: the model has no such input"),
        (
            NAMED,
            rows({"city": 4, "age": 50, "income": 0.3}),
            "instances[0].city: the model has no such input; send the 3 values as one list, in the order city, age, income",
        ),
        (RECOMMENDER, rows({"k": 3}), "instances[0]: an input is missing (expected user_id, got k)"),
        (RECOMMENDER, rows({}), "instances[0]: an input is missing (expected user_id, got none)"),
        (RECOMMENDER, columns({"k": [3]}), "an input is missing (expected user_id, got k)"),
        (RECOMMENDER, columns({}), "an input is missing"),
        (
            RECOMMENDER,
            rows({"user_id": 3, "k": 1}, {"user_id": 4}),
            "instances[1].k: an input is in every row or in none (expected present as in instances[0], got absent)",
        ),
        (
            RECOMMENDER,
            rows({"user_id": 3}, {"user_id": 4, "k": 1}),
            "instances[1].k: an input is in every row or in none (expected absent as in instances[0], got present)",
        ),
        (
            RECOMMENDER,
            rows({"user_id": 1}, {"user_id": 2}, {"user_id": 3}, {"user_id": "x"}),
            "instances[3].user_id: not a value of INT64",
        ),
        (RECOMMENDER, rows({"user_id": 1}, {"user_id": [2]}), "instances[1].user_id: the shape of the row does not fit the model"),
        (
            RECOMMENDER,
            rows({"user_id": [1]}),
            "[0].user_id: the shape of the row does not fit the model (expected one value",
        ),
        (RECOMMENDER, rows({"user_id": 1.5}), "instances[0].user_id: not a value of INT64"),
        (RECOMMENDER, rows({"user_id": True}), "instances[0].user_id: not a value of INT64"),
        (RECOMMENDER, rows({"user_id": None}), "instances[0].user_id: not a value of INT64"),
        (RECOMMENDER, rows({"user_id": 2**63}), "instances[0].user_id: not a value of INT64"),
        (RECOMMENDER, rows({"user_id": 1, "k": 5}, {"user_id": 2, "k": 6}), "must agree"),
        (RECOMMENDER, columns({"user_id": [1, 2], "k": [5]}), "differ in rows"),
        (RECOMMENDER, b'{"instances": [{"user_id": 3, "user_id": 4}]}', "'user_id' twice"),
        (RECOMMENDER, b'{"instances": [{"user_id": 3, "user\\u005fid": 4}]}', "'user_id' twice"),
        (RECOMMENDER, b'{"inputs": {"user_id": [3], "user_id": [4]}}', "'user_id' twice"),
        (RECOMMENDER, b'{"instances": [{"user_id": 4}], "instances": [{"user_id": 3}]}', "'instances' twice"),
        (RECOMMENDER, b'{"instances": [{"user_id": ' + b"1" * 5000 + b', "user_id": 3}]}', "'user_id' twice"),
        (TEXT, rows(1), "instances[0]: not a value of BYTES"),
        (TEXT, rows({"b64": "A"}), "instances[0].b64: not a value of BYTES"),
        (
            TEXT,
            rows("a", {"b64": "AA==", "x": 1}),
            'instances[1]: not a value of BYTES (expected a string or {"b64": "<base64>"}, got {',
        ),
        (TEXT, rows("a", {"b65": "AA=="}), "instances[1]"),
        (TEXT, rows("a", {"b64": 1}), "instances[1].b64"),
        (TEXT, b'{"instances": [{"b64": "AA==", "b64": "AQ=="}]}', "'b64' twice"),
        (PAIR, rows({"a": ["x", {"b64": "AA=="}], "b": 1}), "instances[0].b: not a value of BOOL"),
        (PAIR, rows({"a": [{"b64": "AA=="}, ["x"]], "b": True}), "instances[0].a[1]"),
        (WHOLE, rows({"x": [1, 2, 3], "n": 4}), "as inputs"),
        (WHOLE, columns({"x": [1, 2], "n": 4}), "inputs.x.shape"),
        (WHOLE, columns({"x": [1, 2, 3], "n": [4]}), "inputs.n.shape"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_place_it_is_in(signature: Signature, body: bytes, message: str) -> None:
    assert message in refusal(body, signature)


@pytest.mark.parametrize("signature", [DENSE, RECOMMENDER, TEXT, IMAGE])
@pytest.mark.parametrize("close", [b"", b"]" * 200_000 + b"}"])
@pytest.mark.parametrize(
    "start",
    [b'{"instances": ', b'{"inputs": ', b'{"inputs": {"k": ', b'{"instances": [{"b64": ', b'{"signature_name": ', b'{"x": '],
)
def test_deep_nesting_is_refused(signature: Signature, start: bytes, close: bytes) -> None:
    refusal(start + b"[" * 200_000 + close, signature)
    refusal(start + b'{"a":' * 200_000, signature)


@pytest.mark.parametrize("depth", [64, 65, 66, 500, 900])
def test_nesting_that_json_survives_and_no_array_does_is_refused(depth: int) -> None:
    nest = b"[" * depth + b'"{"' + b"]" * depth
    for signature in (TEXT, DENSE, RECOMMENDER):
        refusal(b'{"instances": ' + nest + b"}", signature)
        refusal(b'{"instances": [{"text": ' + nest + b', "text": 1}]}', signature)


def test_the_header_of_the_binary_form_is_refused() -> None:
    with pytest.raises(BadRequest, match="Inference-Header-Content-Length"):
        decode(rows([1, 2, 3]), DENSE, "20")


@given(st.binary(max_size=60) | st.text('{}[]":,instacepu0123456789.eE-tflrN ', max_size=60).map(str.encode))
def test_no_bytes_raise_anything_but_a_refusal(body: bytes) -> None:
    for prefix, suffix in ((b"", b""), (b'{"instances":', b"}"), (b'{"inputs":', b"}"), (b'{"instances":[', b"]}")):
        for signature in (DENSE, RECOMMENDER, TEXT, WHOLE):
            try:
                infer = decode(prefix + body + suffix, signature)
            except (BadRequest, InvalidInput) as error:
                assert str(error)  # noqa: PT017
            else:
                assert signature.check(infer.inputs) == infer.rows


# Answers


def answer(form: str, **outputs: Array) -> str:
    return encode(Infer({}, len(next(iter(outputs.values()))), tuple(outputs), form=form), outputs, "m", "1").body.decode()


FLOATS = np.array([[0.1, 2], [3, 4]], np.float32)
INTS = np.array([7, 8])


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (lambda: answer("row", y=FLOATS), '{"predictions":[[0.1,2.0],[3.0,4.0]]}'),
        (lambda: answer("column", y=FLOATS), '{"outputs":[[0.1,2.0],[3.0,4.0]]}'),
        (lambda: answer("row", y=FLOATS, n=INTS), '{"predictions":[{"y":[0.1,2.0],"n":7},{"y":[3.0,4.0],"n":8}]}'),
        (lambda: answer("column", y=FLOATS, n=INTS), '{"outputs":{"y":[[0.1,2.0],[3.0,4.0]],"n":[7,8]}}'),
        (
            lambda: answer("row", n=INTS, null=np.array([b"null", b"\xff"], object)),
            '{"predictions":[{"n":7,"null":"null"},{"n":8,"null":{"b64":"/w=="}}]}',
        ),
        (lambda: answer("row", x_bytes=np.array([[b"a"]], object)), '{"predictions":[[{"b64":"YQ=="}]]}'),
        (lambda: answer("column", x=np.array([b"a", "\u00fc"], object)), '{"outputs":["a","ü"]}'),
        (
            lambda: answer("row", y=FLOATS.T, h=np.array([1, 2], np.float16)),
            '{"predictions":[{"y":[0.1,3.0],"h":1.0},{"y":[2.0,4.0],"h":2.0}]}',
        ),
        (
            lambda: answer("row", b=np.array([1, 2], ml_dtypes.bfloat16), t=np.array([True, False])),
            '{"predictions":[{"b":1.0,"t":true},{"b":2.0,"t":false}]}',
        ),
        (
            lambda: answer("row", n=INTS.astype(">i8"), e=np.empty((2, 0), np.float32)),
            '{"predictions":[{"n":7,"e":[]},{"n":8,"e":[]}]}',
        ),
    ],
)
def test_an_answer_has_the_form_of_its_request(got: Any, want: str) -> None:
    assert got() == want


def test_a_value_without_dims_is_answered_as_a_value() -> None:
    infer = Infer({}, 1, ("y",), form="column")
    assert encode(infer, {"y": np.array(0.5, np.float32)}, "m", "1") == Encoded(b'{"outputs":0.5}')


def test_outputs_are_answered_in_the_order_asked() -> None:
    infer = Infer({}, 2, ("b", "a"), form="row")
    assert encode(infer, {"a": INTS, "b": INTS, "c": INTS}, "m", "1").body == b'{"predictions":[{"b":7,"a":7},{"b":8,"a":8}]}'


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", ["row", "column"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_what_is_not_finite_is_no_answer(odd: float, form: str, dtype: Any) -> None:
    for outputs in ({"y": np.array([1, odd], dtype)}, {"y": np.array([1, odd], dtype), "n": INTS}):
        with pytest.raises(NotFinite, match="NaN or Infinity"):
            answer(form, **outputs)


@pytest.mark.parametrize("form", ["row", "column"])
def test_bytes_that_hold_something_else_are_the_models_failure(form: str) -> None:
    with pytest.raises(InferenceError, match="Output y holds float where bytes are expected"):
        answer(form, y=np.array([b"a", 0.5], object), n=INTS)


@given(st.binary(max_size=50))
def test_bytes_of_any_kind_are_answered_so_that_they_read_back(value: bytes) -> None:
    (said,) = json.loads(answer("row", y=np.array([value], object)))["predictions"]
    assert (base64.b64decode(said["b64"]) if isinstance(said, dict) else said.encode()) == value


# Status and metadata


def test_the_status_tells_each_versions_state_newest_first() -> None:
    versions = [("2", "READY", ""), ("10", "LOADING", ""), ("3", "UNAVAILABLE", "model.onnx is damaged"), ("1", "UNLOADING", "")]
    fine = {"error_code": "OK", "error_message": ""}
    assert json.loads(status(versions).body) == {
        "model_version_status": [
            {"version": "10", "state": "LOADING", "status": fine},
            {"version": "3", "state": "END", "status": {"error_code": "UNKNOWN", "error_message": "model.onnx is damaged"}},
            {"version": "2", "state": "AVAILABLE", "status": fine},
            {"version": "1", "state": "UNLOADING", "status": fine},
        ]
    }


def test_the_metadata_is_a_saved_models_signature() -> None:
    signature = Signature((TensorSpec("image", "FP32", [-1, 8, 8]),), (TensorSpec("label", "INT64", [-1]),))
    dims = [{"size": "-1", "name": ""}, {"size": "8", "name": ""}, {"size": "8", "name": ""}]
    image = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": "image:0"}
    label = {"dtype": "DT_INT64", "tensor_shape": {"dim": dims[:1], "unknown_rank": False}, "name": "label:0"}
    serving = {"inputs": {"image": image}, "outputs": {"label": label}, "method_name": "tensorflow/serving/predict"}
    assert json.loads(metadata("digits", "3", signature).body) == {
        "model_spec": {"name": "digits", "signature_name": "", "version": "3"},
        "metadata": {"signature_def": {"signature_def": {"serving_default": serving}}},
    }


def test_every_datatype_has_its_name_in_tensorflow() -> None:
    signature = Signature(tuple(TensorSpec(name, name, [-1]) for name in DTYPES), ())
    inputs = json.loads(metadata("m", "1", signature).body)["metadata"]["signature_def"]["signature_def"]["serving_default"][
        "inputs"
    ]
    assert {name: info["dtype"] for name, info in inputs.items()} == {
        "BOOL": "DT_BOOL",
        **{f"{sign}INT{bits}": f"DT_{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
        "FP16": "DT_HALF",
        "FP32": "DT_FLOAT",
        "FP64": "DT_DOUBLE",
        "BF16": "DT_BFLOAT16",
        "BYTES": "DT_STRING",
    }
