"""One model's requests and answers, typed by its signature, on each protocol."""

from __future__ import annotations

from dataclasses import dataclass

from models.signature import Signature
from models.tensor import TensorSpec
from service.openapi import examples, tensors
from service.openapi.schema import BINARY, BOOLEAN, COUNT, TEXT, VERSION, Json, array, either, record, ref, said
from service.protocol.tfserving_answer import SIGNATURE

JSON, OCTETS = "application/json", "application/octet-stream"
RAW = said(
    BINARY,
    "The protocol's binary form: JSON, then raw tensors; `Inference-Header-Content-Length` is the JSON's length. "
    "With a length of 0, the data of the model's only input and nothing else.",
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request's and its answer's schemas, with examples by name. A schema of None: JSON cannot say it, only binary can."""

    request: Json | None
    answer: Json | None
    requests: dict[str, Json]
    answers: dict[str, Json]
    binary: bool = False


def oip(signature: Signature, model: str, version: str) -> Exchange:
    """`/v2/models/M/infer`."""
    asked, given = examples.oip_request(signature), examples.oip_answer(signature, model, version)
    return Exchange(
        _oip_request(signature),
        _oip_answer(signature, model),
        {} if asked is None else {"request": asked},
        {} if given is None else {"answer": given},
        binary=True,
    )


def predict(signature: Signature, model: str, version: str) -> Exchange:
    """`/v1/models/M:predict`; the answers name neither model nor version."""
    single_in, single_out = len(signature.inputs) == 1, len(signature.outputs) == 1
    inputs, outputs, batched = signature.inputs, signature.outputs, signature.batched
    optional = [spec.name for spec in inputs if spec.optional]
    asked, given = [], []
    if batched:
        row = record({spec.name: tensors.row_value(spec) for spec in inputs}, optional=optional, closed=True, minProperties=1)
        rows = [array(row, least=1)]
        if single_in:
            rows.insert(0, array(tensors.row_value(inputs[0]), least=1))
        asked.append(_signed("instances", either(*rows), "Rows of values."))
        answers = {spec.name: tensors.answered(spec, spec.shape[1:]) for spec in outputs}
        given.append(record({"predictions": array(answers[outputs[0].name] if single_out else record(answers), least=1)}))
    values = {spec.name: tensors.column_value(spec, batched) for spec in inputs}
    columns = [record(values, optional=optional, closed=True, minProperties=1)]
    if single_in:
        columns.insert(0, values[inputs[0].name])
    asked.append(_signed("inputs", either(*columns), "Whole tensors."))
    wholes = {spec.name: tensors.answered(spec, spec.shape) for spec in outputs}
    given.append(record({"outputs": wholes[outputs[0].name] if single_out else record(wholes)}))
    return Exchange(either(*asked), either(*given), examples.predict_requests(signature), examples.predict_answers(signature))


def any_model() -> Json:
    """What every inference request of the protocol is, whatever the model."""
    tensor = record(
        {
            "name": TEXT,
            "datatype": said(TEXT, "One of the protocol's, such as FP32."),
            "shape": array(COUNT),
            "data": said(array({}), "Row by row, flat or nested as `shape`."),
            "parameters": _INPUT_PARAMETERS,
        },
        optional=("data", "parameters"),
    )
    return record({"inputs": array(tensor), **AROUND, "outputs": _wanted(TEXT)}, optional=("id", "parameters", "outputs"))


def any_answer() -> Json:
    """What every answer of the protocol is, whatever the model."""
    parameters: Json = {"type": "object"}
    tensor = record(
        {"name": TEXT, "datatype": TEXT, "shape": array(COUNT), "data": array({}), "parameters": parameters},
        optional=("data", "parameters"),
    )
    fields = {"model_name": TEXT, "model_version": VERSION, "outputs": array(tensor), "id": TEXT}
    return record(fields, optional=("id",))


def any_prediction() -> tuple[Json, Json]:
    """A request to `:predict` and its answer, whatever the model."""
    asked = either(_signed("instances", array({}, least=1), "Rows of values."), _signed("inputs", {}, "Whole tensors."))
    return asked, either(record({"predictions": array({})}), record({"outputs": {}}))


def _oip_request(signature: Signature) -> Json | None:
    if any(spec.datatype in tensors.BINARY_ONLY and not spec.optional for spec in signature.inputs):
        return None
    inputs = [_input(spec, signature) for spec in signature.inputs if spec.datatype not in tensors.BINARY_ONLY]
    if not inputs:
        return None
    needed = sum(not spec.optional for spec in signature.inputs)
    names: Json = {"enum": list(signature.output_names)}
    asked = array(either(*inputs), least=max(needed, 1), most=len(inputs), description="Each input once, in any order.")
    fields = {"inputs": asked, **AROUND, "outputs": _wanted(names, len(signature.outputs))}
    absent = ["id", "parameters", "outputs"]
    if any(spec.datatype in tensors.BINARY_ONLY for spec in signature.outputs):
        absent.remove("parameters")
        fields["parameters"] = said(
            {"type": "object"}, "An output is of a datatype that JSON has not: `binary_data_output` asks for all in binary."
        )
    return record(fields, optional=absent)


def _input(spec: TensorSpec, signature: Signature) -> Json:
    made = tensors.oip_input(spec, signature.batched)
    words = " and ".join(["may be left out"] * spec.optional + ["the same in all rows of a request"] * spec.uniform)
    return said(made, words[:1].upper() + words[1:] + ".") if words else made


def _oip_answer(signature: Signature, model: str) -> Json:
    outputs = [tensors.oip_output(spec, signature.batched) for spec in signature.outputs]
    fields = {
        "model_name": {"const": model},
        "model_version": VERSION,
        "outputs": array(either(*outputs), most=len(outputs)),
        "id": said(TEXT, "The request's own."),
    }
    return record(fields, optional=("id",))


def _wanted(name: Json, most: int | None = None) -> Json:
    fields: dict[str, Json] = {"name": name, "parameters": _OUTPUT_PARAMETERS}
    wanted = array(record(fields, optional=("parameters",)), most=most)
    return {
        **wanted,
        "type": ["array", "null"],
        "description": "What to compute, in this order, each once; without it, everything.",
    }


def _signed(field: str, schema: Json, words: str) -> Json:
    signature: Json = {"enum": [SIGNATURE, "", None], "description": "The model's only one."}
    return record({field: schema, "signature_name": signature}, optional=("signature_name",), closed=True, description=words)


def _nullable(schema: Json, description: str = "") -> Json:
    made: Json = {**schema, "type": [schema["type"], "null"]}
    return said(made, description) if description else made


_INPUT_PARAMETERS, _OUTPUT_PARAMETERS, _PARAMETERS = map(ref, ("InputParameters", "OutputParameters", "RequestParameters"))
#: What every model's requests share.
PARAMETERS: dict[str, Json] = {
    "InputParameters": _nullable(
        record(
            {"binary_data_size": _nullable(COUNT, "Bytes of this input behind the JSON, in place of `data`.")},
            optional=("binary_data_size",),
        )
    ),
    "OutputParameters": _nullable(
        record(
            {
                "binary_data": _nullable(BOOLEAN, "This output in binary."),
                "classification": _nullable(
                    COUNT, 'The k highest values of each row, as "value:index", with ":label" where the model has labels.'
                ),
            },
            optional=("binary_data", "classification"),
        )
    ),
    "RequestParameters": _nullable(
        record(
            {
                "timeout": _nullable(COUNT, "The deadline, in microseconds."),
                "priority": _nullable(COUNT, "1: high, 3: low; all else is normal. Where requests wait, the higher go first."),
                "binary_data_output": _nullable(BOOLEAN, "All outputs in binary."),
                "non_finite": {"enum": ["string", None], "description": 'Take and give "NaN", "Infinity" and "-Infinity".'},
            },
            optional=("timeout", "priority", "binary_data_output", "non_finite"),
        )
    ),
}
AROUND: dict[str, Json] = {"id": _nullable(TEXT, "Comes back in the answer."), "parameters": _PARAMETERS}
