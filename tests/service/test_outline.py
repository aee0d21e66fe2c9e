"""Requests with long arrays of numbers are taken, and refused, as those with short ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import Array, InvalidInput, Signature, TensorSpec
from service.errors import BadRequest, TensorTooLarge, TooManyRows
from service.guard.input.content import DEFAULT, Content
from service.protocol import oip, outline, tfserving
from service.protocol.outline import LONG, Outline
from service.protocol.plain_numbers import NotPlain
from service.routing import Codec

IMAGE = Signature((TensorSpec("x", "FP32", [-1, 3, 40, 50]),), (TensorSpec("y", "FP32", [-1]),))
TWO = Signature(
    (TensorSpec("a", "INT64", [-1, 2000]), TensorSpec("b", "FP64", [-1, 40, 50]), TensorSpec("t", "BYTES", [-1], optional=True)),
    (TensorSpec("y", "FP32", [-1]),),
)
PIXELS = np.random.default_rng(1).random((2, 3, 40, 50)).astype(np.float32)
COUNTS = np.arange(4000).reshape(2, 2000) - 2**60
FORMS = [{"separators": (",", ":")}, {}, {"indent": 1}]


def text(document: object, **form: Any) -> bytes:
    return json.dumps(document, **form).encode()


def of_oip(array: Array, *, flat: bool = False, **members: object) -> dict[str, object]:
    data = array.ravel().tolist() if flat else array.tolist()
    return {"name": "x", "shape": list(array.shape), "datatype": "FP32", "data": data, **members}


def outcome(protocol: Codec, body: bytes, signature: Signature, long: int, content: Content = DEFAULT) -> object:
    """The request as bytes, or how it was refused; arrays of that length and more are cut out."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (oip, tfserving, outline):
            patch.setattr(module, "LONG", long)
        try:
            infer = protocol.decode(body, signature, None, content)
        except (BadRequest, InvalidInput, TensorTooLarge, TooManyRows) as error:
            return type(error), str(error)
    arrays = {name: (a.dtype, a.shape, a.tolist() if a.dtype == object else a.tobytes()) for name, a in infer.inputs.items()}
    return arrays, infer.rows, infer.outputs, infer.id, infer.timeout_s, infer.form


