"""Bodies of requests: inference in both protocols, their content codings, and what the control routes take.

An input's first line chooses the model's signature and the headers; the rest is the body.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Final

from models.errors import InvalidInput
from models.signature import Signature
from models.tensor import DTYPES, Array, TensorSpec
from service.errors import BadRequest, BodyTooLarge, NotFinite, UnsupportedMedia
from service.protocol import coding, oip, tfserving
from service.protocol.infer import Infer
from service.protocol.oip_answer import Form
from service.routing import Codec
from tests.fuzz.target import Broken, Target


def _echo(*specs: TensorSpec, batched: bool = True) -> Signature:
    return Signature(specs, tuple(TensorSpec(spec.name, spec.datatype, spec.shape) for spec in specs), batched)


#: Models whose outputs are their inputs, so that an answer can be sent again as a request.
SIGNATURES: Final = (
    _echo(TensorSpec("x", "FP32", [-1, 4])),
    _echo(TensorSpec("input", "FP64", [-1, 3], widens=True)),
    _echo(TensorSpec("name", "BYTES", [-1, 1])),
    _echo(TensorSpec("a", "INT64", [-1, 2]), TensorSpec("b", "UINT64", [-1], optional=True)),
    _echo(TensorSpec("h", "FP16", [-1, -1])),
    _echo(TensorSpec("f", "BF16", [2, 2]), batched=False),
    _echo(TensorSpec("s", "BOOL", [], optional=True), TensorSpec("n", "INT8", [-1, -1, -1]), batched=False),
    _echo(TensorSpec("k", "UINT8", [-1], uniform=True), TensorSpec("t", "BYTES", [-1])),
)


def _signature(selector: bytes) -> Signature:
    return SIGNATURES[(selector[:1] or b"0")[0] % len(SIGNATURES)]


def _selected(number: int) -> bytes:
    return bytes([ord("0") // len(SIGNATURES) * len(SIGNATURES) + number])


def check(infer: Infer, signature: Signature) -> None:
    """What is taken has the tensors that the signature wants, each of its own size."""
    for name, array in infer.inputs.items():
        spec = signature.by_name[name]
        if array.dtype != spec.dtype and not spec.widens:
            raise Broken(f"{name} is {array.dtype}, the model takes {spec.datatype}")
        if len(array.shape) != len(spec.shape) or any(w not in (-1, g) for w, g in zip(spec.shape, array.shape, strict=True)):
            raise Broken(f"{name} has shape {array.shape}, the model takes {spec.shape}")
        if array.dtype.kind == "O" and not all(type(value) is bytes for value in array.flat):
            raise Broken(f"{name} holds what is not bytes")
        if signature.batched and (array.shape[0] != infer.rows or infer.rows < 1):
            raise Broken(f"{name} has {array.shape[0]} rows, the request {infer.rows}")


def same(one: Mapping[str, Array], other: Mapping[str, Array]) -> bool:
    """Whether the tensors are the same to the bit, NaN too."""
    if one.keys() != other.keys():
        return False
    pairs = [(array, other[name]) for name, array in one.items()]
    return all(a.shape == b.shape and a.dtype == b.dtype and _octets(a) == _octets(b) for a, b in pairs)


def _octets(array: Array) -> object:
    return list(array.flat) if array.dtype.kind == "O" else array.tobytes()


def parse_oip(data: bytes) -> Infer:
    """A line of the signature and what Inference-Header-Content-Length says (absent, `=`: to the body's first line end), the body."""
    line, _, body = data.partition(b"\n")
    signature = _signature(line)
    said = line[1:].decode("latin-1")
    length = None if not said else str(body.find(b"\n") + 1) if said == "=" else said
    infer = oip.decode(body, signature, length)
    check(infer, signature)
    if length is None and not same(infer.inputs, _again(oip, body, signature, str(len(body))).inputs):
        raise Broken("the quick way and the general one read different tensors")
    _check_answer(infer, signature)
    return infer


def _check_answer(infer: Infer, signature: Signature) -> None:
    """An answer of the same tensors can be sent as a request, which means the same."""
    form = infer.form
    ranked = isinstance(form, Form) and any(form.classes)
    if ranked or set(infer.outputs) != infer.inputs.keys():
        return
    try:
        encoded = oip.encode(infer, infer.inputs, "m", "1")
    except (NotFinite, BadRequest):  # JSON cannot say it
        return
    length = dict(encoded.headers).get(b"inference-header-content-length")
    end = len(encoded.body) if length is None else int(length)
    answer = json.loads(encoded.body[:end])
    if infer.id is not None and answer["id"] != infer.id:
        raise Broken("the answer has another id")
    parameters = {"binary_data_output": True, "non_finite": "string"}
    text = json.dumps({"inputs": answer["outputs"], "parameters": parameters}).encode()
    again = _again(oip, text + encoded.body[end:], signature, None if length is None else str(len(text)))
    if not same(again.inputs, infer.inputs):
        raise Broken("an answer of the same tensors reads as others")


def _again(protocol: Codec, body: bytes, signature: Signature, length: str | None = None) -> Infer:
    try:
        return protocol.decode(body, signature, length)
    except (BadRequest, InvalidInput) as error:
        raise Broken(f"an answer of the same tensors is refused: {error}") from error


def parse_tfserving(data: bytes) -> Infer:
    """A line of the signature, and the body."""
    line, _, body = data.partition(b"\n")
    signature = _signature(line)
    infer = tfserving.decode(body, signature, line[1:].decode("latin-1") or None)
    check(infer, signature)
    if len(infer.inputs) != len(infer.outputs):
        return infer
    try:
        answer = json.loads(tfserving.encode(infer, infer.inputs, "m", "1").body)
    except NotFinite:
        return infer
    again = {"instances": answer["predictions"]} if "predictions" in answer else {"inputs": answer["outputs"]}
    if not same(infer.inputs, _again(tfserving, json.dumps(again).encode(), signature).inputs):
        raise Broken("an answer of the same tensors reads as others")
    return infer


#: The most that a fuzzed body may inflate to (bytes).
INFLATED: Final = 64 * 1024


def parse_coding(data: bytes) -> bytes:
    """A line of Content-Encoding, and the body."""
    line, _, body = data.partition(b"\n")
    plain = coding.inflate(body, line.decode("latin-1"), INFLATED)
    if line.strip(b" ,") and line.lower().replace(b"identity", b"").strip(b" ,\t") and len(plain) > INFLATED:
        raise Broken(f"it inflates to {len(plain)} bytes")
    if coding.inflate(gzip.compress(plain, 1), "gzip", max(1, len(plain))) != plain:
        raise Broken("what was inflated does not come back out of gzip")
    return plain


def parse_accept(data: bytes) -> bytes | None:
    """Accept-Encoding: what is sent is what the header allows, and reads as what was said."""
    body = b"a body that is worth it " * 9
    coded, name = coding.compress(body, data.decode("latin-1"), 64)
    if name is None:
        plain = coded
    else:
        if name.encode() not in data.lower() and b"*" not in data:
            raise Broken(f"{name} was not asked for")
        plain = gzip.decompress(coded) if name == "gzip" else zlib.decompress(coded)
    if plain != body:
        raise Broken("the answer does not read as what was said")
    return None if name is None else name.encode()


def _binary(tensor: str, data: bytes, more: str = "") -> bytes:
    return f'{{"inputs": [{tensor}]{more}}}\n'.encode() + data


_X = b'{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2.5, -3e2, 4]}]}'
_N = '{"name": "name", "shape": [2, 1], "datatype": "BYTES", "parameters": {"binary_data_size": 11}}'
_H = '{"name": "h", "shape": [1, 3], "datatype": "FP16", "parameters": {"binary_data_size": 6}}'
_WORDS = (
    *(f'"{name}"'.encode() for name in ("inputs", "outputs", "name", "shape", "datatype", "data", "parameters", "id")),
    *(f'"{name}"'.encode() for name in ("binary_data_size", "binary_data", "binary_data_output", "classification", "non_finite")),
    *(f'"{name}"'.encode() for name in ("timeout", "priority", "string", "NaN", "Infinity", "-Infinity", *DTYPES)),
    *(b"true", b"false", b"null", b"[]", b"{}", b"[[", b"]]", b"[[]]", b"-1", b"0", b"1e999", b"1e-400", b"-0.0", b"9223372036854775808"),
    *(b"18446744073709551616", b"65520", b"3.4028236e38", b'"\\ud800"', b'"\\u0000"', b"\xff", b'""', b"[" * 65, b"]" * 65, b"\n=\n"),
    *(_selected(number) for number in range(len(SIGNATURES))),
)

OIP = Target(
    "oip",
    parse_oip,
    (BadRequest, InvalidInput),
    seeds=(
        _selected(0) + b"\n" + _X,
        _selected(0) + b"\n" + _X.replace(b"]}]", b']}], "id": "7", "parameters": {"timeout": 5, "priority": 1, "binary_data_output": true}'),
        _selected(0) + b"\n" + _X.replace(b"[1, 2.5, -3e2, 4]", b"[[1, 2, 3, 4]]"),
        _selected(0) + b"\n" + _X.replace(b"2.5", b'"NaN"').replace(b"]}]", b']}], "parameters": {"non_finite": "string"}'),
        _selected(0) + b"0\n" + bytes(32),
        _selected(0) + b"=\n" + _binary('{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}', bytes(16)),
        _selected(1) + b"\n" + _X.replace(b"[1, 4]", b"[1, 3]").replace(b", 4]}", b"]}").replace(b'"x"', b'"input"'),
        _selected(2) + b"=\n" + _binary(_N, b"\3\0\0\0abc\0\0\0\0"),
        _selected(2) + b'\n{"inputs": [{"name": "name", "shape": [1, 1], "datatype": "BYTES", "data": ["\\u00e9"]}]}',
        _selected(3)
        + b'\n{"inputs": [{"name": "a", "shape": [1, 2], "datatype": "INT64", "data": [1, -2]}, '
        + b'{"name": "b", "shape": [1], "datatype": "UINT64", "data": [18446744073709551615]}], "outputs": [{"name": "b"}, {"name": "a"}]}',
        _selected(4) + b"=\n" + _binary(_H, b"\0\x3c\0\x7c\1\x7e", ', "parameters": {"binary_data_output": true}'),
        _selected(5) + b"0\n" + bytes(8),
        _selected(6) + b'\n{"inputs": [{"name": "n", "shape": [1, 0, 7], "datatype": "INT8", "data": []}], "outputs": [{"name": "n", "parameters": {"binary_data": true}}]}',
        _selected(7)
        + b'\n{"inputs": [{"name": "k", "shape": [2], "datatype": "UINT8", "data": [5, 5]}, '
        + b'{"name": "t", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}], "outputs": [{"name": "k", "parameters": {"classification": 1}}]}',
    ),
    tokens=_WORDS,
)

TFSERVING = Target(
    "tfserving",
    parse_tfserving,
    (BadRequest, InvalidInput),
    seeds=(
        _selected(0) + b'\n{"instances": [[1, 2, 3, 4], [5, 6, 7, 8]]}',
        _selected(0) + b'\n{"signature_name": "serving_default", "inputs": {"x": [[1, 2, 3, 4]]}}',
        _selected(0) + b'\n{"instances": [{"x": [1, 2, 3, 4]}]}',
        _selected(1) + b'\n{"inputs": [[1, 2, 3]]}',
        _selected(2) + b'\n{"instances": [{"name": ["a"]}, {"name": [{"b64": "/w=="}]}]}',
        _selected(2) + b'\n{"instances": [[{"b64": "AAAA"}], ["text"]]}',
        _selected(3) + b'\n{"instances": [{"a": [1, 2], "b": 3}, {"a": [4, 5], "b": 6}]}',
        _selected(4) + b'\n{"inputs": {"h": [[1, 2.5], [65504, -1]]}}',
        _selected(6) + b'\n{"inputs": {"s": true, "n": [[[1]]]}}',
        _selected(7) + b'\n{"instances": [{"k": 1, "t": "a"}, {"k": 1, "t": {"b64": ""}}]}',
    ),
    tokens=(*_WORDS, b'"instances"', b'"signature_name"', b'"serving_default"', b'{"b64": "AA=="}', b'"b64"', b'"instances": [', b":"),
)

_MANY = b"".join(gzip.compress(bytes([number]), 9, mtime=0) for number in range(5))
CODING = Target(
    "coding",
    parse_coding,
    (BadRequest, BodyTooLarge, UnsupportedMedia),
    seeds=(
        b"gzip\n" + gzip.compress(b"abc" * 20, mtime=0),
        b"deflate\n" + zlib.compress(b"abc" * 20),
        b"deflate\n" + zlib.compress(b"abc" * 20, wbits=-15),
        b"gzip, deflate\n" + zlib.compress(gzip.compress(b"abc", mtime=0)),
        b"x-gzip\n" + _MANY,
        b"identity\nabc",
        b"gzip\n" + gzip.compress(bytes(INFLATED + 1), 9, mtime=0),
        b"gzip,gzip\n" + gzip.compress(gzip.compress(bytes(INFLATED), 9, mtime=0), 9, mtime=0),
        b"gzip, gzip, gzip\nabc",
        b"br\nabc",
    ),
    tokens=(b"gzip", b"x-gzip", b"deflate", b"identity", b",", b"\x1f\x8b\x08\0\0\0\0\0", b"\x03\0\0\0\0\0\0\0\0\0", b"\x78\x9c", b"\0\0\xff\xff"),
    floor=2 * 1024**2,
)

ACCEPT = Target(
    "accept_encoding",
    parse_accept,
    seeds=(b"gzip, deflate;q=0.5", b"*;q=0", b"identity;q=0, x-gzip", b"deflate;q=1.000, gzip; q=0.001", b"*"),
    tokens=(b"gzip", b"x-gzip", b"deflate", b"identity", b"*", b";q=", b";q=0", b"0.001", b"1.000", b",", b";", b" "),
    longest=512,
)

TARGETS = (OIP, TFSERVING, CODING, ACCEPT)
