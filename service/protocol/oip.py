"""The Open Inference Protocol's inference requests, checked whole before they may wait beside others.

Bodies are parsed by typed decoders that leave each tensor's data as it lies, so that it can be read as what it says it is.
Source: kserve/open-inference-protocol `specification/protocol/inference_rest.md`, with Triton's extensions binary_tensor_data,
classification and schedule_policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Literal

import msgspec

from models.errors import InvalidInput, Problem
from models.signature import Signature
from models.tensor import DTYPES, Array, TensorSpec
from service.errors import BadRequest, ServiceError
from service.guard.input.content import DEFAULT, Content
from service.protocol.binary import from_binary, from_body
from service.protocol.infer import Infer
from service.protocol.json_data import clip, to_array
from service.protocol.oip_answer import Form, encode
from service.protocol.oip_images import check_images_shape, holds_images, pictures_of
from service.protocol.oip_malformed import malformed
from service.protocol.oip_single import KEY, prepare
from service.protocol.outline import LONG, Outline
from service.protocol.pictures import Picture, Upload
from service.protocol.plain_numbers import NotPlain

__all__ = ["decode", "encode"]

#: From this size on what a request tells of its tensors is held against the model before their data is read (bytes).
COSTLY = 1024 * 1024

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_ABSENT = msgspec.Raw()
_BINARY_ONLY = frozenset({"FP16", "BF16"})
_LIMITED = _BINARY_ONLY | {"BYTES"}  # outputs that cannot be given in every form


class _InputParameters(msgspec.Struct, gc=False):
    binary_data_size: _Count | None = None


class _OutputParameters(msgspec.Struct, gc=False):
    binary_data: bool | None = None
    classification: _Count | None = None


class _Parameters(msgspec.Struct, gc=False):
    binary_data_output: bool | None = None
    timeout: _Count | None = None
    priority: _Count | None = None
    non_finite: Literal["string"] | None = None


class _Input(msgspec.Struct, gc=False):
    name: str
    shape: list[_Count]
    datatype: str
    data: msgspec.Raw = _ABSENT
    parameters: _InputParameters | None = None


class _Output(msgspec.Struct, gc=False):
    name: str
    parameters: _OutputParameters | None = None


class _Request(msgspec.Struct, gc=False):
    inputs: list[_Input]
    outputs: list[_Output] | None = None
    id: str | None = None
    parameters: _Parameters | None = None


_REQUEST = msgspec.json.Decoder(_Request)
_NO_PARAMETERS = _Parameters()


def decode(
    body: bytes, signature: Signature, header_length: str | None = None, content: Content = DEFAULT, upload: Upload | None = None
) -> Infer:
    """A request for a model of that signature; ``header_length`` is the header `Inference-Header-Content-Length`. ``upload``: None
    for a model that takes no encoded images.

    Raises BadRequest for what is not the protocol, InvalidInput for tensors that are not the model's, TensorTooLarge and
    TooManyRows and TooManyImages for more than ``content`` allows.
    """
    infer = _decode(body, signature, header_length, content, upload)
    if infer.rows > content.rows:
        raise content.too_many(infer.rows)
    return infer


def _decode(body: bytes, signature: Signature, header_length: str | None, content: Content, upload: Upload | None) -> Infer:
    text, end = body, len(body)
    if header_length is not None:
        end = _header_length(header_length, end)
        if end == 0:
            return _decode_raw(body, signature, content)
        text = body[:end]
    if end >= LONG and (outline := Outline.of(text, content.elements)) is not None:
        # Whatever is wrong is looked for, and told, in the body as it came.
        with suppress(NotPlain, InvalidInput, ServiceError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            content.check_json(outline.text)
            return _read(_REQUEST.decode(outline.text), signature, body, end, content, upload, outline)
    content.check_json(text)
    if header_length is None and end <= content.elements:  # so that it has no more of them
        single = signature.prepared.get(KEY) or prepare(signature)
        if single.decoder is not None and (infer := single.decode(body)) is not None:
            return infer
    try:
        request = _REQUEST.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error, body[:end], cut=end != len(body)) from None
    return _read(request, signature, body, end, content, upload)


def _read(
    request: _Request,
    signature: Signature,
    body: bytes,
    end: int,
    content: Content,
    upload: Upload | None,
    outline: Outline | None = None,
) -> Infer:
    """The request, checked. Its JSON ends at ``end``; with an ``outline``, what was cut out of it is read too."""
    parameters = request.parameters or _NO_PARAMETERS
    pictures: tuple[Picture, ...] = ()
    try:
        inputs, used = _inputs(request.inputs, signature, body, end, parameters.non_finite is not None, content, upload, outline)
        if used != len(body):
            raise _leftover(used - end, len(body) - end)
        if outline is not None:
            outline.check_used()
        if upload is not None and (images := inputs.get(upload.recipe.spec.name)) is not None and images.dtype == object:
            pictures = _pictures(request.inputs, inputs.pop(upload.recipe.spec.name), upload)
        rows = len(pictures) or signature.check(inputs)
        outputs = request.outputs
        names = signature.select([output.name for output in outputs]) if outputs else signature.output_names
    except InvalidInput as error:
        raise _located(error, request.inputs) from None
    return Infer(
        inputs,
        rows,
        names,
        request.id,
        parameters.timeout / 1e6 if parameters.timeout else None,
        parameters.priority or 0,
        _form(outputs or (), parameters, names, signature, upload),
        pictures,
    )


def _inputs(
    tensors: Sequence[_Input],
    signature: Signature,
    body: bytes,
    at: int,
    non_finite: bool,
    content: Content,
    upload: Upload | None,
    outline: Outline | None,
) -> tuple[dict[str, Array], int]:
    """The inputs by name, and where in the body the last of the binary ones ends."""
    inputs: dict[str, Array] = {}
    for index, tensor in enumerate(tensors):
        name, datatype = tensor.name, tensor.datatype
        if name not in signature.by_name:
            signature.input(name, f"inputs[{index}].name")
        if name in inputs:
            raise InvalidInput(Problem(f"inputs[{index}].name", "the input is given twice", "each input once", name))
        if datatype not in DTYPES:
            raise InvalidInput(Problem(f"inputs[{index}].datatype", "no such datatype", ", ".join(DTYPES), datatype))
        if datatype == "BYTES" and holds_images(signature.by_name[name], upload):
            check_images_shape(tensor.shape, f"inputs[{index}].shape", content)
        elif len(body) >= COSTLY:
            signature.check_told(name, datatype, tensor.shape)
        content.check_shape(tensor.shape, f"inputs[{index}].shape", batched=signature.batched)
        size = tensor.parameters.binary_data_size if tensor.parameters is not None else None
        if size is None:
            if tensor.data is _ABSENT:
                raise InvalidInput(
                    Problem(f"inputs[{index}].data", "the input has no data", "data, or the parameter binary_data_size", "neither")
                )
            if datatype in _BINARY_ONLY:
                raise InvalidInput(
                    Problem(f"inputs[{index}].data", f"JSON has no {datatype}", "binary data of binary_data_size bytes", "JSON")
                )
            if outline is not None:
                numbers = outline.tensor(tensor.data, datatype, tensor.shape, flat=True)
                if numbers is not None:
                    inputs[name] = numbers
                    continue
            content.check_data(tensor.data, f"inputs[{index}].data")
            missing = signature.by_name[name].missing
            inputs[name] = to_array(
                tensor.data, datatype, tensor.shape, f"inputs[{index}].data", non_finite=non_finite, missing=missing
            )
            continue
        if tensor.data is not _ABSENT:
            raise InvalidInput(
                Problem(f"inputs[{index}]", "the input has its data twice", "data, or the parameter binary_data_size", "both")
            )
        if size > len(body) - at:
            raise InvalidInput(
                Problem(
                    f"inputs[{index}].parameters.binary_data_size",
                    "the body ends before the data; Inference-Header-Content-Length must be the length of the JSON",
                    f"{size} bytes",
                    f"{len(body) - at} bytes",
                )
            )
        inputs[name] = from_binary(memoryview(body)[at : at + size], datatype, tensor.shape, f"inputs[{index}]")
        at += size
    return inputs, at


def _pictures(tensors: Sequence[_Input], images: Array, upload: Upload) -> tuple[Picture, ...]:
    """The images in the input that has them, by where it stands."""
    index = next(index for index, tensor in enumerate(tensors) if tensor.name == upload.recipe.spec.name)
    return pictures_of(images, f"inputs[{index}].data", coded=tensors[index].data is not _ABSENT)


def _decode_raw(body: bytes, signature: Signature, content: Content) -> Infer:
    """A body that is nothing but the data of the model's only input; the answer to it is binary."""
    if len(signature.inputs) != 1:
        raise BadRequest(
            f"A raw body (Inference-Header-Content-Length: 0) is for models with 1 input; this one has {len(signature.inputs)}: "
            "send the JSON form."
        )
    spec = signature.inputs[0]
    array = from_body(body, spec)  # as it lies in the body
    content.check_shape(array.shape, "inputs[0]", batched=signature.batched)
    inputs = {spec.name: array}
    try:
        rows = signature.check(inputs)
    except InvalidInput as error:
        raise _located(error, [_Input(spec.name, [], spec.datatype)]) from None
    names = signature.output_names
    return Infer(inputs, rows, names, form=Form((True,) * len(names), (0,) * len(names), batched=signature.batched))