def same(got: Mapping[str, Array], **want: Array) -> bool:
    return got.keys() == want.keys() and all(
        got[name].dtype == want[name].dtype and np.array_equal(got[name], want[name]) for name in want
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("order", [("name", "shape", "datatype", "data"), ("data", "datatype", "name", "shape")])
def test_a_long_tensor_is_read_wherever_its_data_stands(form: dict[str, Any], flat: bool, order: tuple[str, ...]) -> None:
    tensor = of_oip(PIXELS, flat=flat)
    body = text({"inputs": [{name: tensor[name] for name in order}], "id": "7"}, **form)
    found = Outline.of(body, 10**6)
    assert found is not None
    assert len(found.text) < 1000
    infer = oip.decode(body, IMAGE)
    assert same(infer.inputs, x=PIXELS)
    assert (infer.rows, infer.id) == (2, "7")


@pytest.mark.parametrize(
    ("protocol", "document"),
    [
        (oip, {"inputs": [of_oip(PIXELS)]}),
        (oip, {"inputs": [of_oip(PIXELS, flat=True)]}),
        (tfserving, {"instances": PIXELS.tolist()}),
        (tfserving, {"inputs": {"x": PIXELS.tolist()}}),
        (tfserving, {"instances": [{"x": row} for row in PIXELS.tolist()]}),
    ],
)
def test_no_list_of_numbers_is_made_of_a_long_tensor(protocol: Codec, document: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (oip, tfserving):
        monkeypatch.delattr(module, "to_array")
    assert same(protocol.decode(text(document), IMAGE).inputs, x=PIXELS)


def test_several_long_tensors_are_read_beside_short_ones() -> None:
    wide = PIXELS[:, 0].astype(np.float64)
    inputs = [
        {"name": "b", "shape": [2, 40, 50], "datatype": "FP64", "data": wide.tolist()},
        {"name": "t", "shape": [2], "datatype": "BYTES", "data": ["[1", '"cut']},
        {"name": "a", "shape": [2, 2000], "datatype": "INT64", "data": COUNTS.ravel().tolist()},
    ]
    infer = oip.decode(text({"inputs": inputs}), TWO)
    assert same(infer.inputs, b=wide, t=np.array([b"[1", b'"cut'], object), a=COUNTS)


def test_json_and_binary_tensors_stand_in_one_request() -> None:
    head = text(
        {
            "inputs": [
                {"name": "a", "shape": [2, 2000], "datatype": "INT64", "data": COUNTS.tolist()},
                {"name": "b", "shape": [2, 40, 50], "datatype": "FP64", "parameters": {"binary_data_size": 32000}},
            ]
        }
    )
    wide = PIXELS[:, 0].astype(np.float64)
    assert same(oip.decode(head + wide.tobytes(), TWO, str(len(head))).inputs, a=COUNTS, b=wide)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "document",
    [
        {"instances": PIXELS.tolist()},
        {"inputs": PIXELS.tolist()},
        {"inputs": {"x": PIXELS.tolist()}},
        {"instances": [{"x": row} for row in PIXELS.tolist()]},
        {"signature_name": "serving_default", "instances": PIXELS.tolist()},
    ],
)
def test_tensorflow_servings_forms_are_read_too(form: dict[str, Any], document: object) -> None:
    body = text(document, **form)
    assert Outline.of(body, 10**6) is not None
    assert same(tfserving.decode(body, IMAGE).inputs, x=PIXELS)


ODD: list[dict[str, object]] = [
    {"shape": [2, 3, 50, 40]},
    {"shape": [2, 3, 40, 51]},
    {"shape": [1, 3, 40, 50]},
    {"shape": [2, 3, 2000]},
    {"shape": [12000]},
    {"shape": [-2, 3, 40, 50]},
    {"shape": [1] * 70},
    {"datatype": "FP64"},
    {"datatype": "INT64"},
    {"datatype": "BYTES"},
    {"datatype": "FP16"},
    {"datatype": "BOOL"},
    {"name": "y"},
    {"parameters": {"binary_data_size": 4}},
    {"data2": [1.5] * 4000},
    {"name": '"cut out 0"'},
    {"parameters": {"note": '[[[["cut out 0"]]]]'}},
]


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("members", ODD)
def test_what_is_odd_about_a_long_tensor_is_told_in_the_same_words(members: dict[str, object], flat: bool) -> None:
    body = text({"inputs": [of_oip(PIXELS, flat=flat, **members)]})
    assert outcome(oip, body, IMAGE, LONG) == outcome(oip, body, IMAGE, sys.maxsize)


VALUES = [b"null", b"true", b'"1"', b"1e39", b"1e400", b"NaN", b"[]", b"[1]", b"1 2", b"", b"1]", b"{}", b"01", b"9" * 30, b"\xff"]


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("value", VALUES)
def test_one_odd_value_among_many_is_told_with_its_place(value: bytes, flat: bool) -> None:
    mark = PIXELS[1, 1, 7, 9]
    whole = text({"inputs": [of_oip(PIXELS, flat=flat)]}).replace(repr(float(mark)).encode(), value)
    for protocol, body in (
        (oip, whole),
        (tfserving, text({"instances": PIXELS.tolist()}).replace(repr(float(mark)).encode(), value)),
    ):
        assert outcome(protocol, body, IMAGE, LONG) == outcome(protocol, body, IMAGE, sys.maxsize)


def test_of_data_given_twice_the_last_counts_as_ever() -> None:
    short = text({"inputs": [of_oip(PIXELS[:1])]})
    twice = short.replace(b'"data": ', b'"data": [1.5%b], "data": ' % (b", 1.5" * 4000))
    broken = short.replace(b'"data": ', b'"data": [1.5%b], "data": ' % (b" 1.5" * 4000))
    for body in (twice, broken):
        assert outcome(oip, body, IMAGE, LONG) == outcome(oip, body, IMAGE, sys.maxsize)


@pytest.mark.parametrize(
    "body", [b"[1" + b",1" * 9000 + b"]", b'"' + b":[1" * 9000 + b'"', b":[1" * 9000, b":" + b"[" * 90_000 + b"1"]
)
def test_what_only_looks_like_an_array_is_refused_in_the_same_words(body: bytes) -> None:
    for whole in (body, b'{"inputs":' + body + b"}", b'{"inputs":[{"data":' + body, b'{"id":"' + body):
        for protocol in (oip, tfserving):
            assert outcome(protocol, whole, IMAGE, LONG) == outcome(protocol, whole, IMAGE, sys.maxsize)


@pytest.mark.parametrize(
    "content", [Content(elements=11_999), Content(rows=1), Content(depth=4), Content(depth=6), Content(depth=7)]
)
def test_limits_hold_for_long_arrays(content: Content) -> None:
    bodies = [(oip, text({"inputs": [of_oip(PIXELS, flat=flat)]})) for flat in (False, True)]
    bodies += [
        (tfserving, text({"instances": PIXELS.tolist()})),
        (tfserving, text({"instances": [{"x": row} for row in PIXELS.tolist()]})),
    ]
    for protocol, body in bodies:
        assert outcome(protocol, body, IMAGE, LONG, content) == outcome(protocol, body, IMAGE, sys.maxsize, content)


def test_a_callers_own_stand_in_is_nothing_but_a_string() -> None:
    body = text({"inputs": [of_oip(PIXELS, data=[[[["cut out 0"]]]])], "mine": PIXELS.tolist()})
    with pytest.raises(InvalidInput, match="cut out 0"):
        oip.decode(body, IMAGE)


def test_rows_some_of_which_are_short_are_all_there() -> None:
    both = np.stack([PIXELS[0], np.zeros_like(PIXELS[0])])
    rows: list[Any] = both.tolist()
    rows[1] = [[[0] * 50] * 40] * 3
    body = text({"instances": [{"x": row} for row in rows]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outline, "LONG", 20_000)
        assert same(tfserving.decode(body, IMAGE).inputs, x=both)


def test_an_array_that_nobody_asked_for_is_not_passed_over() -> None:
    found = Outline.of(b'{"a": [1%b], "b": 2}' % (b",1" * LONG), 10**6)
    assert found is not None
    with pytest.raises(NotPlain):
        found.check_used()


SMALL = Signature(
    (
        TensorSpec("x", "FP32", [-1, 2]),
        TensorSpec("n", "UINT8", [-1], optional=True),
        TensorSpec("t", "BYTES", [-1], optional=True),
    ),
    (TensorSpec("y", "FP32", [-1]),),
)
NUMBERS = st.integers(-3, 300) | st.floats(width=32) | st.sampled_from([None, True, "NaN", "cut out 0", 1e39, 2**64])
DATA = st.recursive(st.lists(NUMBERS, max_size=4), lambda inner: st.lists(inner, max_size=3), max_leaves=4)
TENSOR = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "n", "t", "w"]),
        "shape": st.lists(st.integers(0, 3), max_size=3),
        "datatype": st.sampled_from(["FP32", "UINT8", "BYTES", "INT64"]),
        "data": DATA,
    }
)


