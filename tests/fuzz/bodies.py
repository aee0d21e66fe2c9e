"""Bodies of requests: inference in both protocols, their content codings, and what the control routes take.

An input's first line chooses the model's signature and the headers; the rest is the body.
"""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from models.errors import InvalidInput
from models.signature import Signature
from models.tensor import Array, TensorSpec
from service.errors import BadRequest, BodyTooLarge, NotFinite, TensorTooLarge, TooManyRows, UnsupportedMedia
from service.protocol import coding, oip, outline, tfserving
from service.protocol.infer import Infer
from service.protocol.oip_answer import Form
from service.routing import Codec
from tests.fuzz.target import Broken, Target


def _echo(*specs: TensorSpec, batched: bool = True) -> Signature:
    return Signature(specs, tuple(TensorSpec(spec.name, spec.datatype, spec.shape) for spec in specs), batched)


#: Models whose outputs are their inputs, so that an answer can be sent again as a request.
SIGNATURES: Final = (
    _echo(TensorSpec("x", "FP32", [-1, 4])),
    _echo(TensorSpec("input", "FP64", [-1, 3], widens=True, missing=True)),
    _echo(TensorSpec("name", "BYTES", [-1, 1])),
    _echo(TensorSpec("a", "INT64", [-1, 2]), TensorSpec("b", "UINT64", [-1], optional=True)),
    _echo(TensorSpec("h", "FP16", [-1, -1])),
    _echo(TensorSpec("f", "BF16", [2, 2]), batched=False),
    _echo(TensorSpec("s", "BOOL", [], optional=True), TensorSpec("n", "INT8", [-1, -1, -1]), batched=False),
    _echo(TensorSpec("k", "UINT8", [-1], uniform=True), TensorSpec("t", "BYTES", [-1])),
)


def _signature(selector: bytes) -> Signature:
    return SIGNATURES[(selector[:1] or b"0")[0] % len(SIGNATURES)]


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


@contextmanager
def arrays_cut_from(length: int) -> Iterator[None]:
    """Arrays of numbers from this length on are cut out of bodies and read apart (bytes)."""
    modules = (oip, tfserving, outline)
    before = outline.LONG
    for module in modules:
        vars(module)["LONG"] = length
    try:
        yield
    finally:
        for module in modules:
            vars(module)["LONG"] = before


def _decode(protocol: Codec, body: bytes, signature: Signature, length: str | None) -> Infer:
    """The request, decoded once with every array of numbers cut out and once with none: both say the same."""
    told: list[str] = []
    found: list[Infer] = []
    for shortest in (1, sys.maxsize):
        with arrays_cut_from(shortest):
            try:
                found.append(protocol.decode(body, signature, length))
            except (BadRequest, InvalidInput) as error:
                told.append(f"{type(error).__name__}: {error}")
    if len(found) == 1 or told[:1] != told[1:] or (found and not same(found[0].inputs, found[1].inputs)):
        raise Broken(f"with its arrays of numbers cut out, the body reads otherwise: {told}")
    return protocol.decode(body, signature, length)


def parse_oip(data: bytes) -> Infer:
    """A line of the signature and what Inference-Header-Content-Length says (`=`: where the body's first line ends), the body."""
    line, _, body = data.partition(b"\n")
    signature = _signature(line)
    said = line[1:].decode("latin-1")
    length = None if not said else str(body.find(b"\n") + 1) if said == "=" else said
    infer = _decode(oip, body, signature, length)
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
    infer = _decode(tfserving, body, signature, line[1:].decode("latin-1") or None)
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


OIP = Target(
    "oip",
    parse_oip,
    (BadRequest, InvalidInput, TensorTooLarge, TooManyRows),
)

TFSERVING = Target(
    "tfserving",
    parse_tfserving,
    (BadRequest, InvalidInput, TensorTooLarge, TooManyRows),
)


CODING = Target(
    "coding",
    parse_coding,
    (BadRequest, BodyTooLarge, UnsupportedMedia),
    floor=2 * 1024**2,
)

ACCEPT = Target(
    "accept_encoding",
    parse_accept,
    longest=512,
)

TARGETS = (OIP, TFSERVING, CODING, ACCEPT)