def _form(
    outputs: Sequence[_Output], parameters: _Parameters, names: Sequence[str], signature: Signature, upload: Upload | None
) -> Form | None:
    """How to write the answer; None is all in JSON. Raises for what an output's datatype rules out."""
    everything, spelled = parameters.binary_data_output is True, parameters.non_finite is not None
    binary, classes = (everything,) * len(names), (0,) * len(names)
    if outputs and any(output.parameters for output in outputs):
        wishes = [output.parameters or _OutputParameters() for output in outputs]
        binary = tuple([everything if wish.binary_data is None else wish.binary_data for wish in wishes])
        classes = tuple([wish.classification or 0 for wish in wishes])
    for spec in signature.outputs:
        if spec.datatype in _LIMITED:
            _check_form(spec, names, binary, classes)
    if True in binary or spelled or any(classes):
        if upload is None:
            return Form(binary, classes, spelled, signature.batched)
        return Form(binary, classes, spelled, signature.batched, upload.recipe.output, upload.recipe.labels)
    return None


def _check_form(spec: TensorSpec, names: Sequence[str], binary: Sequence[bool], classes: Sequence[int]) -> None:
    if spec.name not in names:
        return
    index = names.index(spec.name)
    if classes[index] and spec.datatype == "BYTES":
        path = f"outputs[{index}].parameters.classification"
        raise InvalidInput(Problem(path, "the output cannot be ranked", "an output of numbers", "BYTES"))
    if not binary[index] and not classes[index] and spec.datatype in _BINARY_ONLY:
        raise BadRequest(
            f"Output {clip(spec.name)} is {spec.datatype}, which JSON does not have: "
            'ask for it in binary, with the request\'s parameter "binary_data_output": true.'
        )


