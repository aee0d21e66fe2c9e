"""Requests that a server has to refuse, with what it has to say: tables for ``test_bad_input``.

A row is the body, then the sentence of the answer, word for word, and the place that its details name ("" where there are none).
All are for the model `affine`, FP32 x [-1, 4] -> y [-1, 2], unless they say otherwise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from models.tensor import DTYPES

ROW = [1, 2, 3, 4]


@dataclass(frozen=True, slots=True)
class Refused:
    """A request, the code and sentence it has to get with 400, and the place, expectation and finding of the details."""

    body: bytes
    code: str
    error: str
    details: tuple[str, str, str] | None = None
    model: str = "affine"
    header_length: str | None = None


def oip(**changes: object) -> bytes:
    """A good infer request for `affine`, changed; None takes a field away."""
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW, **changes}
    return asked([{name: value for name, value in tensor.items() if value is not None}])


def asked(inputs: object, **more: object) -> bytes:
    return json.dumps({"inputs": inputs, **more}).encode()


def pair(rows_a: int, rows_b: int | None) -> bytes:
    tensors = {"a": rows_a, **({} if rows_b is None else {"b": rows_b})}
    return asked([{"name": n, "shape": [r, 2], "datatype": "FP32", "data": [0.5] * (2 * r)} for n, r in tensors.items()])


def predict(**body: object) -> bytes:
    return json.dumps(body).encode()


def told(path: str, problem: str, expected: str, got: str) -> dict[str, Any]:
    """Sentence and details of a refusal that is about one place."""
    sides = [f"expected {expected}"] + [f"got {got}"] * bool(got)
    return {"error": f"{path}: {problem} ({', '.join(sides)})", "details": (path, expected, got)}


def protocol(path: str, problem: str, expected: str, got: str) -> dict[str, Any]:
    """The same for what is JSON, and not the protocol."""
    one = told(path, problem, expected, got)
    return {"error": f"The request is not the protocol's: {one['error']}.", "details": one["details"]}


def invalid(body: bytes, telling: dict[str, Any], **more: Any) -> Refused:
    return Refused(body, "invalid_input", **{**telling, **more})


def bad(body: bytes, telling: dict[str, Any] | str, **more: Any) -> Refused:
    given = {"error": telling} if isinstance(telling, str) else telling
    return Refused(body, "bad_request", **{**given, **more})


ELSE = "not what the protocol has here"
FLOAT = "a number in the range of FP32"
NAN_GOES = 'NaN goes to /v2/models/M/infer, in binary, or as "NaN" with "parameters": {"non_finite": "string"}'
DEEP = "the body's JSON is nested too deep, over the limit of 64 levels; send it flatter"
COUNT = "the shape has another number of elements"
FIT = "the shape does not fit the model"
NO_NAN = (
    "The body is not JSON, which has no NaN or Infinity (byte {}): send the input as binary data, "
    'or as the string "NaN" with the request\'s parameter "non_finite" set to "string".'
)
LENGTH = "Inference-Header-Content-Length must be the length of the body's JSON, from 0 to {}; got {!r}."
FORMS = "send rows as instances, or whole tensors as inputs."
GOOD = oip()
HEADER = "Inference-Header-Content-Length"

INFER: dict[str, Refused] = {
    "empty": bad(b"", 'The body is empty; expected a JSON object with "inputs".'),
    "cut short": bad(GOOD[:20], "The body is not JSON: Input data was truncated after 20 bytes."),
    "not JSON": bad(b"{'inputs': []}", "The body is not JSON: object keys must be strings (byte 1)."),
    "not UTF-8": bad(b'{"inputs": [], "id": "\xff"}', "The body is not UTF-8: invalid start byte."),
    "not an object": bad(b"[]", protocol("body", ELSE, "object", "array")),
    "nothing": bad(b"null", protocol("body", ELSE, "object", "null")),
    "no inputs": bad(b'{"id": "7"}', protocol("body", "a field is missing", "inputs", '{"id": "7"}')),
    "inputs no list": bad(b'{"inputs": "x"}', protocol("inputs", ELSE, "array", "str")),
    "nested deep": bad(b'{"x": ' + b"[" * 30_000, DEEP),
    "nested deep, whole": bad(b'{"x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", DEEP),
    "data nested deep": bad(oip(data="D").replace(b'"D"', b"[" * 9000 + b"]" * 9000), DEEP),
    "negative dim": bad(oip(shape=[-1, 4]), protocol("inputs[0].shape[0]", ELSE, "int >= 0", "-1")),
    "dim no integer": bad(oip(shape=[1.5, 4]), protocol("inputs[0].shape[0]", ELSE, "int", "float")),
    "dim overflows": bad(
        oip(shape=[2**63, 4]), protocol("inputs[0].shape[0]", ELSE, "int <= 9223372036854775807", "9223372036854775808")
    ),
    "product mismatch": invalid(oip(shape=[2, 4]), told("inputs[0].data", COUNT, "8 for [2, 4]", "4")),
    "no rows": invalid(oip(shape=[0, 4], data=[]), told("inputs", "the request has no rows", "at least 1 row", "0 rows")),
    "wrong rank": invalid(oip(shape=[4]), told("inputs[0].shape", FIT, "[-1, 4]", "[4]")),
    "wrong width": invalid(oip(shape=[2, 2]), told("inputs[0].shape", FIT, "[-1, 4]", "[2, 2]")),
    "ragged": invalid(
        oip(data=[[1, 2, 3], [4]]), told("inputs[0].data", "the data is ragged", "rows of one length", "lengths 1 to 3")
    ),
    "nested otherwise": invalid(
        oip(data=[[1, 2], [3, 4]]), told("inputs[0].data", "the data is not nested as its shape", "[1, 4]", "[2, 2]")
    ),
    "wrong datatype": invalid(
        oip(datatype="INT64"), told("inputs[0].datatype", "the datatype is not the model's", "FP32", "INT64")
    ),
    "no datatype": invalid(oip(datatype="FLOAT"), told("inputs[0].datatype", "no such datatype", ", ".join(DTYPES), "FLOAT")),
    "text for a number": invalid(oip(data=[1, 2, "a", 4]), told("inputs[0].data[2]", "not a value of FP32", FLOAT, '"a"')),
    "null for a number": invalid(
        oip(data=[1, None, 3, 4]), told("inputs[0].data[1]", f"not a value of FP32; {NAN_GOES}", FLOAT, "null")
    ),
    "out of range": invalid(oip(data=[1, 2, 3, 1e39]), told("inputs[0].data[3]", "not a value of FP32", FLOAT, "1e+39")),
    "data no array": invalid(oip(data={"a": 1}), told("inputs[0].data", "not an array", "an array", '{"a": 1}')),
    "no data": invalid(
        oip(data=None),
        told("inputs[0].data", "the input has no data", "data, or the parameter binary_data_size", "neither"),
    ),
    "NaN": bad(oip(data=[float("nan"), 2, 3, 4]), NO_NAN.format(72)),
    "Infinity": bad(oip(data=[1, float("-inf"), 3, 4]), NO_NAN.format(76)),
    "unknown input": invalid(oip(name="z"), told("inputs[0].name", "the model has no such input", "x", "z")),
    "no input": invalid(asked([]), told("inputs", "an input is missing", "x", "none")),
    "missing input": invalid(pair(1, None), told("inputs", "an input is missing", "b", "a"), model="pair"),
    "rows that differ": invalid(pair(1, 2), told("inputs[1].shape", "the inputs differ in rows", "1 rows", "2 rows"), model="pair"),
    "duplicate input": invalid(
        asked(json.loads(GOOD)["inputs"] * 2), told("inputs[1].name", "the input is given twice", "each input once", "x")
    ),
    "unknown output": invalid(
        asked(json.loads(GOOD)["inputs"], outputs=[{"name": "z"}]),
        told("outputs[0].name", "the model has no such output", "y", "z"),
    ),
    "duplicate output": invalid(
        asked(json.loads(GOOD)["inputs"], outputs=[{"name": "y"}, {"name": "y"}]),
        told("outputs[1].name", "the output is asked for twice", "each output once", "y"),
    ),
    "negative timeout": bad(
        asked(json.loads(GOOD)["inputs"], parameters={"timeout": -1}), protocol("parameters.timeout", ELSE, "int >= 0", "-1")
    ),
    "half floats in JSON": invalid(
        asked([{"name": "x", "shape": [1, 2], "datatype": "FP16", "data": [1, 2]}]),
        told("inputs[0].data", "JSON has no FP16", "binary data of binary_data_size bytes", "JSON"),
        model="half",
    ),
    "length no number": bad(
        GOOD, LENGTH.format(len(GOOD), "abc"), details=(HEADER, f"0 to {len(GOOD)}", "abc"), header_length="abc"
    ),
    "length negative": bad(GOOD, LENGTH.format(len(GOOD), "-1"), details=(HEADER, f"0 to {len(GOOD)}", "-1"), header_length="-1"),
    "length beyond the body": bad(
        GOOD, LENGTH.format(len(GOOD), "9999"), details=(HEADER, f"0 to {len(GOOD)}", "9999"), header_length="9999"
    ),
    "length too short": bad(
        GOOD,
        "The body is not JSON: Input data was truncated after 9 bytes, where Inference-Header-Content-Length says that it ends.",
        header_length="9",
    ),
    "length too long": bad(
        GOOD + b"\x00" * 16,
        f"The body is not JSON: trailing characters (byte {len(GOOD) + 1}); "
        "Inference-Header-Content-Length says where binary data begins.",
        header_length=str(len(GOOD) + 16),
    ),
    "bytes left over": invalid(
        GOOD + b"\x00" * 16,
        told("inputs", "bytes are left over behind the tensors", "0 bytes of binary data", "16"),
        header_length=str(len(GOOD)),
    ),
    "binary data cut short": invalid(
        oip(data=None, parameters={"binary_data_size": 16}) + b"\x00" * 8,
        told(
            "inputs[0].parameters.binary_data_size",
            "the body ends before the data; Inference-Header-Content-Length must be the length of the JSON",
            "16 bytes",
            "8 bytes",
        ),
        header_length=str(len(oip(data=None, parameters={"binary_data_size": 16}))),
    ),
}

PREDICT: dict[str, Refused] = {
    "empty": bad(b"", "The body is empty; send an object with rows as instances, or whole tensors as inputs."),
    "cut short": bad(b'{"instances": [[1', "The body is not JSON in UTF-8: Input data was truncated after 17 bytes."),
    "not an object": bad(b"[[1, 2, 3, 4]]", f"The body of :predict is an object, and '[[1, 2, 3, 4]]' came; {FORMS}"),
    "nested deep": bad(b'{"instances": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", DEEP),
    "neither": bad(b"{}", f"The body has neither instances nor inputs; {FORMS}"),
    "both": bad(predict(instances=[ROW], inputs=[ROW]), f"The body has both instances and inputs; {FORMS}"),
    "misspelt": bad(predict(instance=[ROW]), "The body of :predict has no key 'instance'; did you mean instances?"),
    "no rows": invalid(predict(instances=[]), told("instances", "there are no rows", "a list of at least 1 row", "an empty list")),
    "no list": invalid(predict(instances=3), told("instances", "there are no rows", "a list of at least 1 row", "3")),
    "wrong width": invalid(
        predict(instances=[ROW, [1, 2]]), told("instances[1]", "the shape of the row does not fit the model", "[4]", "[2]")
    ),
    "text for a number": invalid(predict(instances=[[1, 2, 3, "a"]]), told("instances[0][3]", "not a value of FP32", FLOAT, '"a"')),
    "out of range": invalid(predict(instances=[[1, 2, 3, 1e300]]), told("instances[0][3]", "not a value of FP32", FLOAT, "1e+300")),
    "NaN": bad(
        b'{"instances": [[1, 2, 3, NaN]]}',
        "The body is not JSON, which has no NaN or Infinity (JSON is malformed: invalid character (byte 25)): "
        "send the tensor to /v2/models/M/infer, in binary.",
    ),
    "unknown input": invalid(predict(instances=[{"z": ROW}]), told("instances[0].z", "the model has no such input", "x", "z")),
    "missing input": invalid(
        predict(instances=[{"a": [1, 2]}]), told("instances[0]", "an input is missing", "b", "a"), model="pair"
    ),
    "values without names": invalid(
        predict(instances=[[1, 2]]),
        told("instances", "the model has several inputs, so each value needs a name", "objects of a, b", "no names"),
        model="pair",
    ),
    "rows of other names": invalid(
        predict(instances=[{"x": ROW}, {"y": ROW}]),
        told("instances[1].x", "an input is in every row or in none", "present as in instances[0]", "absent"),
    ),
    "duplicate name": bad(
        b'{"instances": [{"x": [1,2,3,4], "x": [1,2,3,4]}]}', "The body gives 'x' twice in one object; give each key once."
    ),
    "unknown signature": bad(
        predict(signature_name="other", instances=[ROW]),
        "The model's only signature is serving_default; leave signature_name out, it was 'other'.",
    ),
    "base64 that is none": invalid(
        predict(instances=[{"name": {"b64": "!"}}]),
        told("instances[0].name.b64", "not a value of BYTES", 'a string or {"b64": "<base64>"}', '"!"'),
        model="greet",
    ),
    "binary length": bad(
        predict(instances=[ROW]),
        "Inference-Header-Content-Length goes with /v2/models/M/infer; the body of :predict is JSON alone.",
        header_length="0",
    ),
}
