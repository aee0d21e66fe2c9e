"""Examples of a model's requests and answers, made from its signature alone. A request works as it stands; an answer has the shape
of the real one, not its numbers."""

from __future__ import annotations

from math import prod

from models.signature import Signature
from models.tensor import TensorSpec
from service import example
from service.openapi.schema import Json
from service.openapi.tensors import BINARY_ONLY
from service.protocol.tfserving_answer import SIGNATURE

#: Longer ones nobody pastes (elements of all inputs).
LONGEST = 256


def oip_request(signature: Signature) -> Json | None:
    """A request to `/infer`; None where JSON cannot say it, or only at a length that nobody pastes."""
    given = [spec for spec in signature.inputs if not spec.optional] or list(signature.inputs[:1])
    if not given or any(spec.datatype in BINARY_ONLY for spec in given) or not _brief(given):
        return None
    return {"id": "1", "inputs": [_tensor(spec) for spec in given], **_in_binary(signature)}


def oip_answer(signature: Signature, model: str, version: str) -> Json | None:
    """The answer to that request."""
    if _in_binary(signature) or not _brief(signature.outputs):
        return None
    outputs = [_tensor(spec) for spec in signature.outputs]
    return {"model_name": model, "model_version": version, "outputs": outputs, "id": "1"}


def predict_requests(signature: Signature) -> dict[str, Json]:
    """Requests to `:predict` by the form that they are in."""
    given = [spec for spec in signature.inputs if not spec.optional] or list(signature.inputs[:1])
    if not given or not _brief(given):
        return {}
    single = len(signature.inputs) == 1
    found: dict[str, Json] = {}
    if signature.batched:
        row: object = _row(given[0]) if single else {spec.name: _row(spec) for spec in given}
        found["rows"] = {"signature_name": SIGNATURE, "instances": [row]}
    found["columns"] = {"inputs": _whole(given[0]) if single else {spec.name: _whole(spec) for spec in given}}
    return found


def predict_answers(signature: Signature) -> dict[str, Json]:
    """The answers to those requests, by the same names."""
    outputs = signature.outputs
    if not _brief(outputs):
        return {}
    single = len(outputs) == 1
    found: dict[str, Json] = {}
    if signature.batched:
        found["rows"] = {"predictions": [_row(outputs[0]) if single else {spec.name: _row(spec) for spec in outputs}]}
    found["columns"] = {"outputs": _whole(outputs[0]) if single else {spec.name: _whole(spec) for spec in outputs}}
    return found


def _in_binary(signature: Signature) -> Json:
    """What asks for outputs in binary, where JSON has not all of them."""
    if any(spec.datatype in BINARY_ONLY for spec in signature.outputs):
        return {"parameters": {"binary_data_output": True}}
    return {}


def _dims(spec: TensorSpec) -> list[int]:
    return [example.FREE_DIM if dim == -1 else dim for dim in spec.shape]


def _brief(specs: tuple[TensorSpec, ...] | list[TensorSpec]) -> bool:
    return sum(prod(_dims(spec)) for spec in specs) <= LONGEST


def _tensor(spec: TensorSpec) -> Json:
    shape = _dims(spec)
    return {"name": spec.name, "datatype": spec.datatype, "shape": shape, "data": [example.scalar(spec.datatype)] * prod(shape)}


def _row(spec: TensorSpec) -> object:
    return example.value(spec.datatype, spec.shape[1:])


def _whole(spec: TensorSpec) -> object:
    return example.value(spec.datatype, spec.shape)