def _header_length(text: str, most: int) -> int:
    """The JSON's length; ASCII digits only, since int() takes signs, spaces and underscores too."""
    if text.isascii() and text.isdigit() and len(text) < 19 and int(text) <= most:
        return int(text)
    raise BadRequest(
        f"Inference-Header-Content-Length must be the length of the body's JSON, from 0 to {most}; got {clip(text)!r}.",
        Problem("Inference-Header-Content-Length", "not a length within the body", f"0 to {most}", clip(text)),
    )


def _leftover(used: int, given: int) -> InvalidInput:
    return InvalidInput(Problem("inputs", "bytes are left over behind the tensors", f"{used} bytes of binary data", str(given)))


def _located(error: InvalidInput, tensors: Sequence[_Input]) -> InvalidInput:
    """The error as the request's own path says it, which counts its inputs where a signature names them."""
    places = sorted(((f"inputs.{tensor.name}.", f"inputs[{index}].") for index, tensor in enumerate(tensors)), reverse=True)
    problems = []
    for problem in error.problems:
        path = problem.path
        for named, counted in places:  # sorted so that of two names the one that begins with the other comes first
            if path.startswith(named):
                path = counted + path[len(named) :]
                break
        problems.append(Problem(path, problem.problem, problem.expected, clip(problem.got)))
    return InvalidInput(*problems)
