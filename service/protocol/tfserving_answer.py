"""Answers in TensorFlow Serving's REST form: predictions by row or by column, a model's status and its metadata."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import orjson

from models.errors import InferenceError
from models.signature import Signature
from models.tensor import Array, TensorSpec
from service.errors import NotFinite
from service.protocol.infer import Encoded, Infer
from service.protocol.json_data import clip, encode_array

ROW: Final = "row"
COLUMN: Final = "column"
SIGNATURE: Final = "serving_default"


def encode(infer: Infer, outputs: Mapping[str, Array], model: str, version: str) -> Encoded:
    """The answer in the request's own form; the protocol has no place in it for the model's name and version.

    BYTES are strings; values that are not UTF-8, and all of an output whose name ends in `_bytes`, are `{"b64": …}`. Raises
    NotFinite for NaN and Infinity, InferenceError for BYTES that hold anything else.
    """
    names, row = infer.outputs, infer.form == ROW
    try:
        if len(names) == 1:
            text = _text(outputs[names[0]], names[0])
        elif row:
            text = _row_texts({name: outputs[name] for name in names}, infer.rows)
        else:
            text = _object((name, _text(outputs[name], name)) for name in names)
    except NotFinite:
        raise NotFinite(
            "The outputs hold NaN or Infinity, which JSON cannot say; /v2/models/M/infer gives them in binary or as strings."
        ) from None
    return Encoded((b'{"predictions":' if row else b'{"outputs":') + text + b"}")


def status(versions: Iterable[tuple[str, str, str]], model: str | None = None) -> Encoded:
    """The answer to `GET /v1/models/M`, for (version, state of the repository index, reason), newest first.

    With ``model``, its name, it also says whether the model would answer: KServe's V1 protocol asks that at the same path.
    """
    told = [
        {
            "version": version,
            "state": _STATES[state],
            "status": {"error_code": "OK" if not reason else "UNKNOWN", "error_message": reason},
        }
        for version, state, reason in sorted(versions, key=lambda each: int(each[0]), reverse=True)
    ]
    named = {} if model is None else {"name": model, "ready": any(each["state"] == _STATES["READY"] for each in told)}
    return Encoded(orjson.dumps({**named, "model_version_status": told}))


def metadata(model: str, version: str, signature: Signature) -> Encoded:
    """The answer to `GET /v1/models/M/metadata`: the tensors as a SavedModel's signature has them."""
    return Encoded(
        orjson.dumps(
            {
                "model_spec": {"name": model, "signature_name": "", "version": version},
                "metadata": {
                    "signature_def": {
                        "signature_def": {
                            SIGNATURE: {
                                "inputs": {spec.name: _tensor_info(spec) for spec in signature.inputs},
                                "outputs": {spec.name: _tensor_info(spec) for spec in signature.outputs},
                                "method_name": "tensorflow/serving/predict",
                            }
                        }
                    }
                },
            }
        )
    )


_STATES = {"READY": "AVAILABLE", "LOADING": "LOADING", "UNLOADING": "UNLOADING", "UNAVAILABLE": "END"}
_TYPES = {"FP16": "DT_HALF", "FP32": "DT_FLOAT", "FP64": "DT_DOUBLE", "BF16": "DT_BFLOAT16", "BYTES": "DT_STRING"}


def _tensor_info(spec: TensorSpec) -> dict[str, object]:
    return {
        "dtype": _TYPES.get(spec.datatype, f"DT_{spec.datatype}"),
        "tensor_shape": {"dim": [{"size": str(dim), "name": ""} for dim in spec.shape], "unknown_rank": False},
        "name": f"{spec.name}:0",
    }


def _text(array: Array, name: str) -> bytes:
    return orjson.dumps(_plain(array, name)) if array.dtype.kind == "O" else encode_array(array, name)


def _plain(array: Array, name: str) -> Any:
    """BYTES as nested lists of what JSON has for them."""
    coded = name.endswith("_bytes")
    plain = np.empty(array.size, object)
    for index, value in enumerate(array.ravel()):
        if not isinstance(value, bytes | str):
            raise InferenceError(f"Output {clip(name)} holds {type(value).__name__} where bytes are expected.")
        plain[index] = _value(value if isinstance(value, bytes) else value.encode(), coded)
    return plain.reshape(array.shape).tolist()


def _value(value: bytes, coded: bool) -> object:
    if not coded:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": b64encode(value).decode()}


def _row_texts(arrays: Mapping[str, Array], rows: int) -> bytes:
    columns = {name: _plain(array, name) if array.dtype.kind == "O" else array for name, array in arrays.items()}.items()
    try:
        objects = [{name: column[row] for name, column in columns} for row in range(rows)]
        text = orjson.dumps(objects, None, orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:  # a dtype or a layout that orjson does not know
        texts = [_object((name, _text(array[row, ...], name)) for name, array in arrays.items()) for row in range(rows)]
        return b"[" + b",".join(texts) + b"]"
    # orjson writes null for what JSON has no number for, and searching the text costs less than asking numpy.
    if b"null" in text and any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in arrays.values()):
        raise NotFinite("an output holds NaN or Infinity")
    return text


def _object(items: Iterable[tuple[str, bytes]]) -> bytes:
    return b"{" + b",".join([orjson.dumps(name) + b":" + text for name, text in items]) + b"}"