@st.composite
def usual(draw: st.DrawFn) -> dict[str, object]:
    """A tensor that fits, or nearly."""
    rows = draw(st.integers(1, 3))
    name, datatype, shape = draw(st.sampled_from([("x", "FP32", [rows, 2]), ("n", "UINT8", [rows])]))
    values = np.array(draw(st.lists(st.integers(0, 255), min_size=prod(shape), max_size=prod(shape))))
    data = values.tolist() if draw(st.booleans()) else values.reshape(shape).tolist()
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


@settings(deadline=None)
@given(st.lists(TENSOR | usual(), min_size=1, max_size=3), st.sampled_from(FORMS))
def test_any_request_is_the_same_with_its_arrays_cut_out(inputs: list[object], form: dict[str, Any]) -> None:
    body = text({"inputs": inputs}, **form)
    assert outcome(oip, body, SMALL, 1) == outcome(oip, body, SMALL, sys.maxsize)


@settings(deadline=None)
@given(
    st.sampled_from(["instances", "inputs"]),
    DATA
    | st.lists(st.dictionaries(st.sampled_from(["x", "n", "t"]), DATA | NUMBERS))
    | st.dictionaries(st.sampled_from(["x", "n", "t"]), DATA),
)
def test_any_prediction_is_the_same_with_its_arrays_cut_out(key: str, value: object) -> None:
    body = text({key: value})
    for signature in (SMALL, Signature(SMALL.inputs[:1], SMALL.outputs)):
        assert outcome(tfserving, body, signature, 1) == outcome(tfserving, body, signature, sys.maxsize)
